"""Pairs made of text alone: what they are made of, and the score by its closed form."""

import json
import math
import random

import pytest
from samples import VOCABULARY

from albert_tf import Tokenizer
from albert_tf.pipelines.build_scored_pairs import PairSettings, build_scored_pairs
from albert_tf.pipelines.synthetic import scored_pairs

PLACE = scored_pairs.Place(
    sentence="one two three four five six seven",
    before="Before it stands this.",
    after="After it stands that.",
    other="eight nine ten eleven twelve",
)


def make_pairs(count, place=PLACE):
    rng = random.Random(0)
    return [scored_pairs.make_pair(place, rng) for _ in range(count)]


def test_score_is_the_share_of_information_that_stands_in_both():
    counts, total = {0: 4, 1: 2, 2: 1, 3: 1}, 8 + 5
    texts = [[0, 0, 1], [0, 0, 1, 2, 3]]
    information = scored_pairs.information_of_pieces(texts, 5)
    expected = [math.log(total / (counts.get(piece, 0) + 1)) for piece in range(5)]
    assert information == pytest.approx(expected)
    both = expected[0] + expected[1]
    score = scored_pairs.score_pair(texts[0], texts[1], information)
    assert score == pytest.approx(2 * both / (2 * both + expected[2] + expected[3]))
    assert scored_pairs.score_pair([1, 0, 1], [0, 1], information) == 1
    assert scored_pairs.score_pair([4, 4], [0, 1, 2], information) == 0
    assert scored_pairs.score_pair([], [], information) == 0


def test_copies_hold_words_of_both_sentences_alone_and_cover_all_distances():
    own, others = PLACE.sentence.split(), PLACE.other.split()
    passage = f"{PLACE.before} {PLACE.sentence} {PLACE.after}"
    kinds, kept = {"copy": 0, "neighbor": 0, "passage": 0}, set()
    for texts in make_pairs(2_000):
        if PLACE.other in texts and PLACE.sentence in texts:
            kinds["neighbor"] += 1
            continue
        start = passage if passage in texts else PLACE.sentence
        assert start in texts
        kinds["passage" if start == passage else "copy"] += 1
        copy = texts[1] if texts[0] == start else texts[0]
        words = copy.split()
        assert words and set(words) <= set(own + others)
        kept.add(len(set(words) & set(own)))
    shares = {kind: count / 2_000 for kind, count in kinds.items()}
    assert shares == pytest.approx({"copy": 0.5, "neighbor": 0.35, "passage": 0.15}, abs=0.04)
    assert kept >= set(range(8))


def test_each_text_of_a_sentence_pair_is_first_in_half_of_them():
    first = [text == PLACE.sentence for text, _ in make_pairs(2_000) if text[0] != "B"]
    assert sum(first) / len(first) == pytest.approx(0.5, abs=0.05)


def test_places_are_sentences_of_usual_length_with_another_of_their_document():
    usual, short, long = "a b c d e f", "Environmental considerations", "word " * 41
    rng = random.Random(0)
    assert list(scored_pairs.find_places([short, long, usual], rng)) == []
    assert list(scored_pairs.find_places([usual], rng)) == []
    document = [f"{usual} {number}" for number in range(50)]
    places = list(scored_pairs.find_places(document, rng))
    assert len(places) == 50
    for place in places:
        index = document.index(place.sentence)
        assert place.before == (document[index - 1] if index else "")
        assert place.after == (document[index + 1] if index + 1 < 50 else "")
        assert 0 < abs(document.index(place.other) - index) <= 5


def test_letters_are_words_where_a_script_has_no_blanks():
    place = scored_pairs.Place(
        sentence="今天天气很好我们去公园散步吧。",
        before="",
        after="",
        other="他昨天买了一本新的书给她看。",
    )
    letters = set(place.sentence + place.other)
    copies = [text for pair in make_pairs(200, place) for text in pair]
    assert all(set(text) <= letters for text in copies)
    assert len(set(copies)) > 50
    document = [place.sentence, place.other]
    assert len(list(scored_pairs.find_places(document, random.Random(0)))) == 2


@pytest.fixture
def text_file(tmp_path):
    rng = random.Random(0)
    words = [f"word{number}" for number in range(50)]
    documents = [
        "\n".join(" ".join(rng.choices(words, k=8)).capitalize() + "." for _ in range(10))
        for _ in range(10)
    ]
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(documents), encoding="utf-8")
    return path


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_file_has_rows_whose_labels_are_their_scores(text_file, tmp_path):
    lines, output = [], tmp_path / "pairs.jsonl"
    count = build_scored_pairs(str(text_file), VOCABULARY, output, report=lines.append)
    rows = read(output)
    assert count == len(rows) > 50 and lines == [f"{output}: {count} pairs"]
    tokenizer = Tokenizer(str(VOCABULARY))
    ids = [tokenizer.encode_batch([row["text"], row["text_b"]]) for row in rows]
    information = scored_pairs.information_of_pieces(
        (text for pair in ids for text in pair), tokenizer.vocab_size
    )
    for row, pair in zip(rows, ids, strict=True):
        assert row["label"] == pytest.approx(scored_pairs.score_pair(*pair, information), abs=5e-4)


def test_seed_decides_sample_and_changes(text_file, tmp_path):
    def build(name, **settings):
        path = tmp_path / name
        build_scored_pairs(str(text_file), VOCABULARY, path, PairSettings(**settings))
        return read(path)

    first = build("a", max_pairs=20, seed=1)
    assert len(first) == 20
    assert first == build("b", max_pairs=20, seed=1) != build("c", max_pairs=20, seed=2)


def test_wrong_input_is_named_and_nothing_is_replaced(text_file, tmp_path):
    (tmp_path / "short.txt").write_text("One sentence is all.\n", encoding="utf-8")
    output = tmp_path / "out.jsonl"
    with pytest.raises(ValueError, match="two sentences of 5 to 40 words"):
        build_scored_pairs(str(tmp_path / "short.txt"), VOCABULARY, output)
    assert not output.exists()
    output.write_text("mine")
    with pytest.raises(FileExistsError, match="`output` exists"):
        build_scored_pairs(str(text_file), VOCABULARY, output)
    assert output.read_text() == "mine"
    with pytest.raises(ValueError, match="`vocab_model` must be a file"):
        build_scored_pairs(str(text_file), tmp_path / "nowhere", tmp_path / "other.jsonl")
