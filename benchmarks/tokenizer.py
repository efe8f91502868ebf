"""The tokenizer against the original's rules in plain Python, on real text: ids and speed.

  ALBERT_TF_DATA=<folder with 30k-clean.model, wiki/, books/> python benchmarks/tokenizer.py
  python benchmarks/tokenizer.py --vocab_model=30k-clean.model --text='wiki/*,books/*'

For every line of the text, the ids of `albert_tf.Tokenizer` are compared with those of an
independent implementation of the original: split/join, NFKD, dropped combining characters, lower
case, the SentencePiece library with the untouched model, and the digit-comma rule on pieces. A
line that differs is put down to the engine's tie-breaking where the library, given our compiled
model, gives the original's ids too: then the clean-up is right and only the engine chose another
split of equal score.
"""

import glob
import itertools
import os
import time
import unicodedata

import sentencepiece
from absl import app, flags

from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

_DATA = os.environ.get("ALBERT_TF_DATA", "")
FLAGS = flags.FLAGS
flags.DEFINE_string("vocab_model", os.path.join(_DATA, "30k-clean.model"), "The original's model.")
flags.DEFINE_list(
    "text", [os.path.join(_DATA, "wiki", "*"), os.path.join(_DATA, "books", "*")], "Text files."
)
flags.DEFINE_integer("max_lines", 0, "Compare the first so many lines; 0: all.")
flags.DEFINE_integer("speed_megabytes", 8, "Text to time each implementation on.")
flags.DEFINE_integer("show", 5, "Differing lines to print.")

_CHUNK_LINES = 20_000


class OriginalTokenizer:
    """The original's rules, step by step in Python, over the SentencePiece library."""

    def __init__(self, processor):
        self._processor = processor

    def encode(self, text: str) -> list[int]:
        """The ids of one text."""
        return self.encode_cleaned(self.clean(text))

    def clean(self, text: str) -> str:
        """White space, NFKD, combining characters, lower case."""
        text = unicodedata.normalize("NFKD", " ".join(text.strip().split()))
        return "".join([c for c in text if not unicodedata.combining(c)]).lower()

    def encode_cleaned(self, text: str) -> list[int]:
        """SentencePiece and the digit-comma rule."""
        pieces = []
        for piece in self._processor.encode(text, out_type=str):
            if len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit():
                number = self._processor.encode(piece[:-1].replace("▁", ""), out_type=str)
                if piece[0] != "▁" and number[0][0] == "▁":
                    number = number[1:] if len(number[0]) == 1 else [number[0][1:], *number[1:]]
                pieces.extend([*number, ","])
            else:
                pieces.append(piece)
        return [self._processor.piece_to_id(piece) for piece in pieces]


def read_lines(patterns, max_lines):
    """Non-empty lines of the files that match, in sorted order, as they stand in the files."""
    paths = sorted(itertools.chain.from_iterable(glob.glob(pattern) for pattern in patterns))
    if not paths:
        raise app.UsageError(f"No text files match --text={','.join(patterns)}")
    count = 0
    for path in paths:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            for line in file:
                if line.strip():
                    yield line.rstrip("\n")
                    count += 1
                    if count == max_lines:
                        return


def compare(tokenizer, original, same_table, lines, show):
    """Counts lines, those with other ids, and those of them that tie-breaking explains."""
    total = characters = ties = 0
    differing = []
    lines = iter(lines)
    while chunk := list(itertools.islice(lines, _CHUNK_LINES)):
        total += len(chunk)
        characters += sum(map(len, chunk))
        for line, ours in zip(chunk, tokenizer.encode_batch(chunk), strict=True):
            theirs = original.encode(line)
            if ours == theirs:
                continue
            tie = same_table.encode_cleaned(line) == theirs
            ties += tie
            differing.append((line, ours, theirs, tie))
    print(f"Lines compared: {total:,} ({characters / 1e6:.1f} million characters)")
    print(f"Lines with other ids: {len(differing):,} ({len(differing) / total:.4%})")
    print(f"  of these by the engine's tie-breaking: {ties:,}")
    print(f"  of these by the clean-up: {len(differing) - ties:,}")
    clean_up_first = sorted(differing, key=lambda item: item[3])
    for line, ours, theirs, tie in clean_up_first[:show]:
        first = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), 0)
        words = slice(max(0, first - 2), first + 4)
        print(
            f"  {'tie' if tie else 'clean-up'}: ours {[tokenizer.pieces[i] for i in ours[words]]}"
            f" original {[tokenizer.pieces[i] for i in theirs[words]]} in {line[:60]!r}"
        )


def report_speed(tokenizer, original, lines):
    """Megabytes of text per second, best of three, everything in one process."""
    size = sum(len(line.encode("utf-8")) for line in lines) / 1e6
    ways = {
        "original's rules in Python": lambda: [original.encode(line) for line in lines],
        "encode_flat": lambda: tokenizer.encode_flat(lines),
        "encode_batch": lambda: tokenizer.encode_batch(lines),
        "encode_batch_with_offsets": lambda: tokenizer.encode_batch_with_offsets(lines),
    }
    print(f"Speed on {size:.1f} MB in {len(lines):,} lines, {os.cpu_count()} cores:")
    for name, encode in ways.items():
        seconds = []
        for _ in range(1 if "original" in name or "offsets" in name else 3):
            wall, cpu = time.perf_counter(), time.process_time()
            encode()
            seconds.append((time.perf_counter() - wall, time.process_time() - cpu))
        wall, cpu = min(seconds)
        print(f"  {name}: {size / wall:.1f} MB/s, {size / cpu:.1f} MB per CPU second")


def main(_):
    """Prints load time, parity and speed."""
    started = time.perf_counter()
    tokenizer = Tokenizer(FLAGS.vocab_model)
    print(f"Load, clean-up compiled: {time.perf_counter() - started:.2f} s")
    started = time.perf_counter()
    Tokenizer.from_model_bytes(tokenizer.model_bytes)
    print(f"Load, clean-up built in: {time.perf_counter() - started:.2f} s")
    load = sentencepiece.SentencePieceProcessor
    original = OriginalTokenizer(load(model_file=FLAGS.vocab_model))
    same_table = OriginalTokenizer(load(model_proto=tokenizer.model_bytes))

    sample, size = [], 0
    for line in read_lines(FLAGS.text, FLAGS.max_lines):
        sample.append(line)
        size += len(line)
        if size > FLAGS.speed_megabytes * 1e6:
            break
    report_speed(tokenizer, original, sample)
    compare(tokenizer, original, same_table, read_lines(FLAGS.text, FLAGS.max_lines), FLAGS.show)


if __name__ == "__main__":
    app.run(main)
