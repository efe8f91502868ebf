"""A directory's tokenizer is found in whichever file holds it, with the options that it says."""

import json
import shutil

import pytest
import word_pieces
from samples import VOCABULARY, tiny_config

from albert_tf.checkpoints.stored_tensors import CheckpointError
from albert_tf.checkpoints.tokenizer_files import load_tokenizer
from albert_tf.model.language_models import AlbertForPretraining
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.pipelines.tokenizer.wordpiece_vocabulary import WordPieceVocabulary

TEXT = "北京 Café 2008"


def describe(folder, **options):
    (folder / "tokenizer_config.json").write_text(json.dumps(options))


def options_of(tokenizer):
    vocabulary = tokenizer.vocabulary
    return vocabulary.lower_case, vocabulary.strip_accents, vocabulary.split_chinese


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (None, (True, True, True)),
        ({"do_lower_case": False}, (False, False, True)),
        ({"do_lower_case": True, "strip_accents": False}, (True, False, True)),
        ({"tokenize_chinese_chars": False, "strip_accents": None}, (True, True, False)),
    ],
)
def test_options_of_vocab_txt_are_those_of_the_directory(tmp_path, options, expected):
    word_pieces.write_vocab_txt(tmp_path / "vocab.txt")
    if options is not None:
        describe(tmp_path, **options)
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.kind == "wordpiece"
    assert options_of(tokenizer) == expected


def test_tokenizer_json_is_read_and_the_config_beside_it_has_the_last_word(tmp_path):
    pieces = word_pieces.make_pieces(word_pieces.CHINESE)
    vocabulary = WordPieceVocabulary(pieces, False, False, max_word_characters=50)
    (tmp_path / "tokenizer.json").write_bytes(vocabulary.model_bytes)
    assert load_tokenizer(tmp_path).vocabulary == vocabulary
    describe(tmp_path, do_lower_case=True, strip_accents=True)
    assert options_of(load_tokenizer(tmp_path)) == (True, True, True)
    assert load_tokenizer(tmp_path).vocabulary.max_word_characters == 50


def test_sentencepiece_model_comes_before_word_pieces(tmp_path):
    word_pieces.write_vocab_txt(tmp_path / "vocab.txt")
    shutil.copy(VOCABULARY, tmp_path / "spiece.model")
    assert load_tokenizer(tmp_path).kind == "sentencepiece"


@pytest.mark.parametrize("name", ["do_lower_case", "strip_accents", "tokenize_chinese_chars"])
def test_option_in_quotes_is_refused_by_name(tmp_path, name):
    word_pieces.write_vocab_txt(tmp_path / "vocab.txt")
    describe(tmp_path, **{name: "False"})
    with pytest.raises(CheckpointError, match=f"`{name}` must be true, false or null"):
        load_tokenizer(tmp_path)


def test_tokens_behind_the_vocabulary_are_refused_by_name(tmp_path):
    shutil.copy(VOCABULARY, tmp_path / "spiece.model")
    size = load_tokenizer(tmp_path).vocab_size
    known = {"4": {"content": "[MASK]"}}
    describe(tmp_path, added_tokens_decoder=known)
    assert load_tokenizer(tmp_path).vocab_size == size
    describe(tmp_path, added_tokens_decoder={**known, str(size): {"content": "[E1]"}})
    with pytest.raises(CheckpointError, match=r"tokenizer_config.json must add no .*'\[E1\]'"):
        load_tokenizer(tmp_path)
    describe(tmp_path, added_tokens_decoder={"x": 1})
    with pytest.raises(CheckpointError, match="tokenizer_config.json must have ids of its added"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "added_tokens.json").write_text(json.dumps({"[MASK]": 4, "[E2]": size + 1}))
    with pytest.raises(CheckpointError, match=r"added_tokens.json must add no .*'\[E2\]'"):
        load_tokenizer(tmp_path)


def test_saved_directory_has_the_files_and_ids_of_bert(tmp_path):
    vocabulary = WordPieceVocabulary(word_pieces.make_pieces(word_pieces.CHINESE), True, False)
    tokenizer = Tokenizer.from_word_pieces(vocabulary)
    model = AlbertForPretraining(tiny_config(vocab_size=tokenizer.vocab_size, hidden_act="relu"))
    model.save_pretrained(tmp_path / "model", tokenizer)
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"vocab.txt", "tokenizer.json", "tokenizer_config.json"} < names
    assert "spiece.model" not in names
    assert load_tokenizer(tmp_path / "model").vocabulary == vocabulary
    values = json.loads((tmp_path / "model" / "config.json").read_text())
    assert (values["pad_token_id"], values["bos_token_id"], values["eos_token_id"]) == (0, 2, 3)
    (tmp_path / "model" / "tokenizer.json").unlink()
    assert load_tokenizer(tmp_path / "model").encode(TEXT) == tokenizer.encode(TEXT)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokenizer_class": "BertJapaneseTokenizer"}, "must be one of Albert.*BertJapanese"),
        ({"do_basic_tokenize": False}, "`do_basic_tokenize` must be true or left out"),
        ({"remove_space": False}, "`remove_space` must be true"),
        ({"never_split": ["[E1]"]}, "`never_split` must be null"),
    ],
)
def test_other_rules_for_texts_are_refused_by_name(tmp_path, options, message):
    shutil.copy(VOCABULARY, tmp_path / "spiece.model")
    known = {"do_basic_tokenize": True, "remove_space": True, "never_split": None}
    for name in ("AlbertTokenizer", "AlbertTokenizerFast", "PreTrainedTokenizerFast", None):
        describe(tmp_path, tokenizer_class=name, **known)
        assert load_tokenizer(tmp_path).encode(TEXT) == Tokenizer(VOCABULARY).encode(TEXT)
    describe(tmp_path, **options)
    with pytest.raises(CheckpointError, match=f"tokenizer_config.json: .*{message}"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("kind", ["sentencepiece", "wordpiece"])
def test_a_piece_that_texts_are_to_keep_as_it_stands_is_refused(tmp_path, kind):
    if kind == "wordpiece":
        word_pieces.write_vocab_txt(tmp_path / "vocab.txt")
    else:
        shutil.copy(VOCABULARY, tmp_path / "spiece.model")
    tokenizer = load_tokenizer(tmp_path)
    special = {i: tokenizer.pieces[i] for i in (tokenizer.pad_id, tokenizer.mask_id)}
    kept = {tokenizer.piece_to_id("("): "("}
    known = {str(i): {"content": piece} for i, piece in (special | kept).items()}
    describe(tmp_path, added_tokens_decoder=known)
    assert load_tokenizer(tmp_path).pieces == tokenizer.pieces
    index = next(i for i in range(50, tokenizer.vocab_size) if tokenizer.pieces[i].isalpha())
    describe(tmp_path, added_tokens_decoder={**known, str(index): {"content": "[unused1]"}})
    with pytest.raises(CheckpointError, match=r"pieces of the vocabulary as .*'\[unused1\]'"):
        load_tokenizer(tmp_path)
