"""How Sphinx makes the site of the guides, of the notebooks and of the public names: `make docs`.

Sphinx with MyST, because it is the best kept of today's tools that also check every link and read
docstrings: MkDocs has had no release since 2024, and its successors are younger than a year.
"""

import inspect
import json
from typing import Any, ClassVar

import sphinx.application
import sphinx.util.inspect
from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser

import albert_tf
from albert_tf import quiet_tensorflow

quiet_tensorflow.ask_for_quiet()
quiet_tensorflow.load()

project = "albert_tf"
release = version = albert_tf.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown", ".ipynb": "notebook"}

html_theme = "furo"  # its fonts are those of the reader, and it loads nothing from elsewhere
html_title = "albert_tf"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False

# Anchors as a code host makes them, so that links between guides lead somewhere on both.
myst_heading_anchors = 4
myst_links_external_new_tab = False

autodoc_member_order = "bysource"
# Defaults as they are written: `print` and not `<built-in function print>`.
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
napoleon_numpy_docstring = False
# What stands in single backticks in a docstring: code, and a link where it is a public name.
default_role = "py:obj"

# The answers of servers that a reader starts, and a host that lets no program look.
linkcheck_ignore = [r"http://127\.0\.0\.1.*", r"http://localhost.*"]
linkcheck_timeout = 20


class NotebookParser(MystParser):
    """Reads a notebook as the Markdown that it consists of; outputs as they lie in the file."""

    supported: ClassVar[tuple[str, ...]] = ("notebook",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Fills the document from a notebook's JSON."""
        super().parse("\n\n".join(_markdown(json.loads(inputstring))), document)


def _markdown(notebook: dict) -> list[str]:
    """Returns each cell, and each output that is text, as a piece of Markdown."""
    pieces = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            pieces.append(source)
            continue
        language = "python"
        if source.startswith("%%sh\n"):  # as Jupyter marks what a shell runs
            language, source = "sh", source.removeprefix("%%sh\n")
        pieces.append(f"```{language}\n{source}\n```")
        for output in cell["outputs"]:
            text = output.get("text") or output["data"]["text/plain"]
            text = "".join(text).rstrip("\n")
            pieces.append(f"```{{code-block}} text\n:class: printed\n\n{text}\n```")
    return pieces


def show_arguments(
    _app: sphinx.application.Sphinx, what: str, _name: str, shown: Any, *_: Any
) -> tuple[str, str] | None:
    """Returns the signature of a Keras class, whose `__new__` hides that of its constructor."""
    if what != "class" or not shown.__module__.startswith("albert_tf."):
        return None
    signature = sphinx.util.inspect.signature(shown.__init__, bound_method=True)
    signature = signature.replace(return_annotation=inspect.Signature.empty)
    return sphinx.util.inspect.stringify_signature(signature, unqualified_typehints=True), ""


def show_results_whole(
    _app: sphinx.application.Sphinx, _what: str, _name: str, _shown: Any, _: Any, lines: list[str]
) -> None:
    """Keeps what stands before a colon in "Returns:" from being read as a type.

    Types stand in annotations here. A first line with nothing in it but an escaped space says so.
    """
    for number, line in reversed(list(enumerate(lines))):
        if line.strip() in ("Returns:", "Yields:"):
            lines.insert(number + 1, line.replace(line.strip(), r"    \ "))


def show_examples_as_code(
    _app: sphinx.application.Sphinx, _what: str, _name: str, _shown: Any, _: Any, lines: list[str]
) -> None:
    """Marks a block as code that stands further in than the paragraph before it."""
    for number in reversed(range(1, len(lines) - 1)):
        before, here, after = lines[number - 1 : number + 2]
        is_outermost = before[:1].strip() and not before.endswith("::")
        if is_outermost and not here and after.startswith("    "):
            lines[number:number] = ["", "::"]


def setup(app: sphinx.application.Sphinx) -> None:
    """Adds what reads notebooks, and what this project's docstrings want."""
    app.add_source_parser(NotebookParser)
    app.connect("autodoc-process-signature", show_arguments)
    # Before those of the extension that reads sections.
    app.connect("autodoc-process-docstring", show_results_whole, priority=400)
    app.connect("autodoc-process-docstring", show_examples_as_code, priority=400)
