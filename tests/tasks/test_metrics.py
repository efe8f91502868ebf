"""The metrics equal their formulas, and degenerate input gives numbers."""

import itertools

import numpy as np
import pytest

from albert_tf.tasks import metrics


def test_metrics_equal_their_formulas():
    generator = np.random.default_rng(0)
    for _ in range(20):
        gold, said = generator.integers(0, 2, (2, 60))
        tp, tn = np.sum(gold & said), np.sum((1 - gold) & (1 - said))
        fp, fn = np.sum((1 - gold) & said), np.sum(gold & (1 - said))
        root = np.sqrt(float((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))
        np.testing.assert_allclose(metrics.accuracy(gold, said), (tp + tn) / 60)
        np.testing.assert_allclose(metrics.f1(gold, said), 2 * tp / (2 * tp + fp + fn))
        np.testing.assert_allclose(metrics.matthews(gold, said), (tp * tn - fp * fn) / root)
        other = 2 * tn / (2 * tn + fp + fn)
        macro = (metrics.f1(gold, said) + other) / 2
        np.testing.assert_allclose(metrics.macro_f1(gold, said), macro)


def test_correlations_equal_their_formulas():
    generator = np.random.default_rng(1)
    gold = generator.normal(size=50)
    said = gold + generator.normal(size=50)
    np.testing.assert_allclose(metrics.pearson(gold, said), np.corrcoef(gold, said)[0, 1])
    ranks = [np.argsort(np.argsort(values)) for values in (gold, said)]
    np.testing.assert_allclose(metrics.spearman(gold, said), np.corrcoef(*ranks)[0, 1])
    assert metrics.spearman(gold, np.exp(gold)) == pytest.approx(1)


def test_constant_predictions_give_numbers_and_no_warning():
    gold = np.array([0, 1, 1, 0])
    for name, metric in metrics.METRICS.items():
        value = metric(gold, np.zeros(4, int))
        assert isinstance(value, float) and np.isfinite(value), name
    assert metrics.matthews(gold, np.ones(4, int)) == 0
    assert metrics.pearson(gold, np.full(4, 2.5)) == 0
    assert metrics.f1(gold, np.zeros(4, int)) == 0


@pytest.mark.parametrize(
    ("tags", "entities"),
    [
        ("B-PER I-PER O B-LOC", [("PER", 0, 1), ("LOC", 3, 3)]),
        ("I-PER I-PER O I-LOC", [("PER", 0, 1), ("LOC", 3, 3)]),  # as in CoNLL's first form
        ("B-PER B-PER I-LOC", [("PER", 0, 0), ("PER", 1, 1), ("LOC", 2, 2)]),
        ("S-PER B-LOC I-LOC E-LOC E-LOC", [("PER", 0, 0), ("LOC", 1, 3), ("LOC", 4, 4)]),
        ("O O", []),
        ("", []),
    ],
)
def test_entities_are_read_as_conlleval_reads_them(tags, entities):
    assert metrics.entities_of(tags.split()) == entities


def entities_by_looking(tags):
    """Every span that is an entity of B and I tags, found by trying all of them."""
    found = []
    for first, last in itertools.combinations_with_replacement(range(len(tags)), 2):
        kinds = {tag[2:] for tag in tags[first : last + 1]}
        if "O" in tags[first : last + 1] or len(kinds) > 1:
            continue
        (kind,) = kinds
        starts = tags[first][0] == "B" or first == 0 or tags[first - 1][2:] != kind
        inner = all(tag[0] == "I" for tag in tags[first + 1 : last + 1])
        ends = last + 1 == len(tags) or tags[last + 1] != f"I-{kind}"
        if starts and inner and ends:
            found.append((kind, first, last))
    return found


def test_entity_f1_equals_a_count_of_all_spans():
    generator = np.random.default_rng(2)
    tags = ["O", "B-A", "I-A", "B-B", "I-B"]
    for _ in range(200):
        gold, said = (
            [[tags[i] for i in generator.integers(0, 5, n)] for n in (3, 7, 5)] for _ in range(2)
        )
        pairs = [
            (set(entities_by_looking(a)), set(entities_by_looking(b)))
            for a, b in zip(gold, said, strict=True)
        ]
        both = sum(len(a & b) for a, b in pairs)
        right, found = sum(len(a) for a, _ in pairs), sum(len(b) for _, b in pairs)
        expected = 2 * both / (right + found) if both else 0.0
        scores = metrics.entity_f1(gold, said)
        assert scores["entity_f1"] == pytest.approx(expected)
        assert scores["entity_precision"] == pytest.approx(both / found if found else 0)
        assert scores["entity_recall"] == pytest.approx(both / right if right else 0)


def test_sentence_with_too_few_tags_is_named():
    with pytest.raises(ValueError, match="sentence 1 must have 2 predicted tags. Received: 1"):
        metrics.entity_f1([["O"], ["O", "O"]], [["O"], ["O"]])
