"""The site has every guide and every public name; whether it builds is in tests/guides."""

import pathlib
import re

import albert_tf

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"
FIRST_PAGE = (DOCS / "index.md").read_text(encoding="utf-8")


def read_all(folder):
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.md")))


def test_every_page_is_in_the_navigation():
    blocks = re.findall(r"^```\{toctree\}\n(.*?)^```", FIRST_PAGE, flags=re.M | re.S)
    named = [line for block in blocks for line in block.splitlines() if re.match(r"\w", line)]
    files = [*DOCS.glob("*.md"), *DOCS.glob("api/*.md"), *DOCS.glob("notebooks/*.ipynb")]
    pages = {str(path.relative_to(DOCS).with_suffix("")) for path in files} - {"index"}
    assert sorted(named) == sorted(pages), "name it in a toctree of docs/index.md, once"


def test_every_public_name_is_on_one_page():
    shown = re.findall(r"^\.\. auto\w+:: albert_tf\.(\w+)$", read_all(DOCS / "api"), flags=re.M)
    assert sorted(shown) == sorted(albert_tf.__all__), "name it on a page of docs/api, once"


def test_the_first_page_shows_the_code_of_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n.*?^```", readme, flags=re.M | re.S)
    assert block in FIRST_PAGE
