"""A person types at the pages, in a real browser, and sees the answer."""

import json
import shutil
import subprocess

import pytest
from samples import VOCABULARY, tiny_config
from test_model_server import serve

from albert_tf.exporting import export
from albert_tf.model.language_models import AlbertEmbedder, AlbertForPretraining
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
    "embedding": (
        *(AlbertEmbedder, {}, {"max_seq_length": 32, "pooling": "mean", "normalize": True}),
        ("The cat is sitting.", "100.0%", "32 numbers", "/v1/embeddings"),
    ),
    "choice": (AlbertMultipleChoice, {}, {"max_seq_length": 160}, ("a dog", 'class="bar"')),
}
# Gives the key where one is asked for, then submits the form with what stands in it, the example,
# as soon as the page is ready.
CLICK = """
<script>
const press = setInterval(() => {
  const box = document.getElementById("key");
  if (box.form.hidden || box.value) return;
  box.value = "Sesame";
  box.form.querySelector("button").click();
}, 50);
const wait = setInterval(() => {
  if (!document.querySelector("#inputs textarea")) return;
  clearInterval(wait);
  document.querySelector("#form button").click();
}, 50);
</script>
"""
# Opens every address and sends what stands there.
SEND = (
    CLICK.partition("const wait")[0]
    + """
const wait = setInterval(() => {
  if (!document.querySelector("details")) return;
  clearInterval(wait);
  for (const box of document.querySelectorAll("details")) box.open = true;
  setTimeout(() => {
    for (const button of document.querySelectorAll("main button")) button.click();
  }, 50);
}, 50);
</script>
"""
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="chromium is not installed"),
]


def export_tiny(folder, model_class, arguments, settings):
    """Exports a model with random weights to `folder / "served"`."""
    model_class(tiny_config(), **arguments).save_pretrained(folder / "model", Tokenizer(VOCABULARY))
    (folder / "model" / "task.json").write_text(json.dumps(settings))
    export.export(folder / "model", folder / "served", report=lambda line: None)
    return folder / "served"


def open_page(folder, monkeypatch, served, script, path="/", keys=()):
    """Returns what a browser shows, as HTML, once a script behind the page has run."""
    show = model_server.HTMLResponse
    monkeypatch.setattr(
        model_server, "HTMLResponse", lambda text, **options: show(text + script, **options)
    )
    flags = (
        *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        f"--user-data-dir={folder / 'browser'}",
        "--virtual-time-budget=8000",
        "--dump-dom",
    )
    with serve(served, keys=keys) as client:
        return subprocess.run(
            [BROWSER, *flags, client.url + path], capture_output=True, text=True, timeout=60
        ).stdout


@pytest.mark.parametrize("kind", CASES)
def test_page_shows_the_answer_to_the_example(tmp_path, monkeypatch, quick_check, kind):
    model_class, arguments, settings, shown = CASES[kind]
    settings = {"kind": kind.split()[0], **settings}
    served = export_tiny(tmp_path, model_class, arguments, settings)
    page = open_page(tmp_path, monkeypatch, served, CLICK)
    answer = page.partition('<section id="answer"')[2].partition("</section>")[0]
    for part in shown:
        assert part in answer, page
    assert 'class="error"' not in answer


def test_docs_page_lists_the_addresses_and_sends_their_examples(tmp_path, monkeypatch, quick_check):
    _, _, settings, _ = CASES["embedding"]
    served = export_tiny(tmp_path, AlbertEmbedder, {}, {"kind": "embedding", **settings})
    page = open_page(tmp_path, monkeypatch, served, SEND, "/docs", keys=("Sesame",))
    for part in ("/v1/embeddings", "/v1/models/m:predict", "/v2/models/m/infer", "/metrics"):
        assert f"<code>{part}</code>" in page, page
    assert page.count("<pre>200 OK") == page.count(">Send</button>") > 12
    assert '"shape": [3],' in page  # numbers in one line
    assert "Bearer $ALBERT_API_KEY" in page and "Bearer Sesame" not in page
    # The form of the key is gone once there is one.
    assert '<form id="asks" hidden="">' in page


def test_page_asks_for_the_key_and_then_answers(tmp_path, monkeypatch, quick_check):
    _, _, settings, shown = CASES["embedding"]
    served = export_tiny(tmp_path, AlbertEmbedder, {}, {"kind": "embedding", **settings})
    page = open_page(tmp_path, monkeypatch, served, CLICK, keys=("Sesame",))
    assert all(part in page for part in shown), page
