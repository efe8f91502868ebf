"""What every command has in common: quick answers, one line for what is wrong, exit codes."""

import dataclasses
import functools
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from absl import flags
from samples import VOCABULARY

from albert_tf import command_line, console, other_option_names
from albert_tf.conversion import convert, writing
from albert_tf.conversion import settings as conversion_settings
from albert_tf.tasks import options, table
from albert_tf.training import optimizers
from albert_tf.training import settings as training_settings

ROOT = pathlib.Path(__file__).parents[1]
COMMANDS = {
    **{
        f"albert_tf.{name}": name
        for name in (
            *("run_pretraining", "run_finetuning", "run_prediction", "run_export"),
            *("run_conversion", "run_server", "run_comparison", "run_evaluation"),
        )
    },
    **{
        f"albert_tf.pipelines.{name}": name
        for name in (
            *("build_vocabulary", "build_pretraining_data", "build_scored_pairs"),
            *("build_questions", "inspect_records"),
        )
    },
}
# Flags that name what is not there, or a place where nothing can be written.
WRONG = {
    "run_comparison": ("--runs=nowhere,nowhere", "--runs=a_file"),
    "run_evaluation": (
        "--model_dir=nowhere --data_dir=.",
        "--model_dir=. --data_dir=nowhere",
        "--model_dir=. --data_dir=. --output_dir=a_file",
        "--model_dir=. --data_dir=. --minimal_pairs=nowhere",
        "--model_dir=. --data_dir=. --task_texts=a_file,nowhere",
    ),
    "run_pretraining": (
        "--config=albert_mini --data_dir=nowhere --output_dir=out",
        "--config=albert_mini --data_dir=. --output_dir=a_file",
        "--config=albert_mini --data_dir=. --output_dir=a_file/out",
        "--config=albert_mini --data_dir=. --output_dir=out --optimizer=sgd",
        "--config=albert_mini --data_dir=. --output_dir=out --train_steps=-1",
    ),
    "run_finetuning": (
        "--task=classification --train_file=nowhere --init_checkpoint=. --output_dir=out",
        "--task=classification --train_file=a_file --init_checkpoint=nowhere --output_dir=out",
        "--task=classification --train_file=a_file --init_checkpoint=. --output_dir=a_file",
        "--task=nowhere --output_dir=out",
        "--task=mrpc --data_dir=nowhere --output_dir=out",
        "--task=mrpc --data_dir=. --output_dir=out --seeds=x",
    ),
    "run_prediction": (
        "--model_dir=nowhere --text=x",
        "--model_dir=. --input=nowhere",
        "--model_dir=. --text=x --output=nowhere/out",
        "--model_dir=. --text=x --output=.",
        "--model_dir=. --text=x --input=a_file",
    ),
    "run_export": (
        "--model_dir=nowhere --output=out",
        "--model_dir=. --output=a_file",
        "--model_dir=. --output=out nowhere",
        "--model_dir=. --output=out --also=nowhere",
        "--model_dir=. --output=out --kind=nowhere",
        "--model_dir=. --output=out[1]",
    ),
    "run_conversion": (
        "--input=nowhere --output=out",
        "--input=. --output=a_file/out",
        "--input=. --output=out[1] --format=tf1",
    ),
    "run_server": ("--model_dir=nowhere", "--model_dir=a_file", "--model_dir=file:///tmp"),
    "build_vocabulary": (
        "--input=nowhere --output=out",
        "--input=a_file --output=nowhere/out",
        "--input=a_file --output=.",
    ),
    "build_pretraining_data": (
        f"--input=nowhere --vocab_model={VOCABULARY} --output_dir=out",
        "--input=a_file --vocab_model=nowhere --output_dir=out",
        f"--input=a_file --vocab_model={VOCABULARY} --output_dir=a_file",
        f"--input=a_file --vocab_model={VOCABULARY} --output_dir=a_file/out",
    ),
    "build_scored_pairs": (
        f"--input=nowhere --vocab_model={VOCABULARY} --output=out",
        "--input=a_file --vocab_model=nowhere --output=out",
        f"--input=a_file --vocab_model={VOCABULARY} --output=nowhere/out",
        f"--input=a_file --vocab_model={VOCABULARY} --output=a_file",
        f"--input=a_file --vocab_model={VOCABULARY} --output=out --max_pairs=0",
    ),
    "build_questions": (
        "--input=nowhere --output=out",
        "--input=a_file --output=nowhere/out",
        "--input=a_file --output=a_file",
        "--input=a_file --output=out --max_questions=0",
    ),
    "inspect_records": (
        "--data_dir=nowhere",
        "--data_dir=.",
        "--data_dir=. --input=a_file",
        "--input=nowhere*",
        "--input=.",
        "--input=a_file --vocab_model=nowhere",
        "--input=a_file --split=1 --output_dir=.",
        "--input=a_file --split=1 --output_dir=a_file/out",
        "--input=a_file --split=1",
        "--input=a_file --merge",
        "--input=a_file --output_dir=out",
        "--input=a_file --show=1 --verify",
        "--input=a_file --ngram=1",
    ),
}
# Runs one command after the other in copies of a process, each of which would import TensorFlow;
# what is light and all of them import is read once.
ASK = """
import os, runpy, sys
import numpy
from albert_tf import command_line
for line in sys.stdin.read().splitlines():
    module, *arguments = line.split()
    print("\\0" + line, flush=True)
    if not os.fork():
        os.dup2(1, 2)
        sys.argv = [module, *arguments]
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as error:
            print(error.code if isinstance(error.code, str) else "", end="")
            code = 1 if isinstance(error.code, str) else error.code or 0
        heavy = {"tensorflow", "keras", "matplotlib", "sklearn", "scipy"} & sys.modules.keys()
        print(f"\\0{code} {' '.join(heavy)}", end="", flush=True)
        os._exit(0)
    os.wait()
"""


def ask(folder, lines):
    """Returns {line: (what the command said, its exit code, heavy packages it imported)}."""
    (folder / "a_file").touch()
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        input="\n".join(lines).encode(),
        capture_output=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    parts = done.stdout.decode().split("\0")[1:]
    answers = {}
    for line, end in zip(parts[::2], parts[1::2], strict=True):
        command, said = line.split("\n", 1)
        code, *heavy = end.strip("\n").split()
        answers[command] = (said.strip(), int(code), heavy)
    return answers


def test_help_and_usage_errors_come_before_tensorflow(tmp_path):
    (tmp_path / "bytes.flags").write_bytes(b"--model_dir=\xff\xfe")
    # For a similar name, absl's search goes as deep as the name is long.
    (tmp_path / "long.flags").write_text(f"--no_such_flag{'x' * 100_000}=1")
    questions = ("--help", "", "--no_such_flag=1", "--flagfile=bytes.flags")
    questions += (
        "--flagfile=long.flags",
        "--flagfile=no.flags",
        "--flagfile=configs/quick_sst2.flags",
    )
    named = {
        "--no_such_flag=1": "no_such_flag",
        "--flagfile=bytes.flags": "bytes.flags",
        "--flagfile=long.flags": "some were read from long.flags",
        "--flagfile=no.flags": "Received: no.flags, which is not there",
        "--flagfile=configs/quick_sst2.flags": f"package is {ROOT / 'configs/quick_sst2.flags'}",
    }
    answers = ask(tmp_path, [f"{c} {question}".strip() for c in COMMANDS for question in questions])
    assert len(answers) == len(COMMANDS) * len(questions)
    for line, (said, code, heavy) in answers.items():
        assert not heavy, line
        module, *question = line.split()
        if question == ["--help"]:
            assert code == 0, line
            assert "flags:" in said
        else:
            assert code == 1, line
            assert said.startswith(f"{COMMANDS[module]}: "), said
            assert "\n" not in said and len(said) < 2000, said
            assert named.get("".join(question), "must be given") in said


def test_wrong_paths_and_values_are_one_line_that_names_them_before_tensorflow(tmp_path):
    lines = [f"{c} {wrong}" for c, name in COMMANDS.items() for wrong in WRONG[name]]
    answers = ask(tmp_path, lines)
    assert answers.keys() == set(lines)
    for line, (said, code, heavy) in answers.items():
        assert code == 1, (line, said)
        assert "\n" not in said, (line, said)
        assert any(f"{word}" in said for word in ("nowhere", "a_file", ": .", "--", "`")), said
        assert not heavy, (line, heavy)
    assert [path.name for path in tmp_path.iterdir()] == ["a_file"]


def test_names_of_other_scripts_are_met_with_ours(tmp_path):
    (tmp_path / "theirs.flags").write_text("--spm_model_file=30k-clean.model\n")
    expected = {
        "albert_tf.run_finetuning --task_name=MRPC": (
            "--task_name is not a flag of this command: here it is --task "
        ),
        "albert_tf.run_finetuning --nouse_tpu": "--distribute says which devices",
        "albert_tf.run_finetuning --task=SST-2": ">: here it is --task=sst2 (",
        "albert_tf.run_pretraining --flagfile=theirs.flags": "--vocab_model takes",
        "albert_tf.pipelines.build_pretraining_data --random_seed=1": "--seed",
    }
    answers = ask(tmp_path, list(expected))
    for line, (said, code, heavy) in answers.items():
        assert expected[line] in said and "\n" not in said, said
        assert (code, heavy) == (1, []), line


def test_names_that_are_given_in_place_of_others_are_flags():
    helps = "".join(
        subprocess.run(
            [sys.executable, "-c", f"from albert_tf import console; console.{name}()", "--help"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        ).stdout
        for name in ("pretrain", "finetune", "convert", "build_vocabulary", "build_data")
    )
    own = set(re.findall(r"^  --(?:\[no\])?(\w+):", helps, re.MULTILINE))
    assert "task" in own and "dupe_factor" in own
    for theirs, ours in other_option_names._INSTEAD.items():
        assert set(re.findall(r"--(\w+)", ours)) <= own, theirs
    page = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")
    assert set(re.findall(r"--(\w+)", page)) <= own | {"flagfile"}


def test_every_command_has_a_name_of_its_own():
    named = {part.args[0] for part in vars(console).values() if isinstance(part, functools.partial)}
    assert named == set(COMMANDS)


def test_removed_options_are_one_line_that_says_so_before_tensorflow(tmp_path):
    (tmp_path / "old.flags").write_text("--config=albert_mini\n--hold_heads\n")
    pretraining = "albert_tf.run_pretraining --output_dir=out"
    finetuning = "albert_tf.run_finetuning --task=mrpc --output_dir=out"
    remaining = "--initial_attention=pointed is the start that remains (docs/small_experiments.md)"
    hold_heads = f"hold_heads was removed: leave it out; {remaining}"
    expected = {
        f"{pretraining} --hold_heads": f"--{hold_heads}",
        f"{pretraining} --nohold_heads": f"--no{hold_heads}",
        f"{pretraining} --hold_heads=true": f"--{hold_heads}",
        f"{pretraining} --flagfile=old.flags": f"--{hold_heads}",
        f"{pretraining} --initial_attention=matching": (
            f"--initial_attention=matching was removed: {remaining}"
        ),
        f"{finetuning} --initial_attention matching": (
            f"--initial_attention=matching was removed: {remaining}"
        ),
        f"{finetuning} --init_parts=embeddings": (
            "--init_parts was removed: leave it out, and all of --init_checkpoint is taken"
        ),
    }
    answers = ask(tmp_path, list(expected))
    for line, message in expected.items():
        said, code, heavy = answers[line]
        assert code == 1 and not heavy and "\n" not in said, (line, said)
        name = COMMANDS[line.split()[0]]
        also = "; some were read from old.flags" if "flagfile" in line else ""
        assert said == f"{name}: {message} (--help lists the flags{also})"


def test_help_has_the_flags_of_each_settings_class_together(tmp_path):
    ((said, _, _),) = ask(tmp_path, ["albert_tf.run_export --help"]).values()
    groups = dict(part.split(":\n", 1) for part in said.split("\n\n") if ":\n" in part)
    assert re.findall(r"^  --(\w+):", groups["How a model is exported"], re.M) == [
        "also",
        "kind",
        "precision",
        "rows_at_a_time",
        "top_k",
    ]
    assert re.findall(r"^  --(\w+):", groups["Of this command alone"], re.M) == [
        "data_dir",
        "dev_file",
        "model_dir",
        "output",
    ]


def test_a_command_says_of_flags_what_the_library_says_of_settings(tmp_path):
    expected = {
        "albert_tf.run_finetuning --task=mrpc --output_dir=out --notrain "
        "--init_checkpoint=random": (
            "--notrain needs a fine-tuned --init_checkpoint. Received: random"
        ),
        "albert_tf.run_pretraining --config=albert_mini --data_dir=. --output_dir=out "
        "--learning_rate=-1": "--learning_rate must not be negative. Received: -1.0",
        "albert_tf.run_export --model_dir=. --output=out --also=nowhere": (
            "--also must be one of litert, litert_float16, litert_int8, onnx. Received: 'nowhere'"
        ),
        "albert_tf.pipelines.build_pretraining_data --input=a_file --vocab_model=a_file "
        "--output_dir=out --masked_lm_prob=0": (
            "--masked_lm_prob must be above 0 and below 1. Received: 0.0"
        ),
    }
    answers = ask(tmp_path, list(expected))
    for line, message in expected.items():
        said, code, heavy = answers[line]
        assert (said, code, heavy) == (f"{COMMANDS[line.split()[0]]}: {message}", 1, [])


def test_names_of_settings_become_flags_of_the_running_command_alone(monkeypatch):
    own = flags.FlagValues()
    monkeypatch.setattr(flags, "FLAGS", own)
    flags.DEFINE_bool("train", True, "", flag_values=own)
    flags.DEFINE_integer("batch_size", 8, "", flag_values=own)
    for name in own:
        own.register_key_flag_for_module(sys.argv[0], own[name])
    said = "`train=False` and `train=True`, a smaller `batch_size=4`; `text` is a column, `a b` too"
    assert command_line.name_flags(said) == (
        "--notrain and --train, a smaller --batch_size=4; `text` is a column, `a b` too"
    )


def test_names_in_the_help_are_those_of_the_code():
    assert tuple(optimizers.OPTIMIZERS) == training_settings.OPTIMIZERS
    assert tuple(table.TASKS) == options.TASKS
    assert tuple(convert.HEADS) == conversion_settings.HEADS
    assert tuple(writing.WRITERS) == conversion_settings.FORMATS


def stop(folder, line, is_ready, number):
    """Sends a signal to a command and all that it started, as a terminal does.

    Returns:
        Its exit code and what it wrote.
    """
    module, *arguments = line.split()
    with (
        open(folder / "said", "w+") as said,
        subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdout=said,
            stderr=said,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        ) as process,
    ):
        while not is_ready():
            assert process.poll() is None, (folder / "said").read_text()
            time.sleep(0.005)
        os.killpg(process.pid, number)
        code = process.wait(timeout=60)
        lines = (folder / "said").read_text()
    os.unlink(folder / "said")
    with pytest.raises(ProcessLookupError):  # nothing that it started is left
        for _ in range(100):
            os.killpg(process.pid, 0)
            time.sleep(0.05)
    return code, lines


@pytest.fixture(scope="module")
def long_work(tmp_path_factory):
    """A folder with texts and a model that keep each command busy for some seconds."""
    from albert_tf.config import AlbertConfig
    from albert_tf.model.language_models import AlbertMaskedLM
    from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

    folder = tmp_path_factory.mktemp("work")
    draw = random.Random(0)
    words = [
        "".join(draw.choices("abcdefghiklmnoprstu", k=draw.randint(2, 9))) for _ in range(5000)
    ]
    lines = [" ".join(draw.choices(words, k=12)).capitalize() + "." for _ in range(30_000)]
    (folder / "text.txt").write_text(
        "".join(line + ("\n\n" if n % 50 == 49 else "\n") for n, line in enumerate(lines))
    )
    (folder / "masks.txt").write_text("".join(f"{line} [MASK]\n" for line in lines))
    tokenizer = Tokenizer(str(VOCABULARY))
    config = dataclasses.replace(
        AlbertConfig.from_preset("albert_tiny"), vocab_size=tokenizer.vocab_size
    )
    AlbertMaskedLM(config).save_pretrained(folder / "model", tokenizer)
    return folder


STOPPED = {
    # While the trainer is in its own code, which hears no signals.
    "build_vocabulary --input=text.txt --output=out --vocab_size=4000": (
        "training the vocabulary",
        signal.SIGINT,
    ),
    # With workers, to whom a terminal sends Ctrl-C, too.
    f"build_pretraining_data --input=text.txt --vocab_model={VOCABULARY} --output_dir=out "
    "--num_workers=2 --max_seq_length=64": ("writing examples", signal.SIGINT),
    "run_prediction --model_dir=model --input=masks.txt --output=out.jsonl": (
        ".out.jsonl.partial",
        signal.SIGTERM,
    ),
    "run_conversion --input=model --output=out": ("mapped: ", signal.SIGTERM),
}


@pytest.mark.slow
@pytest.mark.parametrize("line", STOPPED)
def test_a_stopped_command_says_so_in_one_line_and_leaves_nothing_half_done(long_work, line):
    """The signal comes when a line is said, or a hidden file is there."""
    sign, number = STOPPED[line]
    name, arguments = line.split(" ", 1)
    module = next(module for module, command in COMMANDS.items() if command == name)
    before = set(os.listdir(long_work))
    code, said = stop(
        long_work,
        f"{module} {arguments}",
        lambda: (long_work / sign).exists() or sign in (long_work / "said").read_text(),
        number,
    )
    assert code == 128 + number
    assert said.splitlines()[-1] == f"{name}: stopped by {signal.Signals(number).name}"
    assert "Traceback" not in said and "resource_tracker" not in said
    left = set(os.listdir(long_work)) - before
    if name == "build_pretraining_data":  # what is finished is kept for the same command
        assert left == {"out"}
        assert not list((long_work / "out").rglob(".*.partial"))
        assert not (long_work / "out" / "summary.json").exists()
        shutil.rmtree(long_work / "out")
    else:
        assert not left


@pytest.mark.slow
def test_what_tensorflow_is_loaded_without_can_be_imported_afterwards():
    program = """
import sys
from albert_tf import quiet_tensorflow
quiet_tensorflow.load_for_command()
assert not {"IPython", "matplotlib", "pandas", "scipy", "sklearn"} & sys.modules.keys()
assert "keras" in sys.modules
import matplotlib.figure, scipy.special, sklearn.metrics
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
