"""A vocabulary read from `tokenizer.json` gives the ids of the model that the file was made of."""

import base64
import json

import pytest
from samples import VOCABULARY

from albert_tf.checkpoints.tokenizer_files import load_tokenizer
from albert_tf.pipelines.tokenizer import model_proto, tokenizer_json
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

TEXTS = ["The Café paid £3.50 (in 2,000 days).", 'ﬁne ½ "quotes" - and dashes', "x\u3000y\tz", ""]


def make_tokenizer_json(path, **changes):
    """Writes the file as transformers 5 does."""
    model = model_proto.ModelProto.FromString(VOCABULARY.read_bytes())
    kept = [p.piece for p in model.pieces if p.type in (2, 3, 4)]  # unknown, control, kept
    charsmap = base64.b64encode(model.normalizer_spec.precompiled_charsmap).decode()
    values = {
        "added_tokens": [{"id": i, "content": piece} for i, piece in enumerate(kept)],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Lowercase"},
                {"type": "Precompiled", "precompiled_charsmap": charsmap},
            ],
        },
        "model": {
            "type": "Unigram",
            "unk_id": 1,
            "vocab": [[p.piece, p.score if p.type == 1 else 0.0] for p in model.pieces],
        },
    }
    path.write_text(json.dumps({**values, **changes}))


def test_ids_are_those_of_the_model_that_it_was_made_of(tmp_path):
    make_tokenizer_json(tmp_path / "tokenizer.json")
    model_bytes = tokenizer_json.sentencepiece_model(tmp_path / "tokenizer.json")
    tokenizer, original = Tokenizer.from_model_bytes(model_bytes), Tokenizer(VOCABULARY)
    assert tokenizer.pieces == original.pieces
    assert tokenizer.encode_batch(TEXTS) == original.encode_batch(TEXTS)


@pytest.mark.parametrize(
    ("cleaning", "said", "expected"),
    [
        (("Lowercase", "StripAccents"), {}, "cafe"),
        (("Lowercase",), {}, "café"),
        ((), {}, "Café"),
        ((), {"do_lower_case": True, "keep_accents": None}, "café"),
    ],
)
def test_letters_are_cleaned_as_the_file_says_unless_the_config_does(
    tmp_path, cleaning, said, expected
):
    make_tokenizer_json(tmp_path / "tokenizer.json")
    values = json.loads((tmp_path / "tokenizer.json").read_text())
    parts = values["normalizer"]["normalizers"]
    values["normalizer"]["normalizers"] = [*({"type": name} for name in cleaning), parts[-1]]
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(said))
    tokenizer = load_tokenizer(tmp_path)
    options = {"lower_case": expected[0] == "c", "strip_accents": expected[-1] == "e"}
    model_bytes = tokenizer_json.sentencepiece_model(tmp_path / "tokenizer.json")
    expected = Tokenizer.from_model_bytes(model_bytes, **options)
    assert tokenizer.encode_batch(TEXTS) == expected.encode_batch(TEXTS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"type": "WordPiece", "vocab": {"a": 0}}}, "unigram vocabulary"),
        ({"model": {"type": "BPE", "vocab": []}}, "type='BPE'"),
        ({"normalizer": {"type": "Lowercase"}}, "no table"),
        ({"normalizer": None}, "unigram vocabulary"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path, changes, message):
    make_tokenizer_json(tmp_path / "tokenizer.json", **changes)
    with pytest.raises(ValueError, match=message) as refused:
        tokenizer_json.sentencepiece_model(tmp_path / "tokenizer.json")
    assert "tokenizer.json" in str(refused.value)


def test_what_published_files_do_to_texts_is_known(tmp_path):
    make_tokenizer_json(tmp_path / "tokenizer.json")
    values = json.loads((tmp_path / "tokenizer.json").read_text())
    parts = values["normalizer"]["normalizers"]
    replaced = [({"String": "``"}, '"'), ({"String": "''"}, '"'), ({"Regex": " {2,}"}, " ")]
    steps = [{"type": "Replace", "pattern": p, "content": c} for p, c in replaced]
    values["normalizer"]["normalizers"] = [*steps[:2], {"type": "NFKD"}, *parts, steps[2]]
    metaspace = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}
    both = [{"type": "WhitespaceSplit"}, metaspace]
    values["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": both}
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    expected = Tokenizer(VOCABULARY).encode_batch(TEXTS)
    assert load_tokenizer(tmp_path).encode_batch(TEXTS) == expected


@pytest.mark.parametrize(
    ("part", "steps", "message"),
    [
        ("normalizer", {"type": "Replace", "pattern": {"String": "the"}, "content": "a"}, "'the'"),
        ("normalizer", {"type": "NFC"}, "the normalizer NFC"),
        ("pre_tokenizer", {"type": "Digits", "individual_digits": True}, "pre-tokenizer Digits"),
    ],
)
def test_a_file_that_does_more_to_texts_is_refused_by_name(tmp_path, part, steps, message):
    make_tokenizer_json(tmp_path / "tokenizer.json")
    values = json.loads((tmp_path / "tokenizer.json").read_text())
    inner = {"normalizer": "normalizers", "pre_tokenizer": "pretokenizers"}[part]
    there = values.setdefault(part, {"type": "Sequence", inner: []})
    there[inner].append(steps)
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=message):
        load_tokenizer(tmp_path)
