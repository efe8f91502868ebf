"""`make docs`: the site builds without a warning, and holds what it should."""

import pathlib
import re
import subprocess
import sys

import pytest

import albert_tf

ROOT = pathlib.Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8")
    options = re.search(r"^SPHINX := \$\(RUN\) (.*)$", recipe, flags=re.M)[1].split()
    done = subprocess.run(
        [sys.executable, *options, str(ROOT / "docs"), str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert "--fail-on-warning" in options
    assert done.returncode == 0 and not done.stderr, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}


def test_every_public_name_has_a_signature_and_a_docstring(site):
    api = "".join(path.read_text(encoding="utf-8") for path in site.glob("api/*.html"))
    for name in albert_tf.__all__:
        signature, _, docstring = api.partition(f'id="albert_tf.{name}"')[2].partition("</dt>")
        assert docstring.startswith("\n<dd><p>"), name
        assert "built-in function" not in signature, name
        assert ">*args<" not in signature.replace("</span>", ""), name
    for name in ("AlbertClassifier", "Tokenizer", "read_documents", "Lamb"):
        signature = api.partition(f'id="albert_tf.{name}"')[2].partition("</dt>")[0]
        assert "sig-param" in signature, name


def test_examples_in_docstrings_are_code(site):
    page = (site / "api" / "models.html").read_text(encoding="utf-8")
    example = page.partition(" needs no loss:</p>")[2].partition("</pre>")[0]
    assert "<pre>" in example and "model.fit(dataset)" in re.sub("<.*?>", "", example)


def test_a_page_loads_nothing_from_elsewhere(pages):
    for path, text in pages.items():
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]* src=\"(.*?)\"", text)
        loaded += re.findall(r"<link[^>]* rel=\"(?:stylesheet|preload)\"[^>]* href=\"(.*?)\"", text)
        assert loaded and not [address for address in loaded if "//" in address], path


def test_every_link_inside_leads_somewhere(site, pages):
    links = 0
    for path, text in pages.items():
        for name, anchor in re.findall(r' href="([^":#?]*)(?:\?[^"#]*)?(?:#([^"]*))?"', text):
            target = (path.parent / name).resolve() if name else path
            assert target.exists(), (path.name, name)
            assert not anchor or f'id="{anchor}"' in pages[target], (path.name, name, anchor)
            links += 1
    assert links > 500
