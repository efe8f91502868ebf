"""The tokenizer of a model directory, from whichever of its files says what it is."""

import functools
import os
import pathlib

from albert_tf.checkpoints import hub_files, model_directory, published_configs
from albert_tf.checkpoints.stored_tensors import CheckpointError, check_folder
from albert_tf.pipelines.tokenizer import tokenizer_json
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer


def load_tokenizer(
    directory: str | os.PathLike,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike | None = None,
    local_files_only: bool = False,
) -> Tokenizer:
    """Returns the `Tokenizer` of a model directory, of ours or of transformers.

    Args:
        directory: or a name on the Hugging Face hub, of which the weights are not downloaded.
        revision, cache_dir, local_files_only: of a name, as of the models' `from_pretrained`.

    Raises:
        CheckpointError: if it holds no SentencePiece vocabulary, or is no folder.
    """
    directory = hub_files.find_directory(
        directory,
        revision=revision,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
        with_weights=False,
    )
    check_folder(directory)
    directory = pathlib.Path(directory)
    path = directory / model_directory.VOCABULARY_FILE
    if path.is_file():
        make_tokenizer = functools.partial(Tokenizer, os.fspath(path))
    elif (directory / "tokenizer.json").is_file():
        model_bytes = tokenizer_json.sentencepiece_model(directory / "tokenizer.json")
        make_tokenizer = functools.partial(Tokenizer.from_model_bytes, model_bytes)
    else:
        reason = "no such file"
        if (directory / "vocab.txt").is_file():
            reason = (
                "vocab.txt, a WordPiece vocabulary as of Google's Chinese models, which albert_tf "
                "does not read: their weights load, texts must be turned into ids elsewhere"
            )
        raise CheckpointError(
            f"{directory} must hold the vocabulary {path.name}. Received: {reason}"
        )
    settings = {}
    if (directory / model_directory.TOKENIZER_FILE).is_file():
        settings = published_configs.read_tokenizer(directory / model_directory.TOKENIZER_FILE)
    return make_tokenizer(**settings)
