"""Files of words and tags: every word keeps its place, however it is cut into pieces."""

import numpy as np
import pytest

from albert_tf.pipelines.task_data import tagged_words
from albert_tf.pipelines.task_data.input_problems import InputError, InputProblems
from albert_tf.pipelines.task_data.tagged_words import TaggedSentence

CONLL = (
    "\ufeff-DOCSTART- -X- O O\r\n\r\nThe DT O\r\ncat NN B-A\r\n\r\n\r\n"
    "# a comment\r\nsat\tVB\tO\r\n"
)


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


def test_line_without_a_word_is_named_where_no_tags_are_read(tmp_path):
    path = write(tmp_path, "the\n\tO\n")
    with pytest.raises(InputError, match="line 2: must have a word. Received"):
        tagged_words.read(path, InputProblems(), tag_column=None)


@pytest.mark.parametrize("before", ["", "The O\n"])
@pytest.mark.parametrize("after", ["", "cat O\n", "cat O\n\nsat O\n", "\nsat O\n"])
def test_sentence_with_undecodable_bytes_is_skipped_whole(tmp_path, before, after):
    path = tmp_path / "words.conll"
    path.write_bytes(f"on O\n\n{before}".encode() + b"\xff B\n" + after.encode())
    with pytest.raises(InputError, match=f"line {before.count('O') + 3}: must be UTF-8"):
        tagged_words.read(path, InputProblems())
    problems = InputProblems(skip=True)
    found = [sentence.words for sentence in tagged_words.read(path, problems)]
    assert found == [("on",), ("sat",)][: 1 + ("sat" in after)]
    assert problems.count == 1


def test_only_tabs_and_spaces_separate_fields(tmp_path):
    path = write(tmp_path, "10\u00a0000  NUM \n\u2028 O\n\nNew York\tNNP\tB-PLACE\n")
    first, second = tagged_words.read(path, InputProblems())
    assert first == TaggedSentence("0", ("10\u00a0000", "\u2028"), ("NUM", "O"))
    assert second == TaggedSentence("1", ("New York",), ("B-PLACE",))


def test_comments_are_left_out_and_words_that_begin_like_them_kept(tmp_path):
    path = write(tmp_path, "# text = a b\n# \n#\tSYM\n#tag O\n# B-NP\nb NN\n")
    (sentence,) = tagged_words.read(path, InputProblems())
    assert sentence.words == ("#", "#tag", "#", "b")


def test_a_comment_that_may_be_a_word_is_named_once(tmp_path):
    problems = InputProblems()
    path = write(tmp_path, "# O\nfan O\n\n# a comment of words\na O\n\n# O\nb O\n")
    assert len(tagged_words.read(path, problems)) == 3
    (line,) = problems.notes()
    assert line.startswith(f"{path}, line 1: '# O' is left out as a comment")


def test_a_line_that_lacks_a_field_has_no_other_for_its_tag(tmp_path):
    path = write(tmp_path, "A NN B-X\nB NN\n\nC NN O\n")
    with pytest.raises(InputError, match="line 2: must have 3 fields as the first.*'B NN'"):
        tagged_words.read(path, InputProblems())
    (sentence,) = tagged_words.read(path, InputProblems(skip=True))
    assert sentence.words == ("C",)
    assert len(tagged_words.read(path, InputProblems(), tag_column=1)) == 2


def test_a_document_begins_a_sentence(tmp_path):
    path = write(tmp_path, "A O\n-DOCSTART- O\nB O\n")
    assert [s.words for s in tagged_words.read(path, InputProblems())] == [("A",), ("B",)]


def test_json_lines_are_refused_as_such(tmp_path):
    path = tmp_path / "words.jsonl"
    path.write_text('{"words": ["A"], "tags": ["O"]}\n')
    with pytest.raises(InputError, match="of the CoNLL kind, a word and its tag .*: .jsonl"):
        tagged_words.read(path, InputProblems())


def test_empty_file_is_refused_whatever_was_skipped_before(tmp_path):
    problems = InputProblems(skip=True)
    problems.add("other", "line 1", "is bad")
    with pytest.raises(InputError, match="at least one sentence"):
        tagged_words.read(write(tmp_path, "\n"), problems)


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


def test_rows_of_a_long_sentence_are_cut_between_words_and_lose_no_label(tokenizer):
    words = ("the", "birdhouse", "sat", "on", "2,000", "birdhouse", "mat", "the", "birdhouse")
    sentence = TaggedSentence("0", words, tuple("OBOOBBOOB"))
    pieces = [tokenizer.encode(word) for word in words]
    longest = max(map(len, pieces))
    assert longest > 1
    whole = tagged_words.encode([sentence], tokenizer, 64, ["O", "B"])
    assert len(whole) == 1
    for length in range(longest + 2, 20):
        cut = tagged_words.encode([sentence], tokenizer, length, ["O", "B"])
        assert len(cut) > 1 and cut.details["sentence_index"].tolist() == [0] * len(cut)
        for name, column in cut.tokens.items():
            inner = np.concatenate([cut.row(row)[name][1:-1] for row in range(len(cut))])
            np.testing.assert_array_equal(inner, whole.row(0)[name][1:-1])
            assert column.dtype == np.int32
        for row in range(len(cut)):
            ids, labels = (cut.row(row)[name] for name in ("input_ids", "token_labels"))
            assert (ids[0], ids[-1]) == (tokenizer.cls_id, tokenizer.sep_id)
            assert labels[1] >= 0 and (labels[0], labels[-1]) == (-1, -1)
            assert len(ids) <= length and not cut.row(row)["segment_ids"].any()


def test_sentences_are_called_by_their_number_across_parts(tokenizer, monkeypatch):
    sentences = [TaggedSentence("", ("the", "cat") * (1 + n % 3), None) for n in range(7)]
    whole = tagged_words.encode(sentences, tokenizer, 6)
    monkeypatch.setattr(tagged_words, "_SENTENCES_AT_A_TIME", 2)
    in_parts = tagged_words.encode(sentences, tokenizer, 6)
    for name in ("sentence_index", "word_index"):
        assert in_parts.details[name].tolist() == whole.details[name].tolist()
        assert in_parts.details[name].dtype == np.int32
    assert in_parts.tokens["input_ids"].tolist() == whole.tokens["input_ids"].tolist()


def test_word_without_pieces_becomes_one_unknown_piece(tokenizer):
    assert tokenizer.encode("\u0301") == []
    encoded = tagged_words.encode([TaggedSentence("0", ("\u0301",), ("O",))], tokenizer, 8, ["O"])
    assert encoded.row(0)["input_ids"].tolist() == [
        *(tokenizer.cls_id, tokenizer.unk_id, tokenizer.sep_id)
    ]
    assert encoded.row(0)["token_labels"].tolist() == [-1, 0, -1]


def test_sentence_without_tags_cannot_be_labelled(tokenizer):
    with pytest.raises(ValueError, match="sentence 4 must have tags. Received: None"):
        tagged_words.encode([TaggedSentence("4", ("cat",), None)], tokenizer, 16, ["O"])


def test_unknown_tag_is_named(tokenizer):
    with pytest.raises(ValueError, match="sentence 7 must be among O, B. Received: 'I'"):
        sentence = TaggedSentence("7", ("cat",), ("I",))
        tagged_words.encode([sentence], tokenizer, 16, ["O", "B"])


def test_length_without_room_is_refused(tokenizer):
    with pytest.raises(ValueError, match="at least 3. Received: 2"):
        tagged_words.encode([TaggedSentence("0", ("cat",), None)], tokenizer, 2)
