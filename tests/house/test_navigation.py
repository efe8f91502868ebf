"""The site has every guide and every public name; whether it builds is in tests/guides."""

import ast
import importlib
import pathlib
import re
import subprocess
import sys
import types

import pytest

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


def test_editors_see_every_public_name():
    stub = (ROOT / "albert_tf" / "__init__.pyi").read_text(encoding="utf-8")
    imports = [node for node in ast.parse(stub).body if isinstance(node, ast.ImportFrom)]
    shown = {alias.asname: node.module for node in imports for alias in node.names}
    assert shown == albert_tf._PUBLIC_NAMES


@pytest.mark.slow
def test_public_names_are_first_used_in_any_threads():
    names = ["Classifier", "Tokenizer", "AdamW", "finetuning_dataset"]
    script = f"""
import threading, albert_tf
names, found = {names}, []
together = threading.Barrier(len(names))
def use(name):
    together.wait()
    found.append(getattr(albert_tf, name).__name__)
threads = [threading.Thread(target=use, args=(name,)) for name in names]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(*sorted(found))
"""
    asked = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert asked.stdout.split() == sorted(names), asked.stderr


def test_the_first_page_shows_the_code_of_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n.*?^```", readme, flags=re.M | re.S)
    assert block in FIRST_PAGE


def test_benchmarks_name_what_is_there():
    """No other test runs them, so a module that moved would be found by whoever runs one."""
    for path in sorted((ROOT / "benchmarks").glob("*.py")):
        tree, modules = ast.parse(path.read_text(encoding="utf-8")), {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("albert_tf"):
                for alias in node.names:
                    holder = importlib.import_module(node.module)
                    name = f"{node.module}.{alias.name}"
                    if not hasattr(holder, alias.name):
                        importlib.import_module(name)  # or it is nowhere
                    value = getattr(holder, alias.name)
                    if isinstance(value, types.ModuleType):
                        modules[alias.asname or alias.name] = value
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                module = modules.get(node.value.id)
                assert module is None or hasattr(module, node.attr), f"{path.name}: {node.attr}"
