"""What goes with the weights of a checkpoint: its vocabulary, and how that reads texts."""

import os
import pathlib
import shutil
from collections.abc import Mapping

from albert_tf import whole_files
from albert_tf.checkpoints import model_directory, published_configs, tokenizer_files
from albert_tf.checkpoints.stored_tensors import CheckpointError

_TOKENIZER_FILES = (
    published_configs.TOKENIZER_FILE,
    published_configs.ADDED_TOKENS_FILE,
    "special_tokens_map.json",
)
# What a `tokenizer_config.json` says of how texts are read.
_CLEAN_UP = ("do_lower_case", "keep_accents", "strip_accents", "tokenize_chinese_chars")


def vocabulary_name(path: str | os.PathLike) -> str:
    """Returns the name that a vocabulary has in a model directory."""
    is_text = os.fspath(path).endswith(".txt")
    return published_configs.WORD_PIECES_FILE if is_text else published_configs.VOCABULARY_FILE


def find_companions(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Returns the vocabulary and what goes with it, {name in a model directory: path}."""
    companions = {}
    if folder.is_dir():
        for name in (*_TOKENIZER_FILES, "tokenizer.json"):
            if (folder / name).is_file():
                companions[name] = folder / name
        vocabularies = [folder / model_directory.VOCABULARY_FILE]
        vocabularies += [*sorted(folder.glob("*.model")), folder / "vocabulary.spm"]
        vocabularies += sorted(folder.glob("vocab*.txt"))  # vocab_chinese.txt of Google's
        for path in vocabularies:
            if path.is_file():
                companions[vocabulary_name(path)] = path
                break
    return companions


def replace_vocabulary(
    companions: dict[str, pathlib.Path], vocabulary: pathlib.Path, folder: pathlib.Path
) -> None:
    """Puts a vocabulary in the place of the source's, in whatever files that is.

    Of what lies beside the old one only the clean-up is the model's.
    """
    config = companions.get(published_configs.TOKENIZER_FILE)
    values = {} if config is None else published_configs.read_json(config)
    for name in (*published_configs.VOCABULARY_FILES, *_TOKENIZER_FILES):
        companions.pop(name, None)
    companions[vocabulary_name(vocabulary)] = vocabulary
    values = {name: values[name] for name in _CLEAN_UP if name in values}
    if values:
        companions[published_configs.TOKENIZER_FILE] = folder / published_configs.TOKENIZER_FILE
        whole_files.write_json(folder / published_configs.TOKENIZER_FILE, values)


def note_clean_up(
    companions: dict[str, pathlib.Path],
    folder: pathlib.Path,
    lower_case: bool | None,
    strip_accents: bool | None,
) -> None:
    """Makes a `tokenizer_config.json` go with the model that says how texts are read.

    Args:
        companions: which it joins.
        folder: of this run alone, where it is written.
        lower_case, strip_accents: what it says; None leaves what the source has.

    Raises:
        CheckpointError: if there is no vocabulary.
    """
    if not companions.keys() & {*published_configs.VOCABULARY_FILES}:
        raise CheckpointError(
            "the checkpoint must have a vocabulary beside it, of which `lower_case` and "
            "`strip_accents` say how it reads texts. Received: none"
        )
    name = published_configs.TOKENIZER_FILE
    values = published_configs.read_json(companions[name]) if name in companions else {}
    said = {
        "do_lower_case": lower_case,
        "strip_accents": strip_accents,  # so WordPiece has it
        "keep_accents": None if strip_accents is None else not strip_accents,  # and SentencePiece
    }
    values |= {key: value for key, value in said.items() if value is not None}
    companions[name] = folder / name
    whole_files.write_json(companions[name], values)
    if "tokenizer.json" in companions:
        _write_out(companions, folder)


def _write_out(companions: dict[str, pathlib.Path], folder: pathlib.Path) -> None:
    """Puts the vocabulary's own file in the place of a `tokenizer.json` of another clean-up."""
    whole = folder / "vocabulary"
    whole.mkdir()
    for name, path in companions.items():
        shutil.copyfile(path, whole / name)
    tokenizer = tokenizer_files.load_tokenizer(whole)
    del companions["tokenizer.json"]
    if tokenizer.kind == "wordpiece":
        path = folder / published_configs.WORD_PIECES_FILE
        path.write_bytes(tokenizer.vocabulary.vocab_txt)
    else:
        path = folder / published_configs.VOCABULARY_FILE
        tokenizer.save(path)
    companions[path.name] = path


def check_vocabulary(companions: Mapping[str, pathlib.Path], vocab_size: int) -> None:
    """Refuses a vocabulary that is none of the model.

    Raises:
        CheckpointError: for another number of pieces, or another clean-up than the config says.
    """
    config = companions.get(published_configs.TOKENIZER_FILE)
    for name in published_configs.VOCABULARY_FILES:
        if name not in companions:
            continue
        path = companions[name]
        if name == "tokenizer.json":
            size = tokenizer_files.load_tokenizer(path.parent).vocab_size
        else:
            size = tokenizer_files.load_vocabulary(path, config).vocab_size
        if size != vocab_size:
            raise CheckpointError(
                f"{path} must have as many pieces as the model, {vocab_size:,}. Received: {size:,}"
            )
