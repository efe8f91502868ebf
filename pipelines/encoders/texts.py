"""White space of texts, and ids to text, as TensorFlow ops.

Every function takes strings that are valid UTF-8: of a client,
`sequences.replace_invalid` makes them so.
"""

import tensorflow as tf

from albert_tf.pipelines.tokenizer.sequences import WHITE_SPACE
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer


def strip(texts: tf.Tensor) -> tf.Tensor:
    """Returns string [...] without white space at both ends, as `str.strip`."""
    return tf.strings.regex_replace(texts, f"^{WHITE_SPACE}+|{WHITE_SPACE}+$", "")


def squeeze(texts: tf.Tensor) -> tf.Tensor:
    """Returns string [...] with single spaces between words, as `" ".join(text.split())`."""
    return strip(tf.strings.regex_replace(texts, f"{WHITE_SPACE}+", " "))


class Decoder:
    """Ids to readable text, as `Tokenizer.decode(ids, skip_special=False)`, for exported models."""

    def __init__(self, tokenizer: Tokenizer):
        self._texts = tokenizer.vocabulary.piece_texts

    def __call__(self, ids: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Returns string [...] of int32 [..., L] where bool [..., L] is true."""
        pieces = tf.where(mask, tf.gather(tf.constant(self._texts), ids), "")
        return squeeze(tf.strings.reduce_join(pieces, axis=-1))
