"""Ways in which a file arrives damaged, or was written to do harm; each is fixed by its number.

A mutation is a function (path, generator) that changes the file at `path`. `mutate` takes the
`number`-th of a kind of file: first those that every kind has once, then drawn ones.
"""

import bz2
import functools
import gzip
import json
import lzma
import os
import pathlib
import random
import zipfile

import tensorflow as tf
from backports import zstd

from albert_tf.pipelines.tokenizer import model_proto

# A cell, a line, a tensor or a list of a size that nobody has: 320 MB.
BOMB_BYTES = 320 * 2**20
_LONG = "x" * 400_000
_EVIL_NUMBERS = (10**9, -1, 0, 2**31, 2**63, 10**40, 1e308, float("nan"), float("inf"), 0.5)
_EVIL_VALUES = (*_EVIL_NUMBERS, None, True, "", "x", "\ud800", _LONG, [], {}, [[]], {"a": {}})
_EVIL_INTEGERS = (0, 1, 0x7F, 0xFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1, 10**9)
_EVIL_IDS = (-1, 40, 2**31, 2**32 + 1, 2**63 - 1, -(2**63))


# --- Of the path -------------------------------------------------------------------------------


def leave_empty(path, _):
    path.write_bytes(b"")


def put_folder(path, _):
    path.unlink()
    path.mkdir()


def put_link_loop(path, _):
    path.unlink()
    path.symlink_to(path)


def put_pipe(path, _):
    path.unlink()
    os.mkfifo(path)


# --- Of any bytes ------------------------------------------------------------------------------


def flip_bits(path, generator):
    content = bytearray(path.read_bytes())
    for _ in range(generator.choice((1, 1, 8))):
        content[_place(content, generator)] ^= 1 << generator.randrange(8)
    path.write_bytes(content)


def overwrite_bytes(path, generator):
    content = bytearray(path.read_bytes())
    start, count = _place(content, generator), generator.choice((1, 4, 16, 256))
    byte = generator.choice((0x00, 0xFF, None))
    for index in range(start, min(start + count, len(content))):
        content[index] = generator.randrange(256) if byte is None else byte
    path.write_bytes(content)


def truncate(path, generator):
    content = path.read_bytes()
    path.write_bytes(content[: _place(content, generator)])


def repeat_chunk(path, generator):
    content = path.read_bytes()
    start, end = sorted((_place(content, generator), _place(content, generator)))
    path.write_bytes(content[:end] + content[start:])


def remove_chunk(path, generator):
    content = path.read_bytes()
    start = _place(content, generator)
    path.write_bytes(content[:start] + content[start + generator.choice((1, 7, 64, 1024)) :])


def blow_up_integer(path, generator):
    """Writes a huge or negative integer where a header may have a size."""
    content = bytearray(path.read_bytes())
    width = generator.choice((1, 2, 4, 8))
    start = _place(content, generator)
    value = generator.choice(_EVIL_INTEGERS) % 2 ** (8 * width)
    content[start : start + width] = value.to_bytes(width, generator.choice(("little", "big")))
    path.write_bytes(content)


def _place(content, generator):
    """Returns a position, half of the time in the first or last 200 bytes, where headers are."""
    ends = generator.choice((True, False))
    if ends and len(content) > 400:
        place = generator.randrange(200)
        return generator.choice((place, len(content) - 1 - place))
    return generator.randrange(max(1, len(content)))


# --- Of text -----------------------------------------------------------------------------------


def nest_deeply(path, generator):
    path.write_text(generator.choice(("[", '{"a":')) * 200_000)


def put_mark(path, _):
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


def put_wide_text(path, _):
    path.write_bytes(path.read_bytes().decode("utf-8").encode("utf-16"))


def put_foreign_letters(path, generator):
    content = bytearray(path.read_bytes())
    start = _place(content, generator)
    content[start:start] = "Überfluß".encode("latin-1")
    path.write_bytes(content)


def put_long_line(path, generator):
    content = path.read_bytes()
    start = _place(content, generator)
    path.write_bytes(content[:start] + _LONG.encode() * 4 + content[start:])


def put_odd_signs(path, generator):
    content = path.read_bytes()
    start = _place(content, generator)
    sign = generator.choice(('"', "\t", "\r", "\0", ",", "\n\n", "\u2028", "\ufeff", "{", "\x1a"))
    path.write_bytes(content[:start] + sign.encode() * generator.choice((1, 3)) + content[start:])


# --- Of JSON -----------------------------------------------------------------------------------


def put_evil_value(path, generator):
    """Exchanges a value anywhere in a JSON file, or in a line of JSON lines."""

    def change(values):
        holder, key = _choose_place(values, generator)
        holder[key] = generator.choice(_EVIL_VALUES)

    _change_json(path, generator, change)


def blow_up_number(path, generator):
    """Makes one of the whole numbers a billion."""

    def change(values):
        places = [p for p in _list_places(values) if type(p[0][p[1]]) is int]
        if places:
            holder, key = generator.choice(places)
            holder[key] = 10**9

    _change_json(path, generator, change)


def remove_key(path, generator):
    def change(values):
        holder, key = _choose_place(values, generator)
        del holder[key]

    _change_json(path, generator, change)


def add_key(path, generator):
    def change(values):
        values[generator.choice(("surprise", _LONG, "__class__", ""))] = 1

    _change_json(path, generator, change)


def put_list(path, _):
    path.write_text("[]")


def put_empty_object(path, _):
    path.write_text("{}")


def put_long_number(path, generator):
    text = path.read_text()
    digits = [index for index, letter in enumerate(text) if letter.isdigit()]
    start = generator.choice(digits) if digits else 0
    path.write_text(text[:start] + "9" * 5000 + text[start:])


def _change_json(path, generator, change):
    lines = path.read_text().splitlines()
    try:
        number, values = None, json.loads("\n".join(lines))
    except ValueError:  # JSON lines, of which some may be broken
        objects = [i for i, line in enumerate(lines) if line.startswith("{") and line[-1:] == "}"]
        number = generator.choice(objects)
        values = json.loads(lines[number])
    change(values)
    text = json.dumps(values)
    if number is not None:
        lines[number] = text
        text = "\n".join(lines) + "\n"
    path.write_text(text)


def _choose_place(values, generator):
    """Returns a container inside `values` and one of its keys or indices."""
    return generator.choice(_list_places(values))


def _list_places(values):
    places, stack = [], [values]
    while stack:
        holder = stack.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        for key in list(keys)[:200]:
            places.append((holder, key))
            if isinstance(holder[key], dict | list):
                stack.append(holder[key])
    return places


# --- Of what is compressed ---------------------------------------------------------------------

_MODULES = {".gz": gzip, ".bz2": bz2, ".xz": lzma, ".zst": zstd}
_COMPRESS = {suffix: module.compress for suffix, module in _MODULES.items()}
_DECOMPRESS = {suffix: module.decompress for suffix, module in _MODULES.items()}


def put_bomb(path, generator):
    """Puts a few hundred megabytes of one letter, or of short lines, into a line of the text."""
    compress, text = _COMPRESS[path.suffix], _DECOMPRESS[path.suffix](path.read_bytes())
    place = text.index(b"\n") + 3
    filling = _compress_filling(path.suffix, generator.choice((b"a", b"a,b\n")))
    path.write_bytes(compress(text[:place]) + filling + compress(text[place:]))


@functools.cache
def _compress_filling(suffix, filling):
    """Returns `BOMB_BYTES` of `filling`, compressed as many streams of one file."""
    part = filling * (2**20 // len(filling))
    return _COMPRESS[suffix](part) * (BOMB_BYTES // len(part))


def mutate_inside(path, generator):
    """Mutates the text and compresses it again, so that the checksums are right."""
    inner = path.with_name("inner")
    inner.write_bytes(_DECOMPRESS[path.suffix](path.read_bytes()))
    generator.choice(_BYTES + _TEXT)(inner, generator)
    path.write_bytes(_COMPRESS[path.suffix](inner.read_bytes()))
    inner.unlink()


def put_zip_bomb(path, _):
    """Makes each entry of an archive unpack to hundreds of megabytes, if it is read to the end."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    zeros = bytes(BOMB_BYTES)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in entries.items():
            archive.writestr(name, content + zeros if name.endswith("data.pkl") else content)


# --- Of a vocabulary ---------------------------------------------------------------------------


def change_vocabulary(path, generator):
    """Writes a SentencePiece model that is whole as a message and wrong in what it says."""
    model = model_proto.ModelProto.FromString(path.read_bytes())
    piece = model.pieces[generator.randrange(len(model.pieces))]
    charsmap = bytearray(model.normalizer_spec.precompiled_charsmap)
    change = generator.randrange(10)
    if change == 0:
        piece.piece = "x" * generator.choice((1_000_000, 70_000))
    elif change == 1:
        piece.score = generator.choice((float("nan"), float("inf"), -3e38))
    elif change == 2:
        piece.piece = generator.choice(("", model.pieces[7].piece, "\u2581", "[CLS]", "a\0b"))
    elif change == 3:
        piece.type = generator.choice((2, 3, 4, 5, 6))
    elif change == 4:
        model.trainer_spec.model_type = generator.choice((2, 3, 4))
    elif change == 5:
        name = generator.choice(("unk_id", "pad_id", "bos_id", "eos_id", "vocab_size"))
        setattr(model.trainer_spec, name, generator.choice((-1, 5, 10**9, -(2**31))))
    elif change == 6:
        del model.pieces[generator.randrange(len(model.pieces)) :]
    elif change == 7:
        model.normalizer_spec.precompiled_charsmap = bytes(charsmap[: generator.randrange(2000)])
    else:
        for _ in range(generator.choice((1, 20))):
            charsmap[generator.choice((generator.randrange(8), _place(charsmap, generator)))] ^= (
                1 << generator.randrange(8)
            )
        model.normalizer_spec.precompiled_charsmap = bytes(charsmap)
    path.write_bytes(model.SerializeToString())


# --- Of records --------------------------------------------------------------------------------


def change_record(path, generator):
    """Writes records with the right checksums, of which one has a feature that no example has."""
    rows = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    number = generator.randrange(len(rows))
    example = tf.train.Example.FromString(rows[number])
    features = example.features.feature
    name = generator.choice(sorted(features))
    kind = features[name].WhichOneof("kind")
    change = generator.randrange(6)
    if change == 0:
        del features[name]
    elif change == 1:
        values = getattr(features[name], kind).value
        del values[generator.randrange(len(values)) :]
    elif change == 2:
        getattr(features[name], kind).value.extend([1] * generator.choice((1, 100_000)))
    elif change == 3:
        features[name].bytes_list.value.append(b"x")
    else:
        values = getattr(features[name], kind).value
        evil = (float("nan"), float("inf"), -1.0) if kind == "float_list" else _EVIL_IDS
        values[generator.randrange(len(values))] = generator.choice(evil)
    rows[number] = example.SerializeToString()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in rows:
            writer.write(row)


# --- The mutations of each kind of file, in order ----------------------------------------------

_PATH = [leave_empty, put_folder, put_link_loop, put_pipe]
_BYTES = [flip_bits, overwrite_bytes, truncate, repeat_chunk, remove_chunk, blow_up_integer]
_TEXT = [put_foreign_letters, put_long_line, put_odd_signs]
_TEXT_ONCE = [nest_deeply, put_mark, put_wide_text]
_JSON = [put_evil_value, put_evil_value, blow_up_number, remove_key, add_key, put_long_number]
# kind: (mutations that come once, first; those that are drawn, each time otherwise)
KINDS = {
    "bytes": (_PATH, _BYTES),
    "text": (_PATH + _TEXT_ONCE, _BYTES[:5] + _TEXT),
    # A pipe is how a shell hands over a list of flags, and is waited for.
    "flags": (_PATH[:3] + _TEXT_ONCE, _BYTES[:5] + _TEXT),
    "json": ([*_PATH, *_TEXT_ONCE, put_list, put_empty_object], [*_JSON, *_JSON, *_BYTES, *_TEXT]),
    "json lines": ([*_PATH, *_TEXT_ONCE, put_list], [*_JSON, *_BYTES, *_TEXT]),
    "compressed": ([*_PATH, put_bomb, put_bomb], [*_BYTES, mutate_inside, mutate_inside]),
    "vocabulary": (_PATH, [*_BYTES, *[change_vocabulary] * len(_BYTES)]),
    "records": ([], [change_record]),
    "zip": ([*_PATH, put_zip_bomb], _BYTES),
}


def mutate(path, kind, name, number):
    """Changes the file at `path` in the way that kind, name and number say; returns the way."""
    generator = random.Random(f"{name} {number}")
    once, drawn = KINDS[kind]
    mutation = once[number] if number < len(once) else generator.choice(drawn)
    mutation(pathlib.Path(path), generator)
    return mutation.__name__
