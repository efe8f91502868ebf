"""Settings that every test shares."""

import os
import signal

# Read by TensorFlow when it is imported, so they stand before any import of it.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# No test goes to the network; those of hub names have a hub of their own.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# What a shell starts with `&` ignores Ctrl-C, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import hub_server  # noqa: E402
import pytest  # noqa: E402
import wrapt  # noqa: E402
from samples import VOCABULARY, tiny_config  # noqa: E402


@pytest.fixture(scope="session")
def tokenizer():
    """A `Tokenizer` of 340 pieces."""
    from albert_tf import Tokenizer  # not every test wants TensorFlow

    return Tokenizer(VOCABULARY)


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory, tokenizer):
    """A model directory of `tiny_config` without a task's head, to be read and not written to."""
    import keras

    from albert_tf.model.language_models import AlbertForPretraining

    folder = tmp_path_factory.mktemp("pretrained") / "model"
    keras.utils.set_random_seed(0)
    AlbertForPretraining(tiny_config()).save_pretrained(folder, tokenizer)
    return folder


@pytest.fixture
def hub(tmp_path, monkeypatch, pretrained):
    """A hub with `pretrained` and more, the real one to huggingface_hub, and an empty cache."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.setenv("HF_TOKEN", hub_server.TOKEN)
    monkeypatch.chdir(tmp_path)
    of_model = {path.name: path.read_bytes() for path in pretrained.iterdir()}
    never_read = dict.fromkeys(("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack"), b"x")
    with hub_server.running_hub() as hub:
        template = f"{hub.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        hub.add(hub_server.NAME, {**of_model, **never_read, "README.md": b"---\n---\n"})
        yield hub


@pytest.fixture
def undrawn(monkeypatch):
    """Leaves the pictures of runs empty: drawing takes a third of a run of few steps.

    A fixture of a module that makes a run draws all the same, and so does test_report.py.
    """
    from albert_tf.finetuning import pictures
    from albert_tf.pretraining import learning_curve

    monkeypatch.setattr(pictures, "_png", lambda picture: b"PNG")
    monkeypatch.setattr(learning_curve, "draw", lambda log, path, metrics: path.write_bytes(b"PNG"))


@pytest.fixture
def quick_check():
    """Has exports checked in this process and with few texts."""
    from albert_tf.exporting import check
    from albert_tf.serving import saved_model_reader

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            check, "ask", lambda folder, requests: saved_model_reader.ask(str(folder), requests)
        )
        patched.setattr(check, "FIXED_TEXTS", check.FIXED_TEXTS[:4])
        patched.setattr(check, "_RANDOM_TEXTS", 2)
        yield


def rewrite_graphs(is_on):
    """Has TensorFlow rewrite what it runs from now on, as it does by default, or not."""
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not is_on})


def pytest_configure(config):
    """Leaves TensorFlow's rewriting of graphs to the longer tests.

    It is a fifth of what the quick ones compute. Slow tests, comparisons with other libraries,
    kills and the demo run what users run.
    """
    if "not slow" in config.option.markexpr:
        wrapt.when_imported("tensorflow")(lambda module: rewrite_graphs(False))


@pytest.fixture(scope="module")
def rewritten_graphs():
    """Has graphs rewritten as users have it."""
    rewrite_graphs(True)
    yield
    rewrite_graphs(False)


def pytest_collection_modifyitems(items):
    """Brings the file that takes longest to the front: a process would be left alone with it.

    With `ALBERT_TF_SLOW=2/3` every third file that has slow tests runs them, from the second on,
    and a test of many cases runs its first alone. Files stay whole: their tests share what they
    prepare.
    """
    items.sort(key=lambda item: item.path.name != "test_distributed_runs.py")
    if (part := os.environ.get("ALBERT_TF_SLOW", "full")) != "full":
        number, parts = (int(value) for value in part.split("/"))
        slow = [item for item in items if item.get_closest_marker("slow")]
        files = sorted({item.path for item in slow})[number - 1 :: parts]
        first = {item.nodeid.partition("[")[0]: item for item in reversed(slow)}
        wanted = {item for item in first.values() if item.path in files}
        items[:] = [item for item in items if item not in slow or item in wanted]
