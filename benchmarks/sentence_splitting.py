"""Sentence splitting: ours beside tensorflow_text.StateBasedSentenceBreaker, speed and quality.

  python benchmarks/sentence_splitting.py --input='books/*.txt,wiki/*' --megabytes=8

Speed is process time on one core over the same paragraphs. Quality is the share of the hard cases
in tests/text/test_sentence_splitting.py that are split exactly as expected, and of the boundaries
on the real text the share that directly follows a title or an initial ("Mr.", "J."), which is
wrong.
"""

import importlib.util
import itertools
import os
import pathlib
import re
import resource
import time

# One core for both sides.
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"

import tensorflow as tf  # noqa: E402
import tensorflow_text as tf_text  # noqa: E402
from absl import app, flags  # noqa: E402

from albert_tf.pipelines.sources import files  # noqa: E402
from albert_tf.pipelines.text import (  # noqa: E402
    books,
    corpus,
    layouts,
    plain_text,
    wikipedia_text,
)

_INPUT = flags.DEFINE_list("input", None, "Files or globs of wiki text or books.", required=True)
_MEGABYTES = flags.DEFINE_float("megabytes", 8.0, "How much text of each input to take.")

_AFTER_ABBREVIATION = re.compile(r"(?:^|[\s(\"'])(?:Mr|Mrs|Dr|Prof|Gen|Col|[A-HJ-Z])\.$")


def read_paragraphs(pattern, megabytes):
    """Returns paragraphs of the files as the layouts yield them, before splitting."""
    taken, size = [], 0
    for path in corpus.list_input_files(pattern):
        blocks = files.read_line_blocks(path, corpus.SkippedInput())
        first = next(blocks)
        layout = layouts.recognise_layout(path, first[1])
        report, blocks = corpus.SkippedInput(), itertools.chain([first], blocks)
        if layout == "book":
            paragraphs = books.parse_book(blocks, report)
        else:
            lines = plain_text.number_lines(blocks)
            paragraphs = wikipedia_text.parse_wikiextractor(lines, report)
        for _, paragraph in paragraphs:
            if paragraph:
                taken.append(paragraph)
                size += len(paragraph.encode())
            if size > megabytes * 1e6:
                return taken, size
    return taken, size


def load_cases():
    """Returns the hard cases of the splitter's test: list of (text, expected sentences)."""
    path = pathlib.Path(__file__).parents[1] / "tests" / "text" / "test_sentence_splitting.py"
    specification = importlib.util.spec_from_file_location("cases", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return [(module.join_case(name), expected) for name, expected in module.CASES.items()]


def split_with_tensorflow_text(paragraphs):
    """Splits a list of paragraphs, in batches, into a list of lists of sentences."""
    breaker = tf_text.StateBasedSentenceBreaker()
    sentences = []
    for start in range(0, len(paragraphs), 1024):
        batch = breaker.break_sentences(tf.constant(paragraphs[start : start + 1024]))
        for row in batch.to_list():
            # It cuts inside some characters of more than one byte.
            sentences.append([sentence.decode("utf-8", "replace") for sentence in row])
    return sentences


def split_with_ours(paragraphs):
    """Splits a list of paragraphs into a list of lists of sentences."""
    return [corpus.split_sentences(paragraph) for paragraph in paragraphs]


def read_with_ours(pattern):
    """Returns megabytes of text, read with layouts and splitting, a second of process time."""
    sizes = []
    started = time.process_time()
    for _ in corpus.read_documents(pattern, on_bytes=sizes.append):
        pass
    return sum(sizes) / 1e6 / (time.process_time() - started)


def main(_):
    """Prints one row per splitter and input, and how fast all of an input is read."""
    splitters = {
        "albert_tf": split_with_ours,
        "tensorflow_text StateBasedSentenceBreaker": split_with_tensorflow_text,
    }
    cases = load_cases()
    print("| splitter | hard cases right | input | MB/s | sentences | after a title or initial |")
    print("|---|---|---|---|---|---|")
    for pattern in _INPUT.value:
        paragraphs, size = read_paragraphs(pattern, _MEGABYTES.value)
        for name, split in splitters.items():
            split(paragraphs[:100])
            started = time.process_time()
            found = split(paragraphs)
            seconds = time.process_time() - started
            count = sum(map(len, found))
            wrong = sum(
                bool(_AFTER_ABBREVIATION.search(sentence.rstrip()))
                for sentences in found
                for sentence in sentences[:-1]
            )
            answers = split([text for text, _ in cases])
            right = sum(
                [sentence.strip() for sentence in answer] == expected
                for answer, (_, expected) in zip(answers, cases, strict=True)
            )
            print(
                f"| {name} | {right} of {len(cases)} | {pathlib.Path(pattern).parent.name} "
                f"| {size / 1e6 / seconds:.1f} | {count:,} | {wrong / count:.2%} |",
                flush=True,
            )
    for pattern in _INPUT.value:
        print(f"all of {pattern}, read and split: {read_with_ours(pattern):.0f} MB/s", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"peak, TensorFlow included: {peak:.0f} MB")


if __name__ == "__main__":
    app.run(main)
