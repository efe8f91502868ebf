"""The same weights give the same numbers in `transformers` (PyTorch) and here, both ways."""

import google.protobuf
import keras
import numpy as np
import pytest
import tensorflow as tf
from samples import VOCABULARY

from albert_tf.checkpoints import tokenizer_files
from albert_tf.checkpoints.safetensors_files import read_safetensors
from albert_tf.checkpoints.weight_mapping import relative_path
from albert_tf.checkpoints.weight_names import LAYOUTS
from albert_tf.config import AlbertConfig
from albert_tf.model import language_models, losses, task_models
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

torch = pytest.importorskip("torch", exc_type=ImportError)
transformers = pytest.importorskip("transformers")

pytestmark = [
    pytest.mark.oracle,
    # What PyTorch and transformers warn about is theirs.
    pytest.mark.filterwarnings("ignore:::torch"),
    pytest.mark.filterwarnings("ignore:::transformers"),
]

SIZES = {
    "groups": {
        "vocab_size": 99,
        "embedding_size": 16,
        "hidden_size": 32,
        "num_hidden_layers": 6,
        "num_hidden_groups": 3,
        "inner_group_num": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
    },
    # The shapes of base and xlarge (16 heads of 128) with fewer words and layers: a layer is a
    # layer, and twelve of them take the time of twelve.
    "base": {
        "vocab_size": 500,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
    },
    "xlarge": {
        "vocab_size": 500,
        "hidden_size": 2048,
        "num_hidden_layers": 3,
        "num_attention_heads": 16,
        "intermediate_size": 8192,
    },
}
PAIRS = {
    "AlbertForPreTraining": language_models.AlbertForPretraining,
    "AlbertForMaskedLM": language_models.AlbertMaskedLM,
    "AlbertModel": language_models.AlbertModel,
    "AlbertForSequenceClassification": task_models.AlbertClassifier,
    "AlbertForTokenClassification": task_models.AlbertTokenClassifier,
    "AlbertForQuestionAnswering": task_models.AlbertSpanSelector,
    "AlbertForMultipleChoice": task_models.AlbertMultipleChoice,
}


def make_theirs(name, size, seed=0, **changes):
    torch.manual_seed(seed)
    labels = {"num_labels": 3} if "Classification" in name else {}
    config = transformers.AlbertConfig(**{**SIZES[size], **labels, **changes})
    model = getattr(transformers, name)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Biases and layer normalisations start at 0 and 1, which would hide mistakes.
            parameter += 0.02 * torch.randn_like(parameter)
    return model


def make_batch(size, length=24, choices=None, seed=0):
    generator = np.random.default_rng(seed)
    shape = (2, length) if choices is None else (2, choices, length)
    ids = generator.integers(5, SIZES[size]["vocab_size"], shape).astype(np.int32)
    mask, segments = np.ones(shape, np.int32), np.zeros(shape, np.int32)
    segments[..., length // 2 :] = 1
    if length > 4:
        mask[0, ..., -3:] = 0
    return {"input_ids": ids, "input_mask": mask, "segment_ids": segments}


def run_theirs(model, batch, **kwargs):
    names = {"input_ids": "input_ids", "input_mask": "attention_mask"}
    names["segment_ids"] = "token_type_ids"
    inputs = {names[name]: torch.tensor(batch[name].astype(np.int64)) for name in names}
    with torch.no_grad():
        return model(**inputs, **kwargs)


def run_ours(model, batch):
    if isinstance(model, language_models.AlbertForPretraining):
        length = batch["input_ids"].shape[1]
        every = np.tile(np.arange(length, dtype=np.int32), (2, 1))
        return model({**batch, "masked_lm_positions": every})
    return model(batch)


def named_outputs(name, ours, theirs):
    """Yields (our array, their array) of a model's outputs."""
    if name == "AlbertForPreTraining":
        yield ours["masked_lm_logits"], theirs.prediction_logits
        yield ours["sentence_order_logits"], theirs.sop_logits
    elif name == "AlbertModel":
        yield ours["sequence_output"], theirs.last_hidden_state
        yield ours["pooled_output"], theirs.pooler_output
    elif name == "AlbertForQuestionAnswering":
        yield ours["start_logits"], theirs.start_logits
        yield ours["end_logits"], theirs.end_logits
    else:
        yield ours, theirs.logits


def assert_close(ours, theirs):
    """Equal within 1e-5 of the largest number."""
    ours, theirs = np.asarray(ours), theirs.detach().numpy()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * max(1.0, np.abs(theirs).max()))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PAIRS)
def test_heads_agree_both_ways(tmp_path, name, size):
    theirs = make_theirs(name, size)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = PAIRS[name].from_pretrained(tmp_path / "theirs")
    batch = make_batch(size, choices=3 if name == "AlbertForMultipleChoice" else None)
    expected = run_theirs(theirs, batch)
    for a, b in named_outputs(name, run_ours(ours, batch), expected):
        assert_close(a, b)

    ours.save_pretrained(tmp_path / "ours")
    again, info = getattr(transformers, name).from_pretrained(
        tmp_path / "ours", output_loading_info=True
    )
    assert not any(info.values()), info
    for a, b in named_outputs(name, run_ours(ours, batch), run_theirs(again.eval(), batch)):
        assert_close(a, b)
    before, after = (
        read_safetensors(tmp_path / side / "model.safetensors") for side in ("theirs", "ours")
    )
    assert before.keys() == after.keys()
    for key in before:
        np.testing.assert_array_equal(before[key], after[key])


@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("name", PAIRS)
def test_states_and_attentions_of_every_model_agree(tmp_path, name, in_graph):
    theirs = make_theirs(name, "base", attn_implementation="eager", num_hidden_layers=2)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = PAIRS[name].from_pretrained(tmp_path / "theirs")
    choices = 3 if name == "AlbertForMultipleChoice" else None
    batch = make_batch("base", length=64, choices=choices)  # large enough for the fast forms
    asked = {"output_hidden_states": True, "output_attentions": True}
    expected = run_theirs(theirs, batch, **asked)
    if name == "AlbertForPreTraining":
        batch["masked_lm_positions"] = np.zeros((2, 1), np.int32)
    call = tf.function(ours) if in_graph else ours
    outputs = call({name: tf.constant(value) for name, value in batch.items()}, **asked)
    for part in ("hidden_states", "attentions"):
        for one, other in zip(outputs[part], getattr(expected, part), strict=True):
            assert_close(one, other)


@pytest.mark.parametrize("length", [1, 2, 512])
@pytest.mark.parametrize("size", ["groups", "base"])
def test_every_layer_agrees(tmp_path, size, length):
    theirs = make_theirs("AlbertModel", size)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = language_models.AlbertModel.from_pretrained(tmp_path / "theirs")
    batch = make_batch(size, length)
    expected = run_theirs(theirs, batch, output_hidden_states=True)
    states = ours.encoder(*batch.values(), output_hidden_states=True)["hidden_states"]
    assert len(states) == SIZES[size]["num_hidden_layers"] + 1
    # transformers counts inner blocks too.
    inner = SIZES[size].get("inner_group_num", 1)
    found = expected.hidden_states
    theirs_by_layer = found[::inner] if len(found) > len(states) else found
    for a, b in zip(states, theirs_by_layer, strict=True):
        assert_close(a, b)


def test_a_stretched_position_table_is_read_there_with_the_same_numbers(tmp_path):
    make_theirs("AlbertForMaskedLM", "groups").save_pretrained(tmp_path / "theirs")
    model_class = language_models.AlbertMaskedLM
    ours = model_class.from_pretrained(tmp_path / "theirs", max_position_embeddings=1024)
    ours.save_pretrained(tmp_path / "ours")
    longer = transformers.AlbertForMaskedLM.from_pretrained(tmp_path / "ours").eval()
    assert longer.config.max_position_embeddings == 1024
    batch = make_batch("groups", 1024)
    assert_close(ours(batch), run_theirs(longer, batch).logits)


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_activations_agree(tmp_path, activation):
    theirs = make_theirs("AlbertModel", "groups", hidden_act=activation)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = language_models.AlbertModel.from_pretrained(tmp_path / "theirs")
    batch = make_batch("groups")
    assert_close(ours(batch)["sequence_output"], run_theirs(theirs, batch).last_hidden_state)


@pytest.mark.parametrize("size", ["groups", "base"])
def test_gradients_of_the_pretraining_loss_agree(tmp_path, size):
    theirs = make_theirs("AlbertForPreTraining", size, classifier_dropout_prob=0.0)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = language_models.AlbertForPretraining.from_pretrained(tmp_path / "theirs")
    batch = make_batch(size)
    generator = np.random.default_rng(1)
    batch["masked_lm_positions"] = np.array([[1, 4, 5], [2, 3, 9]], np.int32)
    batch["masked_lm_ids"] = generator.integers(5, 99, (2, 3)).astype(np.int32)
    batch["masked_lm_weights"] = np.ones((2, 3), np.float32)
    batch["sentence_order_label"] = np.array([0, 1], np.int32)

    labels = np.full(batch["input_ids"].shape, -100, np.int64)
    np.put_along_axis(labels, batch["masked_lm_positions"], batch["masked_lm_ids"], axis=1)
    found = theirs(
        input_ids=torch.tensor(batch["input_ids"].astype(np.int64)),
        attention_mask=torch.tensor(batch["input_mask"].astype(np.int64)),
        token_type_ids=torch.tensor(batch["segment_ids"].astype(np.int64)),
        labels=torch.tensor(labels),
        sentence_order_label=torch.tensor(batch["sentence_order_label"].astype(np.int64)),
    )
    found.loss.backward()
    with tf.GradientTape() as tape:
        outputs = ours(batch)
        words = losses.cross_entropy(
            outputs["masked_lm_logits"], batch["masked_lm_ids"], batch["masked_lm_weights"]
        )
        order = losses.cross_entropy(
            outputs["sentence_order_logits"], batch["sentence_order_label"]
        )
        loss = words[0] / words[1] + order[0] / order[1]
    np.testing.assert_allclose(float(loss), found.loss.item(), rtol=1e-5)
    variables = ours.trainable_variables
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    expected = dict(theirs.named_parameters())
    for variable, gradient in zip(variables, gradients, strict=True):
        place = LAYOUTS["transformers"].place(relative_path(ours, variable))
        value = expected[place.name].grad.numpy()
        value = value.T if place.form == "transposed" else value
        gradient = tf.convert_to_tensor(gradient).numpy()
        scale = np.abs(value).max()
        np.testing.assert_allclose(gradient, value, rtol=0, atol=max(2e-5 * scale, 1e-8))


@pytest.mark.parametrize("form", ["sharded", "zip", "legacy"])
def test_older_forms_of_a_directory_load_alike(tmp_path, form):
    theirs = make_theirs("AlbertForPreTraining", "groups")
    folder = tmp_path / "theirs"
    theirs.save_pretrained(folder, max_shard_size="20KB" if form == "sharded" else "1GB")
    if form != "sharded":
        (folder / "model.safetensors").unlink()
        torch.save(
            theirs.state_dict(),
            folder / "pytorch_model.bin",
            _use_new_zipfile_serialization=form == "zip",
        )
    ours = language_models.AlbertForPretraining.from_pretrained(folder)
    batch = make_batch("groups")
    expected = run_theirs(theirs, batch)
    for a, b in named_outputs("AlbertForPreTraining", run_ours(ours, batch), expected):
        assert_close(a, b)


def test_encoder_beside_the_answerability_head_loads_in_transformers(tmp_path):
    theirs = make_theirs("AlbertModel", "groups")
    theirs.save_pretrained(tmp_path / "theirs")
    ours = task_models.AlbertAnswerabilitySelector.from_pretrained(
        tmp_path / "theirs", initialize_head=True
    )
    ours.save_pretrained(tmp_path / "ours")
    again, info = transformers.AlbertModel.from_pretrained(
        tmp_path / "ours", output_loading_info=True
    )
    # The head does not read the pooled vector, so there is no pooler.
    assert set(info.pop("missing_keys")) == {"pooler.weight", "pooler.bias"}
    assert not any(info.values()), info
    batch = make_batch("groups")
    expected = run_theirs(theirs, batch).last_hidden_state
    assert_close(run_theirs(again.eval(), batch).last_hidden_state, expected)
    reloaded = task_models.AlbertAnswerabilitySelector.from_pretrained(tmp_path / "ours")
    for name, value in ours(batch).items():
        np.testing.assert_array_equal(value, reloaded(batch)[name])


def test_unshared_model_computes_the_same(tmp_path):
    theirs = make_theirs("AlbertModel", "groups", num_hidden_groups=1)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = language_models.AlbertModel.from_pretrained(
        tmp_path / "theirs", share_across_layers=False
    )
    assert ours.config.num_hidden_groups == ours.config.num_hidden_layers
    keras.utils.set_random_seed(0)
    batch = make_batch("groups")
    assert_close(ours(batch)["sequence_output"], run_theirs(theirs, batch).last_hidden_state)


@pytest.mark.skipif(
    int(google.protobuf.__version__.partition(".")[0]) < 7,
    reason="transformers reads SentencePiece's own messages, which want protobuf 7",
)
def test_vocabulary_survives_the_only_form_that_transformers_saves(tmp_path):
    vocabulary = VOCABULARY
    original = Tokenizer(vocabulary)
    model = language_models.AlbertModel(AlbertConfig.from_preset("albert_tiny"))
    model.save_pretrained(tmp_path / "ours", original)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    text = "the old mill stood at the end of the road"
    assert theirs(text)["input_ids"] == [original.cls_id, *original.encode(text), original.sep_id]
    theirs.save_pretrained(tmp_path / "theirs")
    assert not (tmp_path / "theirs" / "spiece.model").exists()
    again = tokenizer_files.load_tokenizer(tmp_path / "theirs")
    texts = [text, "The Café paid £3.50 (in 2,000 days).", 'ﬁne ½ "quotes" - and dashes']
    assert again.encode_batch(texts) == original.encode_batch(texts)


@pytest.mark.parametrize("problem", ["multi_label_classification", "single_label_classification"])
def test_classes_have_the_probabilities_of_the_pipeline(tmp_path, problem):
    theirs = make_theirs("AlbertForSequenceClassification", "groups", problem_type=problem)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = task_models.AlbertClassifier.from_pretrained(tmp_path / "theirs")
    batch = make_batch("groups")
    pipeline = transformers.TextClassificationPipeline.__new__(
        transformers.TextClassificationPipeline
    )
    pipeline.model = theirs
    pipeline.framework = "pt"
    logits = run_theirs(theirs, batch).logits
    expected = pipeline.postprocess({"logits": logits[:1]}, top_k=None)
    found = np.asarray(ours.probabilities(ours(batch)))[0]
    for answer in expected:
        index = ours.labels.index(answer["label"])
        np.testing.assert_allclose(found[index], answer["score"], atol=1e-5)


def test_a_number_of_ours_is_one_there(tmp_path):
    config = AlbertConfig(**{**SIZES["groups"], "hidden_act": "gelu_new"})
    ours = task_models.AlbertRegressor(config)
    ours.save_pretrained(tmp_path / "ours")
    theirs = transformers.AlbertForSequenceClassification.from_pretrained(tmp_path / "ours").eval()
    batch = make_batch("groups")
    assert theirs.config.problem_type == "regression"
    np.testing.assert_allclose(ours(batch), run_theirs(theirs, batch).logits[:, 0], atol=1e-5)
