"""One vector a text: poolings, how alike texts are, and directories of sentence-transformers."""

import copy
import json
import pickle
import shutil

import numpy as np
import pytest

from albert_tf import AlbertEmbedder, AlbertModel, Features, FillMask, load_tokenizer
from albert_tf.checkpoints import sentence_files
from albert_tf.checkpoints.stored_tensors import CheckpointError
from albert_tf.model import heads

TEXTS = ["The girl came down.", "", "A cat sat on the mat and slept.", "the river " * 40]


@pytest.fixture(scope="module")
def features(pretrained):
    return Features.from_pretrained(pretrained)


@pytest.fixture
def sentence_model(pretrained, tmp_path):
    """Returns a function that makes a directory of an old version, its model in a folder."""

    def make(**changes):
        shutil.copytree(pretrained, tmp_path / "st" / "0_Transformer")
        (tmp_path / "st" / "1_Pooling").mkdir()
        files = {
            "0_Transformer/sentence_albert_config.json": {"max_seq_length": 20},
            "1_Pooling/config.json": {
                "word_embedding_dimension": 32,
                "pooling_mode_cls_token": False,
                "pooling_mode_mean_tokens": False,
                "pooling_mode_max_tokens": True,
            },
            "modules.json": [
                {"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"},
                {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            ],
        }
        for name, values in {**files, **changes}.items():
            (tmp_path / "st" / name).write_text(json.dumps(values))
        return tmp_path / "st"

    return make


def pooled(answer, pooling):
    vectors = answer["token_vectors"].astype(np.float64)
    return {"mean": vectors.mean(0), "cls": vectors[0], "max": vectors.max(0)}[pooling]


@pytest.mark.parametrize("pooling", heads.POOLINGS)
def test_a_vector_is_pooled_from_those_of_the_tokens(features, pretrained, pooling):
    expected = np.stack([pooled(answer, pooling) for answer in features(TEXTS)])
    one = Features(features.model, features.tokenizer, 3, pooling=pooling)
    np.testing.assert_allclose(one.embed(TEXTS), expected, atol=1e-5)
    units = Features(features.model, features.tokenizer, pooling=pooling, normalize=True)
    lengths = np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(units.embed(TEXTS), expected / lengths, atol=1e-5)
    answer = units(TEXTS[0])
    np.testing.assert_allclose(answer["embedding"], units.embed(TEXTS[0]), atol=1e-5)
    assert "embedding" not in features(TEXTS[0])


def test_a_model_that_makes_vectors_says_how(pretrained, features):
    made = AlbertEmbedder.from_pretrained(pretrained, pooling="cls", normalize=True)
    texts = ["the cat sat", "a dog"]
    expected = made(features.tokenizer(texts))
    own = Features(made, features.tokenizer)
    np.testing.assert_allclose(own.embed(texts), expected, atol=1e-5)
    other = Features(made, features.tokenizer, pooling="mean", normalize=False)
    np.testing.assert_allclose(other.embed(texts), features.embed(texts), atol=1e-5)


def test_similarity_is_the_cosine_in_the_form_of_what_is_asked(features):
    vectors = features.embed(TEXTS).astype(np.float64)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = units @ units.T
    np.testing.assert_allclose(features.similarity(TEXTS, TEXTS), expected, atol=1e-5)
    np.testing.assert_allclose(features.similarity(TEXTS[0], TEXTS), expected[0], atol=1e-5)
    np.testing.assert_allclose(features.similarity(TEXTS, TEXTS[0]), expected[0], atol=1e-5)
    one = features.similarity(TEXTS[0], TEXTS[2])
    assert isinstance(one, float) and one == pytest.approx(expected[0, 2], abs=1e-5)
    by_vectors = features.similarity(features.embed(TEXTS[0]), features.embed(TEXTS))
    np.testing.assert_allclose(by_vectors, expected[0], atol=1e-5)


def test_search_finds_a_text_itself_first_and_equal_ones_in_their_order(features):
    texts = [*TEXTS, TEXTS[0]]
    answers = features.search(TEXTS, texts, top_k=2)
    assert [answer[0]["index"] for answer in answers] == [0, 1, 2, 3]
    assert [best["index"] for best in answers[0]] == [0, 4]
    assert answers[2][0]["text"] == TEXTS[2]
    assert answers[2][0]["score"] == pytest.approx(1, abs=1e-5)
    assert len(features.search(TEXTS[0], texts)) == 5
    by_vectors = features.search(TEXTS[0], features.embed(texts), top_k=1)
    assert by_vectors[0]["index"] == 0 and "text" not in by_vectors[0]
    assert features.search(TEXTS[0], np.array(texts)) == features.search(TEXTS[0], texts)


def test_special_pieces_in_a_text_are_letters_as_in_training(features):
    text = "the girl [SEP] a cat [MASK]"
    here = Features(features.model, features.tokenizer, pooling="mean")
    ids = features.tokenizer.encode(text)
    pieces = [features.tokenizer.id_to_piece(token) for token in ids]
    assert here(text)["tokens"] == ["[CLS]", *pieces, "[SEP]"]
    np.testing.assert_allclose(here(text)["embedding"], here.embed(text), atol=1e-5)
    assert features(text)["tokens"].count("[SEP]") == 2  # of tokens, as for masks


def test_what_cannot_be_asked_is_named(features):
    refused = [
        (lambda: features.search("a", []), "`texts` must hold texts. Received: none"),
        (lambda: features.search("a", "b"), "`texts` must be a list of texts. Received: 'b'"),
        (lambda: features.search("a", ["b"], top_k=2), r"`top_k` must lie in 1..1. Received: 2"),
        (lambda: features.similarity("a", 3), "`b` must be a text, a list of texts, or vectors"),
        (lambda: features.similarity(np.ones((2, 7)), "a"), r"numbers. Received: shape \(2, 7\)"),
        (lambda: features.search("a", np.ones(32)), r"of two axes. Received: shape \(32,\)"),
        (lambda: features.search("a", np.full((2, 32), np.nan)), "`texts` must have finite vect"),
        (lambda: features.search(np.full(32, np.inf), ["a"]), "`queries` must have finite vect"),
        (lambda: features.embed(["a", None]), r"a text must be a string. Received: None \(item 1"),
    ]
    for ask, message in refused:
        with pytest.raises((ValueError, TypeError), match=message):
            ask()
    for settings, message in (
        ({"pooling": "last"}, "`pooling` must be one of mean, cls, max. Received: 'last'"),
        ({"max_seq_length": 2}, "`max_seq_length` must be an integer from 3 to 512. Received: 2"),
        ({"max_seq_length": 513}, "`max_seq_length` must be an integer from 3 to 512. .* 513"),
        ({"max_seq_length": 4.5}, "`max_seq_length` must be an integer from 3 .* Received: 4.5"),
        ({"batch_size": 0}, "`batch_size` must be a positive integer. Received: 0"),
        ({"batch_size": -1}, "`batch_size` must be a positive integer. Received: -1"),
    ):
        with pytest.raises(ValueError, match=message):
            Features(features.model, features.tokenizer, **settings)


def test_the_names_of_poolings_are_those_of_the_functions():
    assert tuple(heads.POOLINGS) == sentence_files.POOLINGS


def test_a_directory_of_an_old_sentence_transformers_says_how_to_pool(sentence_model, features):
    directory = sentence_model()
    there = Features.from_pretrained(directory)
    assert (there.pooling, there.normalize, there.max_seq_length) == ("max", False, 20)
    here = Features(features.model, features.tokenizer, pooling="max", max_seq_length=20)
    np.testing.assert_array_equal(there.embed(TEXTS), here.embed(TEXTS))
    assert len(there(TEXTS[3])["tokens"]) == 20
    assert Features.from_pretrained(directory, pooling="cls").pooling == "cls"
    # Its model and vocabulary are read as others are.
    assert load_tokenizer(directory).pieces == features.tokenizer.pieces
    FillMask.from_pretrained(directory)
    weights = AlbertModel.from_pretrained(directory).get_weights()
    np.testing.assert_array_equal(weights[0], features.model.get_weights()[0])


def test_what_is_written_for_sentence_transformers_is_read(tmp_path):
    for settings in (
        sentence_files.SentenceSettings(pooling="mean", normalize=True, max_seq_length=64),
        sentence_files.SentenceSettings(pooling="cls"),
    ):
        sentence_files.write(tmp_path, settings, hidden_size=32)
        assert sentence_files.read(tmp_path) == settings


def modules_of(*names):
    return {"modules.json": [{"path": f"{n}", "type": f"sentence_transformers.{n}"} for n in names]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (modules_of("Transformer", "Pooling", "Dense"), "Transformer, Pooling, Normalize. .*Dense"),
        (modules_of("Pooling", "Transformer"), "must be Transformer, Pooling and perhaps"),
        (modules_of("Transformer"), r"and perhaps Normalize. Received: \['Transformer'\]"),
        ({"modules.json": [{"path": "../x", "type": "a.Transformer"}]}, "`path` must name a fold"),
        ({"modules.json": [3]}, "each module must be an object with type and path. Received: 3"),
        (
            {"1_Pooling/config.json": {"pooling_mode": "lasttoken"}},
            "must be one of mean, cls, max. Received: 'lasttoken'",
        ),
        (
            {"1_Pooling/config.json": {"pooling_mode": ["cls", "mean"]}},
            "must be one of mean, cls, max. Received: 'cls and mean'",
        ),
        (
            {"1_Pooling/config.json": {"pooling_mode_weightedmean_tokens": True}},
            "must be one of mean, cls, max. Received: 'weightedmean'",
        ),
        ({"1_Pooling/config.json": {}}, "must be one of mean, cls, max. Received: 'none'"),
        (
            {
                "config_sentence_transformers.json": {
                    "default_prompt_name": "query",
                    "prompts": {"query": "query: "},
                }
            },
            "prompts are not supported. Received: 'query'",
        ),
        (
            {"0_Transformer/sentence_albert_config.json": {"max_seq_length": "long"}},
            "`max_seq_length` must be at least 4. Received: 'long'",
        ),
    ],
)
def test_steps_that_are_not_supported_are_refused_by_name(sentence_model, changes, message):
    with pytest.raises(CheckpointError, match=message):
        Features.from_pretrained(sentence_model(**changes))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras
def test_what_has_answered_can_be_copied_and_sent_elsewhere(features):
    expected = features.embed(["a cat"])
    for copied in (copy.deepcopy(features), pickle.loads(pickle.dumps(features))):
        np.testing.assert_array_equal(copied.embed(["a cat"]), expected)
