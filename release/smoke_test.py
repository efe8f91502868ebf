"""Whether an installed albert_tf works: commands, a model to disk and back, an export, a server.

Run by release/make_release.py with the Python of a new environment, in a folder of its own.
"""

import importlib.metadata
import json
import pathlib
import random
import subprocess
import sys
import urllib.request

BINARIES = pathlib.Path(sys.executable).parent


def main() -> None:
    """Runs each part; the first that fails ends it."""
    check_commands()
    make_model()
    ask_export()
    ask_server()


def check_commands() -> None:
    """Checks that the package is the installed one, and that each of its commands starts."""
    import albert_tf

    path = pathlib.Path(albert_tf.__file__)
    assert "site-packages" in path.parts, path
    assert albert_tf.__version__ == importlib.metadata.version("albert_tf")
    entries = importlib.metadata.distribution("albert_tf").entry_points
    names = [entry.name for entry in entries if entry.group == "console_scripts"]
    assert len(names) >= 10, names
    for name in names:
        shown = run(name, "--help")
        assert "python -m albert_tf" in shown, f"{name}: {shown[:500]}"


def run(name: str, *arguments: str) -> str:
    """Returns what a command of the environment prints."""
    done = subprocess.run(
        [str(BINARIES / name), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{name} {arguments}: {done.stdout[-2000:]}{done.stderr[-3000:]}"
    return done.stdout


def make_model() -> None:
    """Makes a vocabulary and a model, saves it, reads it, and fills a mask."""
    generator = random.Random(0)
    words = ["".join(generator.choices("abcdefghij", k=4)) for _ in range(300)]
    lines = [" ".join(generator.choices(words, k=12)) + "." for _ in range(2000)]
    pathlib.Path("text.txt").write_text("\n".join(lines) + "\n")
    run("albert-build-vocabulary", "--input=text.txt", "--vocab_size=200", "--output=vocab.model")

    import albert_tf

    config = albert_tf.AlbertConfig(
        vocab_size=200,
        embedding_size=16,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    tokenizer = albert_tf.Tokenizer("vocab.model")
    model = albert_tf.AlbertForPretraining(config)
    model.save_pretrained("model", tokenizer)
    text = f"{words[0]} [MASK] {words[1]}."
    answers = [albert_tf.FillMask.from_pretrained("model")(text) for _ in range(2)]
    assert answers[0] and str(answers[0]) == str(answers[1]), answers


def ask_export() -> None:
    """Exports the model, which is checked in another process, and asks what was written."""
    run("albert-export", "--model_dir=model", "--output=served")
    import tensorflow as tf
    import tensorflow_text  # noqa: F401 - brings the tokenizer's ops

    served = tf.saved_model.load("served/1")
    answer = served.signatures["fill_mask"](text=tf.constant(["a [MASK] b"]))
    assert answer["mask_count"].numpy().tolist() == [1], answer


def ask_server() -> None:
    """Asks a server of the export."""
    command = [str(BINARIES / "albert-serve"), "--model_dir=served", "--port=0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().split()[-1]
        with urllib.request.urlopen(f"{url}openapi.json") as answer:
            paths = json.load(answer)["paths"]
        body = json.dumps({"instances": ["a [MASK] b"]}).encode()
        with urllib.request.urlopen(f"{url}v1/models/albert:predict", body) as answer:
            assert json.load(answer)["predictions"][0]["mask_count"] == 1
        assert "/v2/models/albert/infer" in paths
    finally:
        server.terminate()
        server.communicate(timeout=60)


if __name__ == "__main__":
    main()
