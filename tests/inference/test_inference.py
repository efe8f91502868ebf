"""Fill-mask and features on a small random model: what comes back does not depend on company."""

import json
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from samples import VOCABULARY

from albert_tf.checkpoints import tokenizer_files
from albert_tf.checkpoints.stored_tensors import CheckpointError
from albert_tf.config import AlbertConfig
from albert_tf.inference import text_model
from albert_tf.inference.features import Features
from albert_tf.model.language_models import AlbertForPretraining
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    keras.utils.set_random_seed(0)
    tokenizer = Tokenizer(str(VOCABULARY))
    config = AlbertConfig(
        vocab_size=tokenizer.vocab_size,
        embedding_size=16,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
        initializer_range=0.3,
    )
    path = tmp_path_factory.mktemp("models") / "random"
    AlbertForPretraining(config).save_pretrained(path, tokenizer)
    return path


@pytest.fixture(scope="module")
def fill_mask(directory):
    return text_model.FillMask.from_pretrained(directory)


@pytest.fixture(scope="module")
def features(directory):
    return Features.from_pretrained(directory)


def test_scores_are_the_models_probabilities(fill_mask):
    tokenizer, model = fill_mask.tokenizer, fill_mask.model
    ids = [
        tokenizer.cls_id,
        *tokenizer.encode("the cat"),
        tokenizer.mask_id,
        *tokenizer.encode("the house"),
        tokenizer.sep_id,
    ]
    column = ids.index(tokenizer.mask_id)
    logits = model(
        {
            "input_ids": np.array([ids], np.int32),
            "input_mask": np.ones((1, len(ids)), np.int32),
            "segment_ids": np.zeros((1, len(ids)), np.int32),
            "masked_lm_positions": np.array([[column]], np.int32),
        }
    )
    logits = logits.numpy()[0, 0].astype(float)
    probabilities = np.exp(logits - logits.max())
    probabilities /= probabilities.sum()
    answers = fill_mask("the cat [MASK] the house", top_k=4)
    best = np.argsort(-probabilities)[:4]
    assert [answer["token"] for answer in answers] == best.tolist()
    scores = [answer["score"] for answer in answers]
    np.testing.assert_allclose(scores, probabilities[best], rtol=1e-4)
    word = tokenizer.decode([int(best[0])])
    assert answers[0]["token_str"] == word
    assert answers[0]["sequence"] == tokenizer.decode(
        [*ids[1:column], int(best[0]), *ids[column + 1 : -1]]
    )


def test_one_text_is_answered_alike_alone_and_in_company(fill_mask):
    texts = ["a [MASK]", "the old mill stood at the end of the [MASK] , where the river turns"]
    together = fill_mask(texts, top_k=3)
    for text, answers in zip(texts, together, strict=True):
        for alone, beside in zip(fill_mask(text, top_k=3), answers, strict=True):
            assert alone["token"] == beside["token"]
            np.testing.assert_allclose(alone["score"], beside["score"], rtol=1e-4)


def test_several_masks_give_one_list_each(fill_mask):
    answers = fill_mask("the [MASK] and the [MASK]", top_k=2)
    assert [len(mask) for mask in answers] == [2, 2]
    assert "[MASK]" in answers[0][0]["sequence"]


def test_more_texts_than_a_batch_keep_their_order(directory):
    small = text_model.FillMask.from_pretrained(directory)
    small.batch_size = 2
    texts = [f"{word} [MASK]" for word in ("the", "a", "one", "every", "nobody")]
    for text, answers in zip(texts, small(texts, top_k=1), strict=True):
        assert answers[0]["token"] == small(text, top_k=1)[0]["token"]


def test_empty_list_of_texts_gives_an_empty_list(fill_mask, features):
    assert fill_mask([]) == []
    assert features([]) == []


def test_a_mask_beyond_the_models_length_does_not_change_the_form(fill_mask):
    (answers,) = fill_mask("[MASK] " + "the river " * 50 + "[MASK]", top_k=2)
    assert [set(answer) for answer in answers] == [{"score", "token", "token_str", "sequence"}] * 2


@pytest.mark.parametrize("text", ["no mask here", "", "the river " * 50 + "[MASK]"])
def test_text_without_a_mask_in_reach_is_an_error(fill_mask, text):
    with pytest.raises(ValueError, match=r"must have a \[MASK\]"):
        fill_mask(text)


def test_top_k_beyond_the_vocabulary_is_an_error(fill_mask):
    with pytest.raises(ValueError, match="`top_k` must lie in"):
        fill_mask("a [MASK]", top_k=10_000)
    for no_number in (2.5, True, "3"):
        with pytest.raises(ValueError, match="`top_k` must lie in"):
            fill_mask("a [MASK]", top_k=no_number)


def test_targets_are_scored_among_all_words(fill_mask):
    everything = {a["token_str"]: a for a in fill_mask("a [MASK]", top_k=340)}
    words = [piece[1:] for piece in fill_mask.tokenizer.pieces if re.match("▁[a-z]{2}", piece)]
    answers = fill_mask("a [MASK]", targets=[words[0], words[-1], words[0]])
    assert {answer["token_str"] for answer in answers} == {words[0], words[-1]}
    assert answers[0]["score"] >= answers[1]["score"]
    for answer in answers:
        expected = everything[answer["token_str"]]
        assert answer.pop("score") == pytest.approx(expected.pop("score"), rel=1e-6)
        assert answer == expected


def test_targets_are_the_pieces_that_stand_where_the_mask_does(fill_mask):
    ids = fill_mask.tokenizer.vocabulary.ids
    (both, *_) = [word for word in ids if word.isalpha() and f"▁{word}" in ids]
    (never_first, *_) = [
        word for word in ids if word.isalpha() and len(word) > 1 and f"▁{word}" not in ids
    ]
    texts = ["a [MASK]", "[MASK] a [MASK][MASK]", "a([MASK]", "a\u3000[MASK] [MASK]"]
    texts.append("a [SEP][MASK]\u200b[MASK]")  # the tokenizer has words of their own there
    answers = fill_mask(texts, targets=[both, never_first])
    masks = [mask for one in answers for mask in (one if isinstance(one[0], list) else [one])]
    inside, apart = {ids[both], ids[never_first]}, {ids[f"▁{both}"], ids[never_first]}
    expected = [apart, apart, apart, inside, inside, apart, apart, apart, apart]
    assert [{answer["token"] for answer in mask} for mask in masks] == expected
    (alone, _) = fill_mask("a([MASK]", targets=[both, never_first])
    assert alone["sequence"] in (f"a({both}", f"a({never_first}")


@pytest.mark.parametrize("targets", [["the", "zeppelins"], [""], [], "the"])
def test_targets_that_are_no_pieces_are_refused(fill_mask, targets):
    with pytest.raises(ValueError, match="`targets`"):
        fill_mask("a [MASK]", targets=targets)


def test_features_have_a_vector_for_each_piece(features):
    answer = features("The girl came down.")
    assert answer["tokens"][0] == "[CLS]"
    assert answer["tokens"][-1] == "[SEP]"
    assert answer["token_vectors"].shape == (len(answer["tokens"]), 32)
    assert answer["pooled"].shape == (32,)
    np.testing.assert_allclose(answer["mean"], answer["token_vectors"].mean(axis=0), rtol=1e-5)


def test_features_do_not_depend_on_company(features):
    short, long = "a girl", "a girl came down from the village to feed the ducks"
    together = features([short, long])[0]
    np.testing.assert_allclose(
        together["token_vectors"], features(short)["token_vectors"], atol=1e-5
    )


def test_long_and_empty_texts_have_features(features):
    assert len(features("the river " * 100)["tokens"]) == 32
    assert features("")["tokens"] == ["[CLS]", "[SEP]"]


@pytest.mark.slow
def test_command_line_answers_in_json_lines(directory, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text("the [MASK]\na [MASK] and a [MASK]\n")
    output = tmp_path / "answers.jsonl"
    command = [sys.executable, "-m", "albert_tf.run_prediction", f"--model_dir={directory}"]
    subprocess.run([*command, f"--input={texts}", f"--output={output}"], check=True)
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [len(row["answers"]) for row in rows] == [5, 2]
    assert rows[0]["text"] == "the [MASK]"
    shown = subprocess.run(
        [*command, "--task=features", "--text=the girl"], check=True, capture_output=True, text=True
    )
    assert set(json.loads(shown.stdout)) == {"tokens", "token_vectors", "pooled", "mean"}
    wrong = subprocess.run([*command, "--text=no mask"], capture_output=True, text=True)
    assert wrong.returncode == 1
    assert "must have a [MASK]" in wrong.stderr


def test_directory_without_a_vocabulary_is_refused_in_a_clear_sentence(directory, tmp_path):
    shutil.copytree(directory, tmp_path / "other")
    (tmp_path / "other" / "spiece.model").unlink()
    with pytest.raises(CheckpointError, match="must hold the vocabulary spiece.model or vocab.txt"):
        text_model.FillMask.from_pretrained(tmp_path / "other")


def test_vocabulary_of_another_size_is_refused(directory, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(directory, other)
    AlbertForPretraining(AlbertConfig.from_preset("albert_tiny")).save_pretrained(tmp_path / "tiny")
    for name in ("config.json", "model.safetensors"):
        shutil.copy(tmp_path / "tiny" / name, other / name)
    with pytest.raises(CheckpointError, match="the vocabulary must have vocab_size="):
        text_model.FillMask.from_pretrained(other)


def test_clean_up_follows_the_directory(directory, tmp_path):
    settings = json.loads((directory / "tokenizer_config.json").read_text())
    assert (settings["do_lower_case"], settings["keep_accents"]) == (True, False)
    assert tokenizer_files.load_tokenizer(directory).lower_case


@pytest.mark.parametrize("name", ["do_lower_case", "keep_accents"])
@pytest.mark.parametrize("value", ["False", "true", 0, 1, [], {}])
def test_clean_up_that_is_neither_true_nor_false_is_refused_by_name(
    directory, tmp_path, name, value
):
    shutil.copy(directory / "spiece.model", tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({name: value}))
    expected = rf"tokenizer_config\.json: `{name}` must be true, false or null. Received: "
    with pytest.raises(CheckpointError, match=expected):
        tokenizer_files.load_tokenizer(tmp_path)


def test_clean_up_that_is_not_said_is_that_of_the_vocabulary(directory, tmp_path):
    shutil.copy(directory / "spiece.model", tmp_path)
    said = {"do_lower_case": None, "keep_accents": None}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(said))
    tokenizer = tokenizer_files.load_tokenizer(tmp_path)
    assert (tokenizer.lower_case, tokenizer.strip_accents) == (True, True)
