"""A person types at the page, in a real browser, and sees the answer."""

import json
import shutil
import subprocess

import pytest
from samples import VOCABULARY, tiny_config
from test_model_server import serve

from albert_tf.exporting import export
from albert_tf.model.language_models import AlbertForPretraining
from albert_tf.model.task_models import (
    AlbertClassifier,
    AlbertMultipleChoice,
    AlbertSpanSelector,
    AlbertTokenClassifier,
)
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.serving import model_server

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
def test_page_shows_the_answer_to_the_example(tmp_path, monkeypatch, quick_check, kind):
    model_class, arguments, settings, shown = CASES[kind]
    model = model_class(tiny_config(), **arguments)
    vocabulary = Tokenizer(VOCABULARY)
    model.save_pretrained(tmp_path / "model", vocabulary)
    (tmp_path / "model" / "task.json").write_text(json.dumps({"kind": kind.split()[0], **settings}))
    export.export(tmp_path / "model", tmp_path / "served", report=lambda line: None)
    # The page as it is, but for the click of a person.
    show = model_server.HTMLResponse
    monkeypatch.setattr(model_server, "HTMLResponse", lambda text: show(text + CLICK))
    flags = (
        *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        f"--user-data-dir={tmp_path / 'browser'}",
        "--virtual-time-budget=8000",
        "--dump-dom",
    )
    with serve(tmp_path / "served") as client:
        page = subprocess.run(
            [BROWSER, *flags, client.url], capture_output=True, text=True, timeout=60
        ).stdout
    answer = page.partition('<section id="answer"')[2].partition("</section>")[0]
    for part in shown:
        assert part in answer, page
    assert 'class="error"' not in answer
