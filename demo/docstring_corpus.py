"""English prose that is on every machine: the docstrings of the installed Python packages.

Source files are parsed with `ast`, never imported. A paragraph counts as prose when it has at least
60 characters, at least 85% letters and spaces, and is no code and no list of arguments; each
paragraph is taken once. The docstrings of one module, in the order of the source, are one document.

Example: the docstring
    '''Adds numbers.

    The result is exact as long as both of the `numbers` are small enough for it.

    >>> add(1, 2)
    3
    '''
gives "The result is exact as long as both of the numbers are small enough for it."
"""

import ast
import collections
import concurrent.futures
import dataclasses
import hashlib
import importlib.util
import inspect
import multiprocessing
import os
import pathlib
import re
import sysconfig
import time
import warnings

from albert_tf import stop_signals, whole_files
from albert_tf.pipelines.text.sentence_splitting import split_sentences

STANDARD_LIBRARY = "python"
# What an installation of this project brings along; the output depends on these packages alone.
DEFAULT_PACKAGES = tuple(
    "PIL absl etils fontTools fsspec google grpc h5py keras matplotlib mpl_toolkits numpy optree"
    " packaging pip psutil pyarrow pygments pyparsing python requests rich setuptools tensorflow"
    " tensorflow_datasets tensorflow_text urllib3 wrapt".split()
)
MIN_PARAGRAPH_CHARACTERS = 60
MIN_LETTER_SHARE = 0.85
MIN_DOCUMENT_SENTENCES = 2

_SKIPPED_FOLDERS = frozenset(
    "site-packages dist-packages __pycache__ idlelib lib2to3 test tests testing".split()
)
_FENCE = re.compile(r"^ *(```|~~~).*?^ *\1", re.DOTALL | re.MULTILINE)
_MARKUP = (
    (re.compile(r":[a-z:]+:`~?([^`<]*?)(?: *<[^`]*>)?`"), r"\1"),
    (re.compile(r"`{1,2}~?([^`<]*?)(?: *<[^`]*>)?`{1,2}_{0,2}"), r"\1"),
    (re.compile(r"\[([^\]\[]*)\]\([^)]*\)"), r"\1"),
    (re.compile(r"(?<!\w)(\*{1,2}|_)(\S[^*_]*?)\1(?!\w)"), r"\2"),
)
_BULLET = re.compile(r"(?:[-*+•]|\d+[.)]|\(\w\))\s+")
# "axis: The axis", "axis (int): The axis" have a description, "axis : int" has one below.
_ARGUMENT = re.compile(r"[`'\"*]{0,2}[\w.\[\]*]+[`'\"*]{0,2}(?: ?\([^)]*\))?:\s+(?=\S)")
_TYPED_NAME = re.compile(r"[`*]{0,2}[\w.*]+(?:, ?[`*]{0,2}[\w.*]+)*[`*]{0,2} ?: .*(?<![.!?])$")
_HEADING = re.compile(r"[A-Z][\w ]{2,30}:$|[-=~^*]+$|\.\. \w+::")
_CODE = re.compile(
    r">>>|\.\.\.|[$%#@>|+=]|(?:import|from|def|class|return|with|for|if|while|assert) .*[:=(]"
)
_PROSE_START = re.compile(r"[\"'(]?[A-Z]")
# Many descriptions of arguments lack their full stop; an announcement of something else does not.
_PROSE_END = re.compile(r"[\w.!?\"')\]]$")


@dataclasses.dataclass(frozen=True, slots=True)
class PackageText:
    """What one package gave: its label, and counts."""

    name: str
    path: str
    source_files: int
    documents: int
    paragraphs: int
    sentences: int
    bytes_written: int


def build_docstring_corpus(
    output_dir, packages=DEFAULT_PACKAGES, num_workers=None, on_bytes=None, on_total=None
):
    """Writes one text file per package: one sentence a line, a blank line between documents.

    Args:
      output_dir: folder, made when missing; files are named `<package>.txt`.
      packages: names of importable packages; "python" stands for the standard library. A package
        that is not installed is left out.
      num_workers: processes that parse, default the number of CPU cores. The output is the same
        for every number.
      on_bytes: called with the number of bytes of source parsed since the last call.
      on_total: called once with the total of these bytes.

    Returns:
      list of `PackageText`, packages that gave text, sorted by name.

    Raises:
      ValueError: none of the packages is installed, or none has prose.
    """
    sources = {name: find_source_files(name) for name in sorted(set(packages))}
    files = [(name, path) for name, paths in sources.items() for path in paths]
    if not files:
        raise ValueError(
            f"Argument packages: expected installed packages. Received: {sorted(packages)}, of "
            "which none has source files here."
        )
    sizes = [os.path.getsize(path) for _, path in files]
    if on_total is not None:
        on_total(sum(sizes))
    documents = collections.defaultdict(list)
    seen = set()
    # A fork of a process that runs TensorFlow's threads may hang; a fresh process does not.
    context = multiprocessing.get_context("spawn")
    workers = num_workers or os.cpu_count()
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        with stop_signals.hidden_from_children():
            results = pool.map(extract_prose, [path for _, path in files], chunksize=16)
        for (name, _), size, paragraphs in zip(files, sizes, results, strict=True):
            fresh = _drop_seen(paragraphs, seen)
            if fresh:
                documents[name].append(fresh)
            if on_bytes is not None:
                on_bytes(size)
    os.makedirs(output_dir, exist_ok=True)
    written = [
        _write_package(output_dir, name, len(sources[name]), documents[name])
        for name in sorted(documents)
    ]
    written = [text for text in written if text is not None]
    if not written:
        raise ValueError(
            f"Argument packages: expected packages with prose in their docstrings. Received: "
            f"{sorted(packages)}, with none."
        )
    return written


def find_source_files(package):
    """Returns the paths of a package's .py files in a fixed order, [] where it is not installed.

    Finds the package without importing it; tests are left out.
    """
    roots = _find_package_folders(package)
    paths = []
    for root in roots:
        for folder, subfolders, names in os.walk(root):
            subfolders[:] = sorted(name for name in subfolders if name not in _SKIPPED_FOLDERS)
            paths.extend(
                os.path.join(folder, name)
                for name in sorted(names)
                if name.endswith(".py") and not name.endswith("_test.py")
            )
    return paths


def _find_package_folders(package):
    if package == STANDARD_LIBRARY:
        return [sysconfig.get_paths()["stdlib"]]
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:
        return []
    if spec is None:
        return []
    return sorted(spec.submodule_search_locations or [])


def extract_prose(path):
    """Returns the prose paragraphs of a source file's docstrings, in the order of the source.

    A file that is not valid Python or not UTF-8 gives [].
    """
    try:
        source = pathlib.Path(path).read_text(encoding="utf-8")
        if '"""' not in source and "'''" not in source:
            return []
        with warnings.catch_warnings():
            # Other people's invalid escape sequences are none of our business.
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (OSError, SyntaxError, UnicodeDecodeError, ValueError, RecursionError):
        return []
    paragraphs = []
    for docstring in _iterate_docstrings(tree):
        paragraphs.extend(extract_paragraphs(docstring))
    return paragraphs


def _iterate_docstrings(node):
    """Yields the docstrings and other text constants of a module in the order of the source."""
    for child in node.body:
        if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _iterate_docstrings(child)
        elif isinstance(child, (ast.Expr, ast.Assign)) and isinstance(child.value, ast.Constant):
            text = child.value.value
            if isinstance(text, str) and len(text) >= MIN_PARAGRAPH_CHARACTERS:
                yield text


def extract_paragraphs(docstring):
    """Returns the paragraphs of prose in one docstring, each on one line, without markup."""
    text = _FENCE.sub("", inspect.cleandoc(docstring))
    paragraphs = []
    for block in re.split(r"\n\s*\n", text):
        if ">>>" in block:
            continue
        for part in _split_block(block.split("\n")):
            paragraph = _clean_prose(part)
            if paragraph:
                paragraphs.append(paragraph)
    return paragraphs


def _split_block(lines):
    """Splits the lines of a block at items, headings and changes of indentation.

    Example: ["Args:", "  x: The first", "    number.", "  y: The second."] gives
    "The first number.", "The second.".
    """
    part, indentation, open_item = [], 0, False
    for line in lines:
        text = line.strip()
        if not text:
            continue
        indent = len(line) - len(line.lstrip())
        marker = _BULLET.match(text) or _ARGUMENT.match(text)
        separate = _HEADING.match(text) or (not marker and _TYPED_NAME.match(text))
        continues = indent == indentation or (open_item and indent > indentation)
        if part and (marker or separate or not continues):
            yield " ".join(part)
            part = []
        if separate:
            open_item = False
            continue
        if not part:
            indentation, open_item = indent, bool(marker)
        elif open_item and indent > indentation:
            indentation, open_item = indent, False
        part.append(text[marker.end() :] if marker else text)
    if part:
        yield " ".join(part)


def _clean_prose(paragraph):
    """Returns a paragraph without markup, or "" when it is no prose."""
    if len(paragraph) < MIN_PARAGRAPH_CHARACTERS or _CODE.match(paragraph):
        return ""
    paragraph = " ".join(paragraph.split())
    for pattern, replacement in _MARKUP:
        paragraph = pattern.sub(replacement, paragraph)
    if len(paragraph) < MIN_PARAGRAPH_CHARACTERS:
        return ""
    letters = sum(map(str.isalpha, paragraph)) + paragraph.count(" ")
    if letters < MIN_LETTER_SHARE * len(paragraph):
        return ""
    # A docstring that speaks of "\\0" without escaping it holds the character itself.
    if not paragraph.isprintable():
        return ""
    if not _PROSE_START.match(paragraph) or not _PROSE_END.search(paragraph):
        return ""
    return paragraph


def _drop_seen(paragraphs, seen):
    """Returns the paragraphs that were not seen before and remembers them."""
    fresh = []
    for paragraph in paragraphs:
        key = hashlib.blake2b(paragraph.lower().encode(), digest_size=12).digest()
        if key not in seen:
            seen.add(key)
            fresh.append(paragraph)
    return fresh


def _write_package(output_dir, name, source_files, modules):
    """Writes the documents of a package; the file gets its name when it is complete."""
    path = os.path.join(output_dir, f"{name}.txt")
    documents = sentences = paragraphs = 0
    blocks = []
    for module in modules:
        lines = [sentence for paragraph in module for sentence in split_sentences(paragraph)]
        if len(lines) < MIN_DOCUMENT_SENTENCES:
            continue
        documents += 1
        sentences += len(lines)
        paragraphs += len(module)
        blocks.append("\n".join(lines) + "\n")
    if not blocks:
        return None
    content = "\n".join(blocks).encode()
    whole_files.write_bytes(path, content)
    return PackageText(name, path, source_files, documents, paragraphs, sentences, len(content))


def format_summary(texts, started):
    """Returns the closing table: what each package gave, and the totals."""
    rows = [f"{'package':22}{'files':>8}{'documents':>11}{'sentences':>11}{'MB':>8}"]
    for text in texts:
        rows.append(
            f"{text.name:22}{text.source_files:8,}{text.documents:11,}{text.sentences:11,}"
            f"{text.bytes_written / 1e6:8.2f}"
        )
    rows.append(
        f"{'total':22}{sum(t.source_files for t in texts):8,}{sum(t.documents for t in texts):11,}"
        f"{sum(t.sentences for t in texts):11,}{sum(t.bytes_written for t in texts) / 1e6:8.2f}"
    )
    rows.append(f"{time.monotonic() - started:.1f} seconds")
    return "\n".join(rows)
