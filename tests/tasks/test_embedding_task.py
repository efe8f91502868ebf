"""Embeddings from pairs, triples and scored pairs: what the columns mean, scores, a whole run."""

import json

import keras
import numpy as np
import pytest
from scipy import stats

from albert_tf import Features
from albert_tf.checkpoints import model_kinds
from albert_tf.exporting import quality
from albert_tf.finetuning import finetune
from albert_tf.finetuning.finetune import FinetuningRun
from albert_tf.model.language_models import AlbertEmbedder
from albert_tf.pipelines.task_data.input_problems import InputProblems
from albert_tf.pipelines.task_data.text_examples import TextExample, TextTriple, encode_apart
from albert_tf.tasks.table import TaskOptions, make_task

pytestmark = pytest.mark.usefixtures("undrawn")

NAMES = {"text_column": "a", "text_b_column": "b"}
WORDS = "cat dog river girl house tree night mill road".split()


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def make_pairs(count):
    """Returns pairs that share a word, and a third text with another word."""
    return [
        {
            "a": f"the {WORDS[n % 9]} {n}",
            "b": f"a {WORDS[n % 9]}",
            "c": f"a {WORDS[(n + 1) % 9]}",
            "score": float(n % 6),
        }
        for n in range(count)
    ]


def make_options(path, **changes):
    return TaskOptions(**{"train_file": path, "max_seq_length": 16, **NAMES, **changes})


def make(path, **changes):
    return make_task("embedding", make_options(path, **changes), InputProblems())


def drop(rows, *names):
    return [{name: row[name] for name in row if name not in names} for row in rows]


def test_the_columns_say_what_is_trained(tmp_path, tokenizer):
    rows = make_pairs(20)
    scored = write(tmp_path / "scored.jsonl", rows)
    pairs = write(tmp_path / "pairs.jsonl", drop(rows, "c", "score"))
    task = make(pairs, dev_fraction=0)
    examples = task.read("train")
    assert examples[1] == TextExample("1", "the dog 1", "a dog")
    task.learn(examples)
    assert task.encoder(True)[1]["score_range"] is None and task.metric == "accuracy"

    unscored = write(tmp_path / "triples.jsonl", drop(rows, "score"))
    triples = make(unscored, negative_column="c", dev_file=scored, label_column="score")
    examples = triples.read("train")
    assert examples[1] == TextTriple("1", "the dog 1", "a dog", None, "a river")
    assert triples.read("dev")[1] == TextExample("1", "the dog 1", "a dog", 1.0)
    assert triples.metrics == ("spearman", "pearson") and triples.metric == "spearman"
    encoded = encode_apart(examples, tokenizer, 16)
    assert len(encoded) == 20 and encoded.num_choices == 3
    batch = encoded.batch(np.array([1, 2]), 16)
    for row, text in enumerate(("the dog 1", "a dog", "a river")):
        ids = batch["input_ids"][0, row][batch["input_mask"][0, row] > 0]
        assert ids.tolist() == [tokenizer.cls_id, *tokenizer.encode(text), tokenizer.sep_id]

    numbers = make(scored, label_column="score", dev_fraction=0)
    numbers.learn(numbers.read("train"))
    encode, arguments = numbers.encoder(True)
    labels = encode(numbers.read("train"), tokenizer, **arguments).values["label"]
    np.testing.assert_allclose(labels[:7], [0, 0.2, 0.4, 0.6, 0.8, 1, 0], rtol=1e-6)


def test_what_does_not_go_together_is_refused(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"a": "x", "b": "y", "label": 2}] * 3)
    with pytest.raises(ValueError, match="`text_b_column` must name the texts that are like"):
        make(path, text_b_column=None)
    task = make(path, dev_fraction=0)
    with pytest.raises(ValueError, match="must have different scores in column label. .* 2 every"):
        task.learn(task.read("train"))
    with pytest.raises(ValueError, match="`metric` must be one of spearman, pearson"):
        make(path, metric="accuracy")
    for changes, message in (
        ({"label_column": "scroe"}, "`label_column` must name a column .* 'scroe', which neither"),
        ({"negative_column": "b"}, "`negative_column` goes with a `train_file` without scores"),
        ({"temperature": 0.1}, "`temperature` goes with pairs or triples .* 0.1 and scored pairs"),
    ):
        with pytest.raises(ValueError, match=message):
            make(path, **changes)
    rows = [{"a": "x", "b": "y"}, {"a": "x", "b": "y", "label": 2}]
    late = write(tmp_path / "late.jsonl", rows)
    with pytest.raises(ValueError, match="'label', or none. .* without it, and line 2 with it"):
        make(late)
    with pytest.raises(ValueError, match="`task=regression` does not use `pooling`"):
        TaskOptions(pooling="cls").check_task("regression")


def test_scores_are_correlations_of_cosines_or_places_among_all_texts(tmp_path):
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(6, 3, 5)).astype(np.float32)
    units = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    outputs = {"scores": list(vectors)}
    path = write(tmp_path / "a.jsonl", make_pairs(6))

    scored = make(path, label_column="score", dev_fraction=0)
    examples = scored.read("train")
    cosines = scored.predict(examples, None, outputs)
    np.testing.assert_allclose(cosines, (units[:, 0] * units[:, 1]).sum(-1), atol=1e-6)
    gold = [example.label for example in examples]
    assert scored.score(examples, cosines)["spearman"] == stats.spearmanr(gold, cosines).statistic
    errors = scored.diagnose(examples, cosines, outputs)["errors"]
    assert errors[0].score == max(error.score for error in errors)

    triples = make(path, negative_column="c", dev_fraction=0)
    examples = triples.read("train")
    candidates = np.concatenate([units[:, 1], units[:, 2]])
    places = []
    texts = [example.text_b for example in examples] + [example.text_c for example in examples]
    for row in range(6):
        others = [n for n in range(12) if n == row or texts[n] != texts[row]]
        by_cosine = np.argsort(-(candidates[others] @ units[row, 0]))
        places.append(1 + by_cosine.tolist().index(others.index(row)))
    scores = triples.score(examples, cosines, outputs)
    assert scores["accuracy"] == np.mean(np.array(places) == 1)
    np.testing.assert_allclose(scores["mean_reciprocal_rank"], np.mean(1 / np.array(places)))
    errors = triples.diagnose(examples, cosines, outputs)["errors"]
    assert len(errors) == sum(place > 1 for place in places)


def test_vectors_that_tell_nothing_win_nothing(tmp_path):
    path = write(tmp_path / "a.jsonl", make_pairs(6))
    task = make(path, negative_column="c", dev_fraction=0)
    examples = task.read("train")
    scores = task.score(examples, [1.0] * 6, {"scores": list(np.ones((6, 3, 5), np.float32))})
    assert scores["accuracy"] == 0 and scores["mean_reciprocal_rank"] == pytest.approx(
        (1 / 12 + 5 / 11) / 6
    )
    vectors = np.ones((6, 3, 5), np.float32)
    vectors[4, 2, 0] = np.nan
    with pytest.raises(ValueError, match="must be finite to be scored. .* in example 4"):
        task.score(examples, [1.0] * 6, {"scores": list(vectors)})
    scored = make(path, label_column="score", dev_fraction=0)
    with pytest.raises(ValueError, match="NaN or infinity in example 1"):
        scored.score(scored.read("train"), [0.5, np.nan])


def test_copies_of_its_own_second_text_do_not_count_against_a_text(tmp_path):
    rows = [{"a": "x", "b": "same"}, {"a": "y", "b": "same"}, {"a": "z", "b": "other"}]
    task = make(write(tmp_path / "a.jsonl", rows), dev_fraction=0)
    units = np.eye(3, dtype=np.float32)[[[0, 0], [0, 0], [1, 1]]]
    scores = task.score(task.read("train"), [1.0] * 3, {"scores": list(units)})
    assert scores == {"accuracy": 1, "mean_reciprocal_rank": 1}


def test_chance_is_that_of_vectors_drawn_at_random(tmp_path):
    topics = ["sports", "sports", "money", "weather"]
    rows = [{"a": f"text {n}", "b": topics[n % 4]} for n in range(40)]
    task = make(write(tmp_path / "a.jsonl", rows), dev_fraction=0)
    examples = task.read("train")
    generator, drawn = np.random.default_rng(1), []
    for _ in range(300):
        of_topic = {topic: generator.normal(size=8) for topic in topics}
        pairs = [[generator.normal(size=8), of_topic[example.text_b]] for example in examples]
        outputs = {"scores": list(np.array(pairs, np.float32))}
        drawn.append(task.score(examples, [1.0] * 40, outputs))
    for name, value in task.baseline(examples, examples).items():
        assert value == pytest.approx(np.mean([scores[name] for scores in drawn]), abs=0.05), name


def test_a_part_of_one_pair_is_refused_before_the_first_step(tmp_path, pretrained):
    pairs = write(tmp_path / "pairs.jsonl", drop(make_pairs(8), "c", "score"))
    run = FinetuningRun.of(
        task="embedding",
        options=make_options(pairs, dev_fraction=0),
        output_dir=str(tmp_path / "out"),
        init_checkpoint=str(pretrained),
        batch_size=4,
        accumulation_steps=4,
    )
    message = "`batch_size` must be at least 8 .* accumulation_steps=4.* Received: 4"
    with pytest.raises(ValueError, match=message):
        finetune.finetune(run, report=lambda line: None)
    assert make(pairs, negative_column="a", dev_fraction=0).fewest_examples == 1


@pytest.mark.slow
def test_a_run_learns_from_triples_and_leaves_the_trained_vectors(tmp_path, pretrained):
    train = write(tmp_path / "train.jsonl", drop(make_pairs(27), "score"))
    # The same word: alike.
    dev = write(
        tmp_path / "dev.jsonl",
        [
            {"a": f"the {first}", "b": f"a {second}", "score": 5.0 * (first == second)}
            for first in WORDS[:4]
            for second in WORDS[:4]
        ],
    )
    run = FinetuningRun.of(
        task="embedding",
        options=make_options(
            train, negative_column="c", dev_file=dev, label_column="score", pooling="max"
        ),
        output_dir=str(tmp_path / "out"),
        init_checkpoint=str(pretrained),
        train_steps=60,
        batch_size=9,
        learning_rate=3e-3,
    )
    results = finetune.finetune(run, report=lambda line: None)
    assert results["summary"]["dev"]["spearman"]["mean"] > 0.5
    assert results["baseline"]["dev"]["spearman"] == 0
    assert model_kinds.read_kind(tmp_path / "out") == "embedding"
    features = Features.from_pretrained(tmp_path / "out")
    assert (features.pooling, features.normalize, features.max_seq_length) == ("max", True, 16)
    lines = (tmp_path / "out/seed-0/predictions/dev.jsonl").read_text().splitlines()
    cosines = [json.loads(line)["prediction"] for line in lines]
    texts = list(map(json.loads, (tmp_path / "dev.jsonl").read_text().splitlines()))
    for row in (0, 1, 15):
        cosine = features.similarity(texts[row]["a"], texts[row]["b"])
        assert cosine == pytest.approx(cosines[row], abs=1e-5)


@pytest.mark.slow
def test_scored_pairs_train_the_cosine(pretrained, tokenizer):
    examples = [
        TextExample("", "the cat sat", "a dog ran", 0.0),
        TextExample("", "the cat sat", "the girl came down", 3.0),
    ]
    batch = encode_apart(examples, tokenizer, 16, [0.0, 3.0]).batch(np.arange(2), 16)
    model = AlbertEmbedder.from_pretrained(pretrained)
    units = model.predict(batch, verbose=0).astype(float)
    units /= np.linalg.norm(units, axis=-1, keepdims=True)
    expected = np.mean(((units[:, 0] * units[:, 1]).sum(-1) - [0, 1]) ** 2)
    model.compile(keras.optimizers.AdamW(1e-2))
    losses = model.fit(batch, epochs=12, verbose=0).history["embedding_loss"]
    assert losses[0] == pytest.approx(expected, rel=1e-4)
    assert losses[-1] < losses[0] / 3


def test_duplicate_rows_of_a_batch_do_no_harm(pretrained, tokenizer):
    rows = [("the cat sat", "a dog ran"), ("the girl", "a night"), ("the mill", "a dog ran")]
    pairs = [TextExample("", *pair) for pair in rows]
    model = AlbertEmbedder.from_pretrained(pretrained)

    def losses_of(examples):
        batch = encode_apart(examples, tokenizer, 16).batch(np.arange(len(examples)), 16)
        batch["input_ids"] = np.where(batch["input_mask"], batch["input_ids"], 7)
        return [float(v) for v in model.measure(batch, model(batch))["embedding_loss"]]

    once, twice = losses_of(pairs[:2]), losses_of(pairs[:1] * 2 + pairs[1:2])
    of_first = losses_of(pairs[:1] * 2)
    assert of_first == [0, 2]
    assert losses_of(pairs[::2]) == [0, 2]  # all others are copies
    assert once[0] > 0 and twice[0] > once[0]


def test_examples_of_another_number_of_texts_are_refused(pretrained):
    model = AlbertEmbedder.from_pretrained(pretrained)
    for shape, label, message in (
        ((2, 8), True, r"must have shape \[B, 2, L\] beside label. Received: \(2, 8\)"),
        ((2, 3, 8), True, r"must have shape \[B, 2, L\] beside label. Received: \(2, 3, 8\)"),
        ((2, 1, 8), False, r"C of 2 or more to be trained without label. Received: \(2, 1, 8\)"),
        ((2, 8), False, r"C of 2 or more .* Received: \(2, 8\)"),
    ):
        batch = {"input_ids": np.full(shape, 9), **({"label": np.ones(2)} if label else {})}
        with pytest.raises(ValueError, match=message):
            model.measure(batch, np.ones((*shape[:-1], 32)))


def test_a_directory_says_how_vectors_are_made_and_a_run_goes_on_so(tmp_path, pretrained):
    made = AlbertEmbedder.from_pretrained(pretrained, pooling="cls", normalize=False)
    made.save_pretrained(tmp_path / "st")
    assert model_kinds.read_kind(tmp_path / "st") == "embedding"
    for path in (None, "task.json"):  # ours, and what sentence-transformers writes alone
        if path:
            (tmp_path / "st" / path).unlink()
        found = AlbertEmbedder.from_pretrained(tmp_path / "st")
        assert (found.pooling, found.normalize) == ("cls", False)
    assert AlbertEmbedder.from_pretrained(tmp_path / "st", pooling="max").pooling == "max"
    of_others = AlbertEmbedder.from_pretrained(pretrained)
    assert (of_others.pooling, of_others.normalize) == ("mean", True)
    for options, expected in (
        (TaskOptions(), {"pooling": "cls", "normalize": False}),
        (TaskOptions(pooling="mean"), {"normalize": False}),
    ):
        assert finetune._vector_settings(options, str(tmp_path / "st")) == expected
    assert finetune._vector_settings(TaskOptions(), str(pretrained)) == {}


def test_vectors_are_measured_as_asked_for_else_as_the_model_makes_them():
    notes = model_kinds.EmbeddingNotes(pooling="cls", normalize=False)
    for options, expected in (
        ({}, ("cls", False)),
        ({"pooling": "max"}, ("max", False)),
        ({"normalize": True}, ("cls", True)),
    ):
        task = make_task("embedding", TaskOptions(text_b_column="b", **options), InputProblems())
        task.restore(notes, None)
        assert (task.pooling, task.normalize) == expected


def test_an_export_does_not_measure_vectors_and_says_what_does(tmp_path):
    notes = {"kind": "embedding", "task": "embedding", "pooling": "mean", "normalize": True}
    (tmp_path / "task.json").write_text(json.dumps(notes))
    with pytest.raises(ValueError, match="`dev_file` does not go with models for embeddings"):
        quality.measure(None, tmp_path, dev_file="dev.tsv")
