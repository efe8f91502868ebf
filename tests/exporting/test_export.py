"""A SavedModel answers raw text as the model in this process does, from any process."""

import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from random_texts import random_texts
from samples import VOCABULARY, tiny_config

from albert_tf.checkpoints.stored_tensors import CheckpointError
from albert_tf.exporting import check, export
from albert_tf.exporting.check import ExportError
from albert_tf.exporting.export import ExportSettings
from albert_tf.model import language_models, task_models
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.serving import saved_model_reader

# Two layers: weights that are prepared once are read by each.
CONFIG = tiny_config(num_hidden_layers=2, initializer_range=0.2)
WINDOWS = {"max_seq_length": 24, "doc_stride": 8, "max_query_length": 10}
# The model of each kind, what fine-tuning noted, and the signatures that must be there.
CASES = {
    "fill_mask": (language_models.AlbertForPretraining, {}, {}, ("fill_mask",)),
    "classification": (
        *(task_models.AlbertClassifier, {"labels": ["no", "yes", "maybe"]}),
        *({"max_seq_length": 24}, ("classify", "classify_pairs")),
    ),
    "classification with several labels": (
        *(task_models.AlbertClassifier, {"labels": ["no", "yes", "maybe"], "multi_label": True}),
        *(
            {"max_seq_length": 24, "thresholds": [0.3, 0.5, 0.7]},
            ("classify", "classify_pairs"),
        ),
    ),
    "classification in windows": (
        *(task_models.AlbertClassifier, {"labels": ["no", "yes", "maybe"]}),
        *({"max_seq_length": 24, "long_texts": "windows"}, ("classify", "classify_pairs")),
    ),
    "regression": (
        *(task_models.AlbertRegressor, {}),
        *({"max_seq_length": 24, "is_pair": True}, ("score_pairs", "score")),
    ),
    "tagging": (
        *(task_models.AlbertTokenClassifier, {"labels": ["O", "B-X", "I-X"]}),
        *({"max_seq_length": 24}, ("tag",)),
    ),
    "answer": (task_models.AlbertSpanSelector, {}, WINDOWS, ("answer",)),
    "answer or none": (
        *(task_models.AlbertAnswerabilitySelector, {}),
        *(WINDOWS | {"null_threshold": 0.0}, ("answer",)),
    ),
    "choice": (
        *(task_models.AlbertMultipleChoice, {}),
        *({"max_seq_length": 40, "max_qa_length": 12}, ("choose",)),
    ),
    "embedding": (
        *(language_models.AlbertEmbedder, {"pooling": "max"}),
        *({"max_seq_length": 24, "pooling": "max", "normalize": True}, ("embed",)),
    ),
}

# An export takes seconds, so one of them is a quick test; it alone is checked as users' are, in a
# process of its own, which is what takes longest.
QUICK_CASE = "classification"


def save(folder, case):
    """Writes the model directory of a case."""
    model_class, arguments, settings, _ = CASES[case]
    keras.utils.set_random_seed(1)
    model_class(CONFIG, **arguments).save_pretrained(folder, Tokenizer(VOCABULARY))
    if settings:
        settings = {"kind": case.split()[0], **settings}
        (folder / "task.json").write_text(json.dumps(settings))
    return folder


def export_case(tmp_path, case, **settings):
    """Returns the version folder of a case; the export checks it in a process of its own."""
    return export.export(
        save(tmp_path / "model", case),
        tmp_path / "served",
        ExportSettings(**settings),
        report=lambda line: None,
    )


def write_unchecked(folder, case, **settings):
    """Returns the SavedModel of a case, written without the sheet and the check."""
    loaded = export.load(save(folder / "model", case), ExportSettings(**settings))
    signatures = loaded.signatures.own()
    export.write_saved_model(loaded, signatures, folder / "saved")
    return folder / "saved"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A function: case -> version folder and SavedModel of its export, which is made once.

    What the exporter asks of it is more than usual, and other texts than those of its own.
    """
    texts = [*random_texts(77, 40), "Café word. " * 9_000]  # the last of 100 kB

    @functools.cache
    def export_once(case):
        loaded = []

        def ask_here(folder, requests):
            loaded.append(tf.saved_model.load(str(folder)))
            patched.setattr(tf.saved_model, "load", lambda _: loaded[0])
            return saved_model_reader.ask(str(folder), requests)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(check, "random_texts", lambda count: texts)
            if case != QUICK_CASE:
                patched.setattr(check, "ask", ask_here)
            version = export_case(tmp_path_factory.mktemp("exported"), case)
        return version, loaded[0] if loaded else tf.saved_model.load(str(version))

    return export_once


@pytest.fixture
def classifier(exported):
    """The signatures of an exported classifier."""
    return exported(QUICK_CASE)[1].signatures


def test_options_that_read_alike_are_not_chosen_between(tmp_path):
    """Which of "" and " " is better is decided by rounding, which differs between processes."""
    loaded = export.load(save(tmp_path / "model", "choice"), ExportSettings())
    blank = ["", " ", "\t", "\n"]
    ((_, inputs, outputs),) = loaded.signatures.questions(loaded.in_process, blank)
    assert len(inputs["passage"]) == len(outputs["probabilities"]) == 4

    texts = [*blank, "A cat sat.", "word", "Café"]
    whole, clear = loaded.signatures.questions(loaded.in_process, texts)
    assert (len(whole[2]["probabilities"]), list(clear[2])) == (7, ["option"])
    assert 0 < len(clear[2]["option"]) < 7
    for options, option in zip(clear[1]["options"], clear[2]["option"], strict=True):
        assert [other.strip() for other in options].count(option.strip()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_every_signature_answers_random_texts_as_this_process_does(exported, case, monkeypatch):
    version, served = exported(case)
    assert (version.parent.name, version.name) == ("served", "1")
    sheet = json.loads((version / export.SHEET_FILE).read_text())
    assert set(served.signatures) == {*sheet["signatures"], "serving_default"}
    names = CASES[case][3]
    assert sheet["model"]["serving_default"] == names[0]
    by_ids = names[0].removesuffix("_pairs") + "_ids"
    assert {*names, by_ids, "features"} <= set(sheet["signatures"])
    assert set(served.signatures[names[0]].structured_outputs) == set(
        served.signatures["serving_default"].structured_outputs
    )
    requests = [
        {"signature": name, "inputs": described["request"]["inputs"]}
        for name, described in sheet["signatures"].items()
    ]
    monkeypatch.setattr(tf.saved_model, "load", lambda path: served)  # it is loaded already
    answers = saved_model_reader.ask(str(version), requests)
    for described, answer in zip(sheet["signatures"].values(), answers, strict=True):
        for output, values in described["response"]["outputs"].items():
            assert described["outputs"][output]["dtype"] in ("string", "float32", "int32")
            if np.asarray(values).dtype.kind == "f":
                np.testing.assert_allclose(answer[output], values, atol=1e-4)
            else:
                assert answer[output] == values


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["int8", "bfloat16"])
def test_other_precisions_are_smaller_and_close(tmp_path, exported, precision):
    whole, _ = exported("classification")
    version = write_unchecked(tmp_path / "small", "classification", precision=precision)
    sizes = [
        (path / "variables/variables.data-00000-of-00001").stat().st_size
        for path in (whole, version)
    ]
    assert sizes[1] < (0.4 if precision == "int8" else 0.9) * sizes[0]
    request = {"signature": "classify", "inputs": {"text": random_texts(5, 20)}}
    scores = [
        np.array(saved_model_reader.ask(str(path), [request])[0]["probabilities"])
        for path in (whole, version)
    ]
    assert 0 < np.abs(scores[0] - scores[1]).max() < 0.1


@pytest.mark.slow
def test_versions_count_up_and_a_wrong_one_is_never_seen(tmp_path, monkeypatch, quick_check):
    served = tmp_path / "served"
    version = export_case(tmp_path, "classification")
    (served / "notes.txt").write_text("not a version")
    (served / "7").mkdir()
    assert (version.name, export.next_version(served).name) == ("1", "8")

    right = export.ClassSignatures.questions

    def wrong(*asked):
        pairs = right(*asked)
        pairs[0][2]["probabilities"][3][0] += 0.01
        return pairs

    monkeypatch.setattr(export.ClassSignatures, "questions", wrong)
    with pytest.raises(ExportError, match=r"classify: probabilities of \['Sold for .* as in this"):
        export.export(tmp_path / "model", served, report=lambda line: None)
    assert sorted(path.name for path in served.iterdir()) == ["1", "7", "notes.txt"]


def ids_of(**changes):
    """Returns inputs of `classify_ids`, [1, 4], some of them changed."""
    ids = {"input_ids": [[2, 5, 6, 3]], "input_mask": [[1] * 4], "segment_ids": [[0] * 4]}
    return {name: tf.constant(values) for name, values in (ids | changes).items()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"input_ids": [[2, 5, -1, 3]]},
            r"input_ids must lie in 0..339.* \[-1\] \[to\] \[5",
        ),
        ({"input_ids": [[2, 5, 340, 3]]}, r"input_ids must lie in 0..339.* \[340\]"),
        ({"segment_ids": [[0, 0, 7, 1]]}, r"segment_ids must lie in 0..1.* \[7\]"),
        ({"segment_ids": [[0, 0, -1, 1]]}, r"segment_ids must lie in 0..1.* \[-1\]"),
        ({"input_mask": [[1, 2, 1, 1]]}, r"input_mask must lie in 0..1.* \[2\]"),
        ({"input_mask": [[1]]}, r"input_mask must have the shape of input_ids.* \[1 1\]"),
        ({"segment_ids": [[0] * 5]}, "segment_ids must have the shape of input_ids"),
        ({name: [[1] * 513] for name in ids_of()}, r"input_ids must have 1 to 512 columns.* \[513"),
        ({name: tf.zeros([2, 0], tf.int32) for name in ids_of()}, "must have 1 to 512 columns"),
    ],
)
def test_ids_that_mean_nothing_are_refused_by_the_graph(classifier, changes, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        classifier["classify_ids"](**ids_of(**changes))


def example(**features):
    """Returns a serialized `tf.train.Example`."""
    made = tf.train.Example()
    for name, values in features.items():
        made.features.feature[name].int64_list.value.extend(values)
    return made.SerializeToString()


@pytest.mark.parametrize(
    ("serialized", "message"),
    [
        (b"no example", "Could not parse example"),
        (example(), "each example must have input_ids"),
        (example(input_mask=[1, 1]), "each example must have input_ids"),
        (example(input_ids=[2, 2**40, 3]), "input_ids must lie in 0..339"),
        (example(input_ids=[2, 5, 3], input_mask=[1]), "input_mask of an example must be as long"),
        (example(input_ids=[2, 3], segment_ids=[0] * 3), "segment_ids of an example must be as"),
        (example(input_ids=[2, 3], segment_ids=[0, 2]), "segment_ids must lie in 0..1"),
        (example(input_ids=[2, 3], attention_mask=[1, 0]), "attention_mask must be called input_m"),
        (example(input_ids=[2, 3], token_type_ids=[0, 0]), "token_type_ids must be called segment"),
    ],
    ids=[
        *("no example", "empty", "no ids", "beyond int32", "short mask", "long segments"),
        *("segment 2", "attention_mask", "token_type_ids"),
    ],
)
def test_serialized_examples_that_mean_nothing_are_refused(classifier, serialized, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        classifier["classify_examples"](
            examples=tf.constant([example(input_ids=[2, 5, 6, 3]), serialized])
        )


def test_ids_padded_at_the_beginning_or_with_gaps_are_read_to_their_end(tmp_path, classifier):
    classify, model = classifier["classify_ids"], classifier_model(tmp_path)
    ids = [0] * 12 + [2, 5, 6, 7, 3] + [0] * 3
    gaps = [int(token > 0 and place != 14) for place, token in enumerate(ids)]
    batch = ids_of(input_ids=[ids], input_mask=[gaps], segment_ids=[[0] * 20])
    right = tf.nn.softmax(model(batch, training=False))
    np.testing.assert_allclose(classify(**batch)["probabilities"], right, atol=1e-5)


def classifier_model(tmp_path):
    return task_models.AlbertClassifier.from_pretrained(save(tmp_path / "m", "classification"))


def test_serialized_examples_may_hold_ids_alone_or_padded(classifier):
    ids = [[2, 20, 30, 40, 3], [2, 50, 3]]
    padded = [2, 50, 3, 0, 0, 0]
    examples = [
        example(input_ids=ids[0], segment_ids=[0, 0, 1, 1, 1]),
        example(input_ids=ids[1]),
        example(input_ids=padded, input_mask=[1, 1, 1, 0, 0, 0], segment_ids=[0] * 6),
    ]
    found = classifier["classify_examples"](examples=tf.constant(examples))["probabilities"]
    rows = tf.ragged.constant([*ids, ids[1]], dtype=tf.int32)
    right = classifier["classify_ids"](
        input_ids=rows.to_tensor(),
        input_mask=tf.sequence_mask(rows.row_lengths(), dtype=tf.int32),
        segment_ids=tf.constant([[0, 0, 1, 1, 1], [0] * 5, [0] * 5]),
    )["probabilities"]
    np.testing.assert_allclose(found, right, atol=1e-6)


@pytest.mark.slow
def test_an_example_without_an_answer_mask_is_answered_as_the_model_does(exported):
    signatures = exported("answer or none")[1].signatures
    model = task_models.AlbertAnswerabilitySelector.from_pretrained(
        exported("answer or none")[0].parents[1] / "model"
    )
    ids, segments = [2, 20, 30, 3, 40, 50, 60, 3], [0, 0, 0, 0, 1, 1, 1, 1]
    padding = [0] * 3
    examples = [
        example(input_ids=ids, segment_ids=segments),
        example(
            input_ids=ids + padding, segment_ids=segments + padding, input_mask=[1] * 8 + padding
        ),
    ]
    found = signatures["answer_examples"](examples=tf.constant(examples))
    right = model({"input_ids": np.array([ids]), "segment_ids": np.array([segments])})
    for row in found["impossible_logits"]:
        np.testing.assert_allclose(row, right["impossible_logits"][0], atol=1e-5)


@pytest.mark.slow
def test_rows_at_a_time_change_nothing(tmp_path, classifier):
    texts = tf.constant(random_texts(9, 30))
    right = classifier["classify"](text=texts)["probabilities"]
    model = save(tmp_path / "model", "classification")
    for rows in (1, 7):
        loaded = export.load(model, ExportSettings(rows_at_a_time=rows))
        ask = tf.function(loaded.signatures.own()["classify"].function, autograph=False)
        np.testing.assert_allclose(ask(text=texts)["probabilities"], right, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_requests_without_rows_are_answered_and_rows_that_do_not_belong_together_named(
    exported, case
):
    signature = exported(case)[1].signatures[CASES[case][3][0]]
    ranks = {
        name: spec.shape.rank for name, spec in signature.structured_input_signature[1].items()
    }
    for columns in (2, 0):
        nothing = {name: tf.zeros([0, columns][:rank], tf.string) for name, rank in ranks.items()}
        assert {len(values) for values in signature(**nothing).values()} == {0}
    first, *others = ranks
    for name in others:
        texts = {n: tf.fill([1 + (n == name), 2][:rank], "word") for n, rank in ranks.items()}
        with pytest.raises(tf.errors.InvalidArgumentError, match="must have as many rows as"):
            signature(**texts)
    if case == "choice":
        texts = {"passage": ["word"], "question": ["word"], "options": tf.zeros([1, 0], tf.string)}
        with pytest.raises(tf.errors.InvalidArgumentError, match="options must have at least one"):
            signature(**{name: tf.constant(values) for name, values in texts.items()})


def test_requests_without_rows_and_without_utf8_are_answered(classifier):
    classify = classifier["classify"]
    assert classify(text=tf.zeros([0], tf.string))["probabilities"].shape == (0, 3)
    found = classify(text=tf.constant([b"a \xff cat", "a \ufffd cat".encode()]))["probabilities"]
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


def test_settings_and_directories_that_cannot_be_exported_are_named(tmp_path):
    for arguments, message in (
        ({"precision": "float8"}, "`precision` must be one of float32, bfloat16, int8"),
        ({"kind": "poem"}, "`kind` must be one of fill_mask"),
        ({"top_k": 0}, "`top_k` must be a positive integer"),
    ):
        with pytest.raises(ValueError, match=message):
            ExportSettings(**arguments)
    model = save(tmp_path / "model", "fill_mask")
    with pytest.raises(ValueError, match="`top_k` must lie in 1..340. Received: 1000"):
        export.export(model, tmp_path / "served", ExportSettings(top_k=1000))
    (model / "task.json").write_text('{"max_seq_length": 7}')
    with pytest.raises(CheckpointError, match="must read at least 8 tokens.* Received: 7"):
        export.export(model, tmp_path / "served")
    (model / "task.json").write_text('{"kind": "poem"}')
    with pytest.raises(CheckpointError, match="task.json: `kind` must be one of"):
        export.export(model, tmp_path / "served")
    assert not (tmp_path / "served").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "length"),
    [
        ("fill_mask", 16),
        # The fewest that there may be; twice as many are shared out where texts have parts.
        *(pytest.param(case, 8, marks=pytest.mark.slow) for case in CASES),
        *(pytest.param(case, 16, marks=pytest.mark.slow) for case in ("answer", "choice")),
    ],
)
def test_models_of_few_positions_are_exported(tmp_path, monkeypatch, quick_check, case, length):
    config = tiny_config(initializer_range=0.2, max_position_embeddings=length)
    monkeypatch.setitem(globals(), "CONFIG", config)
    sheet = json.loads((export_case(tmp_path, case) / export.SHEET_FILE).read_text())
    assert sheet["model"]["max_seq_length"] == length
