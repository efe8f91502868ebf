"""Compressed files, told by their first bytes: whatever a file is called, it is read as what it is.

gzip, bzip2 and xz come with Python, Zstandard with an extra.
"""

import bz2
import gzip
import io
import lzma
import zlib
from typing import IO

try:
    from backports import zstd
except ImportError:  # an extra
    zstd = None

SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
ZSTANDARD_IS_AN_EXTRA = "Zstandard file, for which pip install 'albert_tf[zstd]' is needed"
# What reading a damaged file raises.
READ_ERRORS = (EOFError, OSError, zlib.error, lzma.LZMAError)

_OPENERS_BY_MAGIC = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_ZSTANDARD_MAGIC = b"\x28\xb5\x2f\xfd"
if zstd is not None:
    _OPENERS_BY_MAGIC[_ZSTANDARD_MAGIC] = zstd.open
    READ_ERRORS += (zstd.ZstdError,)


def open_unpacked(raw: io.BufferedReader) -> IO[bytes] | None:
    """Returns a binary reader of what a file holds, unpacked where it is compressed.

    Args:
        raw: the file, open for reading in binary form, at its beginning.

    Returns:
        `raw` itself where it is not compressed; None for Zstandard without its package.
    """
    head = raw.peek(8)
    for magic, opener in _OPENERS_BY_MAGIC.items():
        if head.startswith(magic):
            return opener(raw, "rb")
    return None if head.startswith(_ZSTANDARD_MAGIC) else raw


def without_suffix(path: str) -> str:
    """Returns a path without the suffix of compressed files, "a.csv.gz" -> "a.csv"."""
    for suffix in SUFFIXES:
        if path.lower().endswith(suffix):
            return path[: -len(suffix)]
    return path
