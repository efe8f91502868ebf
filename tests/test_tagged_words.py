"""Files of words and tags: every word keeps its place, however it is cut into pieces."""

import pathlib

import numpy as np
import pytest

from albert_tf.pipelines import tagged_words
from albert_tf.pipelines.input_problems import InputError, InputProblems
from albert_tf.pipelines.tagged_words import TaggedSentence
from albert_tf.pipelines.tokenization import Tokenizer

MODEL_FILE = pathlib.Path(__file__).parent / "testdata" / "vocabulary.model"
CONLL = (
    "\ufeff-DOCSTART- -X- O O\r\n\r\nThe DT O\r\ncat NN B-A\r\n\r\n\r\nsat\tVB\tO\r\n"
    "# a comment\r\n"
)


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer(MODEL_FILE)


def write(folder, text):
    path = folder / "words.conll"
    path.write_bytes(text.encode("utf-8"))
    return path


def test_sentences_are_read(tmp_path):
    path = write(tmp_path, CONLL)
    assert tagged_words.read(path, InputProblems()) == [
        TaggedSentence("0", ("The", "cat"), ("O", "B-A")),
        TaggedSentence("1", ("sat",), ("O",)),
    ]
    (first, _) = tagged_words.read(path, InputProblems(), tag_column=1)
    assert first.tags == ("DT", "NN")
    assert tagged_words.read(path, InputProblems(), tag_column=None)[0].tags is None


@pytest.mark.parametrize("line", ["alone", "the\t", "\tO"])
def test_line_that_lacks_something_is_named_and_its_sentence_skipped(tmp_path, line):
    path = write(tmp_path, f"The O\n{line}\ncat O\n\nsat O\n")
    with pytest.raises(InputError) as refused:
        tagged_words.read(path, InputProblems())
    assert f"{path}, line 2: must have a word and a tag" in str(refused.value)
    problems = InputProblems(skip=True)
    assert [s.words for s in tagged_words.read(path, problems)] == [("sat",)]
    assert problems.count == 1


@pytest.mark.parametrize(("text", "message"), [("\n\n", "at least one sentence"), (None, "a file")])
def test_file_without_sentences_is_refused(tmp_path, text, message):
    path = tmp_path / "none" if text is None else write(tmp_path, text)
    with pytest.raises(InputError, match=message):
        tagged_words.read(path, InputProblems())


def test_tags_are_discovered_with_outside_first():
    sentences = [TaggedSentence("0", ("a", "b", "c"), ("I-B", "O", "B-A"))]
    assert tagged_words.discover_tags(sentences) == ["O", "B-A", "I-B"]


def test_first_piece_of_each_word_has_its_label(tokenizer):
    words = ("The", "horse", "birdhouse", "\u0301", "2,000")
    sentence = TaggedSentence("0", words, ("O", "B", "I", "O", "B"))
    encoded = tagged_words.encode([sentence], tokenizer, 64, ["O", "B", "I"])
    row = encoded.row(0)
    pieces = [tokenizer.encode(word) or [tokenizer.unk_id] for word in words]
    assert row["input_ids"].tolist() == [
        *(tokenizer.cls_id, *(i for ids in pieces for i in ids), tokenizer.sep_id)
    ]
    expected = [-1]
    for ids, label in zip(pieces, (0, 1, 2, 0, 1), strict=True):
        expected += [label, *[-1] * (len(ids) - 1)]
    assert row["token_labels"].tolist() == [*expected, -1]
    assert max(map(len, pieces)) > 1 and [] not in pieces


def test_no_word_is_lost_however_short_the_rows(tokenizer):
    generator = np.random.default_rng(0)
    vocabulary = ["the", "cat", "birdhouse", "antidisestablishmentarianism", "2,000", "\u0301"]
    sentences = [
        TaggedSentence(str(n), tuple(generator.choice(vocabulary, generator.integers(1, 40))), None)
        for n in range(20)
    ]
    for length in (3, 5, 12, 64):
        encoded = tagged_words.encode(sentences, tokenizer, length)
        assert encoded.lengths().max() <= length and "token_labels" not in encoded.tokens
        # Each token is given its word's number in the sentence.
        classes = [
            encoded.details["word_index"][start:end]
            for start, end in zip(encoded.row_splits, encoded.row_splits[1:], strict=False)
        ]
        found = tagged_words.words_of_rows(encoded, classes)
        assert found == [list(range(len(sentence.words))) for sentence in sentences]


def test_unknown_tag_is_named(tokenizer):
    with pytest.raises(ValueError, match="sentence 7 must be among O, B. Received: 'I'"):
        sentence = TaggedSentence("7", ("cat",), ("I",))
        tagged_words.encode([sentence], tokenizer, 16, ["O", "B"])


def test_length_without_room_is_refused(tokenizer):
    with pytest.raises(ValueError, match="at least 3. Received: 2"):
        tagged_words.encode([TaggedSentence("0", ("cat",), None)], tokenizer, 2)
