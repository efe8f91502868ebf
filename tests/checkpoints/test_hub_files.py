"""Models by name; a server of this test stands in for the hub (tests/testdata/hub_server.py)."""

import importlib
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from hub_server import COMMIT, NAME, TOKEN

from albert_tf import AlbertMaskedLM, AlbertModel, Features, FillMask, load_tokenizer
from albert_tf.checkpoints import hub_files
from albert_tf.checkpoints.safetensors_files import read_safetensors
from albert_tf.checkpoints.stored_tensors import CheckpointError
from albert_tf.conversion.convert import convert

pytest.importorskip("huggingface_hub")
ROOT = pathlib.Path(__file__).parents[2]


def test_a_name_gives_the_model_of_its_files(hub, pretrained):
    here, there = AlbertMaskedLM.from_pretrained(pretrained), AlbertMaskedLM.from_pretrained(NAME)
    for one, other in zip(here.get_weights(), there.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    text = "She closed the [MASK] behind her."
    assert FillMask.from_pretrained(f"hf://{NAME}")(text) == FillMask.from_pretrained(pretrained)(
        text
    )


def test_only_what_is_read_is_fetched_once_and_no_pickle(hub, pretrained):
    folder = hub_files.find_directory(NAME)
    assert sorted(hub.fetched()) == sorted(path.name for path in pretrained.iterdir())
    assert sorted(os.listdir(folder)) == sorted(hub.fetched())
    assert hub_files.find_directory(NAME) == folder
    assert len(hub.fetched()) == len(set(hub.fetched()))


def test_a_tokenizer_needs_no_weights(hub, pretrained):
    assert load_tokenizer(NAME).pieces == load_tokenizer(pretrained).pieces
    assert sorted(hub.fetched()) == ["spiece.model", "tokenizer_config.json"]
    # What is there now is no model.
    with pytest.raises(CheckpointError, match="the cache has no whole copy"):
        AlbertModel.from_pretrained(NAME, local_files_only=True)


def test_a_repository_of_pickles_alone_is_read(hub):
    files = hub.files(NAME)
    hub.add("old/pickles", {n: files[n] for n in ("config.json", "pytorch_model.bin")})
    hub_files.find_directory("old/pickles")
    assert sorted(hub.fetched()) == ["config.json", "pytorch_model.bin"]


def test_shards_come_by_their_index(hub, pretrained):
    from safetensors.numpy import save

    tensors = read_safetensors(pretrained / "model.safetensors")
    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    sharded = {shard: save({n: tensors[n] for n in of}) for shard, of in shards.items()}
    weight_map = {name: shard for shard, of in shards.items() for name in of}
    index = json.dumps({"metadata": {}, "weight_map": weight_map}).encode()
    files = hub.files(NAME)
    small = {n: files[n] for n in ("config.json", "spiece.model", "pytorch_model.bin")}
    others = {"model.safetensors.index.json": index, "model-3.safetensors": b"of another model"}
    hub.add("big/sharded", {**small, **sharded, **others})
    model = AlbertMaskedLM.from_pretrained("big/sharded")
    assert sorted(hub.fetched()) == sorted(
        [*shards, "config.json", "spiece.model", "model.safetensors.index.json"]
    )
    expected = AlbertMaskedLM.from_pretrained(pretrained).get_weights()
    np.testing.assert_array_equal(model.get_weights()[0], expected[0])


def test_a_revision_is_that_of_the_name_or_of_the_argument(hub):
    files = hub.files(NAME)
    other = {**files, "config.json": files["config.json"].replace(b"\n", b"\n ")}
    hub.add(NAME, other, revision="v2", commit="b" * 40)
    main, v2 = (hub_files.find_directory(name) for name in (NAME, f"hf://{NAME}@v2"))
    assert main.endswith("a" * 40) and v2.endswith("b" * 40)
    assert hub_files.find_directory(NAME, revision="v2") == v2
    assert hub_files.find_directory(f"hf://{NAME}@{COMMIT}") == main
    with pytest.raises(CheckpointError, match="the hub has no revision 'v3' of it"):
        hub_files.find_directory(NAME, revision="v3")


def test_a_download_that_was_cut_off_is_never_used_and_goes_on(hub, monkeypatch, tmp_path):
    backoff = importlib.import_module("huggingface_hub.file_download")
    monkeypatch.setattr(backoff.time, "sleep", lambda seconds: None)
    hub.cut_off = "model.safetensors"
    with pytest.raises((CheckpointError, OSError)):
        hub_files.find_directory(NAME)
    (started,) = (tmp_path / "cache").rglob("config.json")
    assert "model.safetensors" not in os.listdir(started.parent)
    hub.requests.clear()
    with pytest.raises(CheckpointError, match="the cache has no whole copy"):
        hub_files.find_directory(NAME, local_files_only=True)
    hub.cut_off = None
    folder = pathlib.Path(hub_files.find_directory(NAME))
    assert hub.fetched() == ["model.safetensors"]
    for name in os.listdir(folder):
        assert (folder / name).read_bytes() == hub.files(NAME)[name]


def test_offline_the_last_copy_serves(hub, monkeypatch):
    folder, lines = hub_files.find_directory(NAME), []
    hub.requests.clear()
    assert hub_files.find_directory(NAME, local_files_only=True) == folder
    assert not hub.requests
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert hub_files.find_directory(NAME, report=lines.append) == folder
    assert lines == [f"the hub cannot be reached: hf://{NAME} is its last copy, {COMMIT[:12]}"]
    with pytest.raises(
        CheckpointError,
        match=r"other/one must be a model directory.*the hub cannot be reached \(Offline.*A direct",
    ) as caught:
        hub_files.find_directory("other/one")
    assert "\n" not in str(caught.value)


def test_a_hub_that_is_gone_is_said_in_one_line(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(CheckpointError, match=r"cannot be reached \(ConnectError\)") as caught:
        AlbertModel.from_pretrained(NAME)
    assert "\n" not in str(caught.value)


def test_a_wrong_name_is_said_in_one_line(hub):
    with pytest.raises(CheckpointError, match="no such folder, and the hub has no such") as caught:
        AlbertModel.from_pretrained("albert/tinyone")
    assert "\n" not in str(caught.value)


def test_a_repository_without_an_albert_is_refused_before_anything_is_fetched(hub):
    hub.add("no/weights", {"config.json": b"{}", "flax_model.msgpack": b"x"})
    with pytest.raises(CheckpointError, match="must hold config.json and weights.*flax_model"):
        hub_files.find_directory("no/weights")
    with pytest.raises(CheckpointError, match="must hold a vocabulary, in one of tokenizer.json"):
        load_tokenizer("no/weights")
    assert not hub.fetched()


def test_what_is_there_wins_over_the_hub(hub, pretrained, tmp_path):
    (tmp_path / "albert").mkdir()
    os.symlink(pretrained, tmp_path / "albert" / "tiny-one")
    AlbertModel.from_pretrained(NAME)
    # A mistyped path below a folder that is there is no name either.
    with pytest.raises(CheckpointError, match="no such folder"):
        AlbertModel.from_pretrained("albert/tiny-two")
    assert not hub.requests
    assert hub_files.find_directory(f"hf://{NAME}") != NAME and hub.requests


@pytest.mark.parametrize(
    "path",
    [
        *("name", "./a/b", "../a/b", "/a/b", "a/b/c", "a/b/", "a//b", "~/b", "a\\b", "a/b@main"),
        *("a--b/c", "a/b..c", "a/b c", "a/b.git", "", pathlib.Path("a/b")),
    ],
)
def test_other_forms_never_go_to_the_network(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hub_files.read_name(path) is None


@pytest.mark.parametrize("text", ["hf://name", "hf://a/b/c", "hf://", "hf://a/b@", "hf://a/b..c"])
def test_an_address_that_is_no_name_is_refused(text):
    with pytest.raises(CheckpointError, match="must be hf://owner/name or hf://"):
        hub_files.read_name(text)


def test_a_revision_of_a_path_is_refused(pretrained):
    with pytest.raises(CheckpointError, match="`revision` goes with a name on the hub"):
        AlbertModel.from_pretrained(pretrained, revision="main")


def test_without_the_extra_a_name_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match=r"no such folder.*pip install 'albert_tf\[hub\]'"):
        load_tokenizer(NAME)


def test_a_copy_is_named_by_commit_in_what_a_run_keeps(hub):
    folder = hub_files.find_directory(NAME)
    assert hub_files.name_copies(folder) == f"hf://{NAME}@{COMMIT}"
    assert (
        hub_files.name_copies(f"--a=x\n--init_checkpoint={folder}\n--b=y")
        == f"--a=x\n--init_checkpoint=hf://{NAME}@{COMMIT}\n--b=y"
    )


def test_the_token_is_read_and_nowhere_written(hub, tmp_path, caplog):
    lines = []
    hub_files.find_directory(NAME, report=lines.append)
    assert hub.tokens == {f"Bearer {TOKEN}"}
    with pytest.raises(CheckpointError) as caught:
        hub_files.find_directory("no/such", report=lines.append)
    assert TOKEN not in "".join([*lines, str(caught.value), caplog.text])
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), path


# Each command with something else that it refuses, before it loads TensorFlow.
COMMANDS = {
    "run_prediction": ["--model_dir={}", "--text=She closed the [MASK].", "--top_k=0"],
    "run_export": ["--model_dir={}", "--output=served", "--data_dir=no"],
    "run_finetuning": ["--init_checkpoint={}", "--task=mrpc", "--output_dir=o", "--data_dir=no"],
    "run_pretraining": ["--init_checkpoint={}", "--output_dir=o", "--data_dir=no"],
    "run_conversion": ["--input={}", "--output=o", "--vocab_model=no"],
}


@pytest.mark.parametrize(
    "command",
    [
        "run_prediction",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in COMMANDS
            if name != "run_prediction"
        ),
    ],
)
def test_commands_take_names(hub, command, tmp_path):
    def run(name):
        arguments = [argument.format(name) for argument in COMMANDS[command]]
        return subprocess.run(
            [sys.executable, "-m", f"albert_tf.{command}", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            env={
                **os.environ,
                "HF_ENDPOINT": hub.address,
                "HF_HUB_OFFLINE": "0",
                "HF_HOME": str(tmp_path / "home"),
                "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT)),
            },
        )

    shown = run(NAME)
    lines = shown.stderr.splitlines()
    assert lines[0] == f"downloading hf://{NAME}, commit {COMMIT[:12]}, from the hub"
    assert "model.safetensors" in hub.fetched()
    refused = COMMANDS[command][-1].partition("=")[0]
    assert shown.returncode == 1 and lines[1].startswith(f"{command}: {refused} must be"), lines
    wrong = run("albert/not-there")
    assert wrong.stderr.count("\n") == 1, wrong.stderr
    flag = COMMANDS[command][0].partition("=")[0]
    assert f"{command}: {flag}: albert/not-there must be a model directory" in wrong.stderr
    assert TOKEN not in shown.stderr + wrong.stderr + shown.stdout


def test_a_push_uploads_the_model_and_nothing_else(hub, pretrained, tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints" / "step-1").mkdir(parents=True)
    for path in pretrained.iterdir():
        (run / path.name).write_bytes(path.read_bytes())
    (run / "README.md").write_text("---\nlibrary_name: albert_tf\n---\n")
    for secret in ("report.html", "flags.txt", ".env", "checkpoints/step-1/config.json"):
        (run / secret).write_text("{}")
    assert hub_files.push_to_hub(run, "me/mine", private=True) == f"{hub.address}/me/mine"
    assert set(hub.pushed["me/mine"]) == {path.name for path in pretrained.iterdir()} | {
        "README.md"
    }
    assert hub.pushed["me/mine"]["model.safetensors"] == (run / "model.safetensors").read_bytes()
    (made,) = hub.created
    assert made.get("private") is True or made["visibility"] == "private"
    assert hub.tokens == {f"Bearer {TOKEN}"}


def test_a_push_takes_away_weights_that_would_be_read_in_place_of_its_own(
    hub, pretrained, tmp_path
):
    convert(pretrained, tmp_path / "int8", "int8", report=lambda line: None)
    old = {"model.safetensors": b"old", "config.json": b"{}", "notes.txt": b"theirs"}
    hub.add("me/mine", old)
    hub_files.push_to_hub(tmp_path / "int8", "me/mine")
    assert "model.int8.safetensors" in hub.pushed["me/mine"]
    assert hub.deleted == [("me/mine", "model.safetensors")]


def test_a_push_takes_away_what_would_make_another_model_of_its_own(hub, pretrained):
    described = ("albert_tf_head.safetensors", "task.json", "modules.json", "tokenizer.json")
    old = {name: b"{}" for name in (*described, "config.json", "notes.txt")}
    hub.add("me/mine", old)
    hub_files.push_to_hub(pretrained, "me/mine")
    gone = {name for _, name in hub.deleted}
    assert gone == set(described) - {path.name for path in pretrained.iterdir()}


def test_a_push_refuses_what_is_no_model_or_no_name(hub, tmp_path, pretrained):
    with pytest.raises(CheckpointError, match="must be a model directory, with config.json"):
        hub_files.push_to_hub(tmp_path, "me/mine")
    with pytest.raises(CheckpointError, match="`name` must be owner/name. Received: 'mine'"):
        hub_files.push_to_hub(pretrained, "mine")
    assert not hub.requests


def test_a_copy_of_others_says_that_its_pooling_is_unknown(hub, monkeypatch):
    warned = []
    monkeypatch.setattr(
        "albert_tf.inference.features.logging.warning", lambda *line: warned.append(line)
    )
    folder = pathlib.Path(hub_files.find_directory(NAME))
    assert Features.read_settings(folder) == {} and not warned  # the hub has none
    (folder.parents[1] / ".no_exist" / COMMIT / "modules.json").unlink()
    assert Features.read_settings(hub_files.find_directory(NAME, local_files_only=True)) == {}
    assert "needs `pooling`" in warned[0][0] and warned[0][1] == f"hf://{NAME}@{COMMIT}"


@pytest.mark.parametrize("folder", ["", "0_Transformer/"])
def test_a_sentence_model_comes_with_what_says_how_to_pool(hub, folder):
    of_model = {f"{folder}{name}": content for name, content in hub.files(NAME).items()}
    modules = [
        {"path": folder.rstrip("/"), "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    described = {
        "modules.json": json.dumps(modules).encode(),
        "1_Pooling/config.json": b'{"pooling_mode": "max"}',
        f"{folder}sentence_bert_config.json": b'{"max_seq_length": 20}',
    }
    hub.add("some/sentences", {**of_model, **described, "never.bin": b"x"})
    features = Features.from_pretrained("some/sentences")
    assert (features.pooling, features.normalize, features.max_seq_length) == ("max", True, 20)
    fetched = hub.fetched()
    assert {"modules.json", "sentence_bert_config.json"} <= set(fetched)
    assert not {"never.bin", "pytorch_model.bin"} & set(fetched)
    again = Features.from_pretrained("some/sentences", local_files_only=True)
    np.testing.assert_array_equal(again.embed("the girl"), features.embed("the girl"))
    assert hub.fetched() == fetched
    assert load_tokenizer("some/sentences").pieces == features.tokenizer.pieces
