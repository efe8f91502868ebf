"""Held-out predictions by kind: by hand, and in all the same as the model's own figures."""

import numpy as np
import pytest

from albert_tf.evaluation import evaluate, evaluated_data, figures, held_out
from albert_tf.pipelines.examples.example_settings import ExampleSettings
from albert_tf.pipelines.examples.masking import PieceTable

PAD, CLS, SEP, MASK = 0, 2, 3, 4
# Ids from 20 on start a word, those below go on with one.
WORD_START = np.arange(60) >= 20


def test_errors_are_those_of_a_mean_over_texts():
    values, texts = np.array([1.0, 0, 1, 1, 0, 0, 1]), np.array([0, 0, 0, 1, 2, 2, 2])
    mean, error = figures.mean_and_error(values, texts)
    totals = [sum(values[texts == text] - mean) for text in range(3)]
    assert mean == pytest.approx(4 / 7)
    assert error == pytest.approx(np.sqrt(sum(total**2 for total in totals)) / 7)
    # Each text alone: the error of a share.
    _, error = figures.mean_and_error(values, np.arange(7))
    assert error == pytest.approx(np.sqrt(4 / 7 * 3 / 7 / 7))


def test_runs_and_words_are_counted_by_hand():
    # [CLS] the play-ing cat [SEP] s-es dog-s [SEP]: behind [SEP] a piece begins a word.
    ids = np.array([[CLS, 20, 21, 10, 22, SEP, 11, 12, 23, 13, SEP, PAD]] * 2)
    segments = np.array([[0, 1, 1, 1, 1, 0, 2, 2, 2, 2, 0, 0]] * 2)
    hidden = ((0, 1), (0, 2), (0, 3), (0, 6), (0, 7), (1, 4), (1, 6), (1, 7), (1, 8), (1, 9))
    rows, positions = np.array(hidden).T
    runs, pieces = held_out.find_runs(ids, segments, rows, positions, WORD_START)
    assert runs.tolist() == [2, 2, 2, 1, 1, 1, 2, 2, 2, 2]
    assert pieces.tolist() == [1, 2, 2, 2, 2, 1, 2, 2, 2, 2]


def test_runs_do_not_go_on_in_the_next_text():
    ids = np.array([[20, 21], [22, 23]])
    runs, _ = held_out.find_runs(
        ids, np.ones_like(ids), np.array([0, 1]), np.array([1, 0]), WORD_START
    )
    assert runs.tolist() == [1, 1]


def test_a_repeated_piece_can_be_read_elsewhere_in_its_own_text():
    batch = {
        # Hidden are places 1, 2 and 4 of the first text, of which 2 shows its own piece.
        "input_ids": np.array([[CLS, MASK, 21, 22, MASK, 20], [CLS, 22, MASK, 23, 24, 25]]),
        "masked_lm_positions": np.array([[1, 2, 4], [2, 0, 0]]),
        "masked_lm_ids": np.array([[20, 21, 21], [20, 0, 0]]),
        "masked_lm_weights": np.array([[1, 1, 1], [1, 0, 0]]),
    }
    expected = [[True, False, False], [False, False, False]]
    assert held_out.find_repeated(batch).tolist() == expected


def test_bands_hold_half_the_next_two_fifths_and_the_rest():
    counts = np.array([1, 50, 9, 40, 0])
    assert held_out.find_bands(counts).tolist() == [2, 0, 2, 1, 2]
    random = np.random.default_rng(0).zipf(1.3, 500) % 1000
    bands = held_out.find_bands(random)
    shares = [random[bands == band].sum() / random.sum() for band in range(3)]
    # A band ends with the piece that fills it.
    assert shares[0] >= 0.5 and sum(shares[:2]) >= 0.9
    assert random[bands == 0].min() >= random[bands == 1].max()
    assert random[bands == 1].min() >= random[bands == 2].max()


@pytest.fixture(scope="module")
def data(folders, tokenizer):
    settings = ExampleSettings(max_seq_length=32)
    return evaluated_data.find_data(str(folders["tokens"]), 8, settings, tokenizer)


@pytest.fixture(scope="module")
def predictions(model, tokenizer, data):
    """What the model says of all examples, {split: predictions}."""
    return evaluate.predict_all(model, tokenizer, data.held_out, 10_000)


@pytest.mark.parametrize("split", ["held_out", "held_out_single"])
def test_all_figures_are_those_that_the_model_measures(model, data, predictions, split):
    made, sums = predictions[split], {}
    for batch in data.held_out[split].as_numpy_iterator():
        for name, (total, weight) in model.measure(batch, model(batch)).items():
            old = sums.get(name, np.zeros(2))
            sums[name] = old + [float(total), float(weight)]
    means = {name: total / weight for name, (total, weight) in sums.items()}
    words = held_out.measure_words(split, made, data.piece_counts)
    order = held_out.measure_order(made)
    assert words["all"]["predictions"] == sums["masked_lm_loss"][1]
    assert words["all"]["loss"] == pytest.approx(means["masked_lm_loss"], rel=1e-5)
    assert words["all"]["accuracy"] == pytest.approx(means["masked_lm_accuracy"])
    assert order["all"]["loss"] == pytest.approx(means["sentence_order_loss"], rel=1e-5)
    assert order["all"]["accuracy"] == pytest.approx(means["sentence_order_accuracy"])
    # Kinds are parts of all.
    for names in (
        held_out.BANDS,
        ("words of one piece", "words of several pieces") if split == "held_out" else (),
    ):
        parts = [words[name]["predictions"] for name in names if name in words]
        assert not parts or sum(parts) == words["all"]["predictions"]


def test_hidden_pieces_come_back(tokenizer, predictions):
    # Both splits hide parts of the same examples.
    first, second = predictions.values()
    np.testing.assert_array_equal(first.input_ids, second.input_ids)
    assert not (first.input_ids == tokenizer.mask_id).any()
    assert first.texts.max() == len(first.input_ids) - 1


@pytest.mark.slow
def test_fewer_examples_are_the_first(model, tokenizer, data, predictions):
    pieces = PieceTable.from_tokenizer(tokenizer)
    batches = data.held_out["held_out"].as_numpy_iterator()
    made = held_out.predict(held_out.make_answer(model), batches, pieces, 11)
    whole = predictions["held_out"]
    np.testing.assert_array_equal(made.input_ids, whole.input_ids[:11])
    np.testing.assert_array_equal(made.pieces, whole.pieces[whole.texts < 11])
    np.testing.assert_allclose(made.losses, whole.losses[whole.texts < 11], rtol=1e-4)


def test_the_baseline_is_the_frequency_of_pieces(data, predictions):
    made, counts = predictions["held_out_single"], data.piece_counts
    kept = np.arange(len(made.input_ids)) % 2 == 0
    words = held_out.measure_words("held_out_single", made, counts, kept)["all"]
    hidden = made.pieces[made.texts % 2 == 0]
    shares = (counts + 1) / (counts.sum() + len(counts))
    assert words["predictions"] == len(hidden)
    assert words["unigram_loss"] == pytest.approx(-np.log(shares[hidden]).mean())
    assert words["unigram_accuracy"] == pytest.approx((hidden == counts.argmax()).mean())


def test_records_and_tokens_have_the_same_held_out_examples(folders, tokenizer, data):
    of_records = evaluated_data.find_data(str(folders["records"]), 8, None, tokenizer)
    assert of_records.max_seq_length == 32
    for split, batches in of_records.held_out.items():
        others = data.held_out[split].as_numpy_iterator()
        for batch, other in zip(batches.as_numpy_iterator(), others, strict=True):
            for name, values in batch.items():
                np.testing.assert_array_equal(values, other[name], err_msg=name)
    # A sample of examples against the text itself: the most frequent piece is the same.
    assert of_records.piece_counts.argmax() == data.piece_counts.argmax()
    assert of_records.piece_counts[[PAD, CLS, SEP, MASK]].sum() == 0
