"""Builds on Apache Beam's DirectRunner: the bytes of one without it, whatever dies on the way."""

import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from samples import TESTDATA, VOCABULARY

from albert_tf import whole_files
from albert_tf.pipelines.building import build, tokenized_corpus
from albert_tf.pipelines.building.example_options import BuildOptions

pytest.importorskip("apache_beam")

pytestmark = [
    pytest.mark.oracle,
    # Beam's own.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ROOT = pathlib.Path(__file__).parents[2]
PROCESSES = "--direct_running_mode=multi_processing --direct_num_workers=2"
OPTIONS = BuildOptions(
    input=(str(TESTDATA / "corpus" / "*book*.txt"), str(TESTDATA / "corpus" / "wiki_00")),
    vocab_model=str(VOCABULARY),
    output_dir="",
    num_shards=3,
    num_workers=1,
    held_out_fraction=0.2,
)
FORMS = {
    "records": {"max_seq_length": 32},
    "tokens": {"format": "tokens"},
}


@pytest.fixture(scope="module", params=FORMS)
def options(request):
    return dataclasses.replace(OPTIONS, **FORMS[request.param])


@pytest.fixture(scope="module")
def expected(options, tmp_path_factory):
    """What a build without Beam leaves, {file: bytes}."""
    folder = tmp_path_factory.mktemp("one")
    build.build_examples(dataclasses.replace(options, output_dir=str(folder)))
    return read(folder)


def read(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def run(options, folder, num_tasks, beam_options=None):
    return build.build_examples(
        dataclasses.replace(
            options,
            output_dir=str(folder),
            num_tasks=num_tasks,
            beam_runner="DirectRunner",
            beam_options=beam_options,
        )
    )


@pytest.mark.parametrize("num_tasks", [1, 3])
def test_tasks_on_beam_leave_the_bytes_of_one_build(
    options, expected, tmp_path, num_tasks, monkeypatch
):
    monkeypatch.setattr(tokenized_corpus, "_GROUP_BYTES", 1)  # every file a group, as large ones
    log = tmp_path / "tasks.txt"
    monkeypatch.setattr(build, "_do_share", note_tasks(build._do_share, log))
    summary = run(options, tmp_path / "out", num_tasks)
    assert read(tmp_path / "out") == expected
    tasks = [str(number) for number in range(num_tasks)]
    first, *of_workers, last = log.read_text().split()
    assert sorted(of_workers) == sorted(tasks + tasks)  # text, then shards
    assert first == last == "None"
    assert run(options, tmp_path / "out", num_tasks) == summary
    assert log.read_text().split()[-2:] == ["None", "None"]  # complete: no pipeline


def note_tasks(do_share, log):
    def note(options, **arguments):
        with log.open("a") as file:
            file.write(f"{options.task_index}\n")
        return do_share(options, **arguments)

    return note


def test_processes_of_beam_leave_the_bytes_of_one_build(options, expected, tmp_path):
    run(options, tmp_path, 3, PROCESSES)
    assert read(tmp_path) == expected


@pytest.mark.parametrize("options", ["records"], indirect=True)
def test_a_build_that_was_killed_is_completed(options, expected, tmp_path):
    command = [sys.executable, "-m", "albert_tf.pipelines.build_pretraining_data"]
    command += ["--input=" + ",".join(options.input), f"--vocab_model={options.vocab_model}"]
    command += [f"--output_dir={tmp_path}", "--num_shards=3", "--held_out_fraction=0.2"]
    command += [f"--max_seq_length={options.max_seq_length}", "--beam_runner=DirectRunner"]
    command += ["--num_tasks=3", f"--beam_options={PROCESSES}"]
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not (done := list(tmp_path.glob("train-*"))) and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)  # with its workers
    process.wait()
    while any(map(whole_files.is_in_use, (tmp_path / ".work").glob("task-*"))):
        time.sleep(0.01)  # until the workers are dead, too
    assert done and not (tmp_path / "summary.json").exists()
    assert run(options, tmp_path, 3)
    assert read(tmp_path) == expected


@pytest.mark.parametrize(
    ("runner", "beam_options", "message"),
    [
        ("FastRunner", None, "`beam_runner`.*FastRunner.*DirectRunner"),
        ("DirectRunner", "--direct_running_mode=fast", "invalid choice: 'fast'"),
        ("DirectRunner", "--direct_num_workers='2", "No closing quotation"),
    ],
)
def test_what_beam_does_not_know_is_refused_in_one_line(tmp_path, runner, beam_options, message):
    options = dataclasses.replace(
        OPTIONS,
        output_dir=str(tmp_path / "out"),
        num_tasks=2,
        beam_runner=runner,
        beam_options=beam_options,
    )
    with pytest.raises(ValueError, match=message) as error:
        build.build_examples(options)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_what_all_tasks_refuse_is_said_in_one_line(tmp_path):
    (tmp_path / "text.txt").write_text("\n")
    options = dataclasses.replace(OPTIONS, input=(str(tmp_path / "text.txt"),))
    with pytest.raises(ValueError, match="text.txt") as error:
        run(options, tmp_path / "out", 2)
    assert "\n" not in str(error.value)
