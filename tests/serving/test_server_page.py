"""A person types at the page, in a real browser, and sees the answer."""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from samples import VOCABULARY

from albert_tf.config import AlbertConfig
from albert_tf.exporting import export
from albert_tf.model.language_models import AlbertForPretraining
from albert_tf.model.task_models import (
    AlbertClassifier,
    AlbertMultipleChoice,
    AlbertSpanSelector,
    AlbertTokenClassifier,
)
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

ROOT = pathlib.Path(__file__).parents[2]
CONFIG = dataclasses.replace(AlbertConfig.from_preset("albert_tiny"), vocab_size=340)
BROWSER = shutil.which("chromium")
# What the page shows of each kind, in its HTML.
CASES = {
    "fill_mask": (AlbertForPretraining, {}, {}, ("[MASK] 1", 'class="bar"')),
    "classification": (
        *(AlbertClassifier, {"labels": ["<i>no</i>", "yes"]}),
        *({}, ("&lt;i&gt;no&lt;/i&gt;", 'class="bar"')),
    ),
    "classification with several labels": (
        *(AlbertClassifier, {"labels": ["<i>no</i>", "yes"], "multi_label": True}),
        *({"thresholds": [0, 1]}, ("<h2>&lt;i&gt;no&lt;/i&gt;</h2>", 'class="bar"')),
    ),
    "tagging": (
        *(AlbertTokenClassifier, {"labels": ["O", "B"]}),
        *({"max_seq_length": 32}, ('class="word">Lovelace', "<small>")),
    ),
    "answer": (AlbertSpanSelector, {}, {"max_seq_length": 96}, ("<mark>", "null score")),
    "choice": (AlbertMultipleChoice, {}, {"max_seq_length": 160}, ("a dog", 'class="bar"')),
}
# Submits the form with what stands in it, the example, as soon as the page is ready.
CLICK = """
<script>
const wait = setInterval(() => {
  if (!document.querySelector("#inputs textarea")) return;
  clearInterval(wait);
  document.querySelector("button").click();
}, 50);
</script>
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="chromium is not installed"),
]


@pytest.mark.parametrize("kind", CASES)
def test_page_shows_the_answer_to_the_example(tmp_path, kind):
    model_class, arguments, settings, shown = CASES[kind]
    model = model_class(CONFIG, **arguments)
    vocabulary = Tokenizer(VOCABULARY)
    model.save_pretrained(tmp_path / "model", vocabulary)
    (tmp_path / "model" / "task.json").write_text(json.dumps({"kind": kind.split()[0], **settings}))
    export.export(tmp_path / "model", tmp_path / "served", report=lambda line: None)
    # The page as it is, but for the click of a person.
    start = (
        "import sys, pathlib, importlib.resources\n"
        "from albert_tf import command_line, run_server\n"
        "from albert_tf.serving import model_server\n"
        "show = model_server.HTMLResponse\n"
        f"model_server.HTMLResponse = lambda text: show(text + {CLICK!r})\n"
        "command_line.run(run_server.main)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", start, f"--model_dir={tmp_path / 'served'}", "--port=0"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        address = process.stdout.readline().split()[-1]
        flags = (
            *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            f"--user-data-dir={tmp_path / 'browser'}",
            "--virtual-time-budget=8000",
            "--dump-dom",
        )
        page = subprocess.run(
            [BROWSER, *flags, address], capture_output=True, text=True, timeout=60
        ).stdout
    finally:
        process.terminate()
        process.wait(timeout=30)
        process.stdout.close()
    answer = page.partition('<section id="answer"')[2].partition("</section>")[0]
    for part in shown:
        assert part in answer, page
    assert 'class="error"' not in answer
