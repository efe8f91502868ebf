"""Questions with several options about a passage to ids, as TensorFlow ops.

Letters: B questions, C options of each, L tokens of a row.
"""

import tensorflow as tf

from albert_tf.pipelines.encoders.texts import strip
from albert_tf.pipelines.tokenizer import rows
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer


def encode_choices(
    tokenizer: Tokenizer,
    passages: tf.Tensor,
    questions: tf.Tensor,
    options: tf.Tensor,
    max_seq_length: int,
    max_qa_length: int,
) -> rows.Rows:
    """Encodes each option as `[CLS] passage [SEP] question with option [SEP]`.

    As the original's `race_utils`: the option takes the place of every "_" in the question, or
    follows it after a space; of that the last `max_qa_length` tokens are kept; of the passage the
    first that fit beside them and the three special pieces.

    Args:
        tokenizer: the model's.
        passages: string [B], valid UTF-8, as all that follow.
        questions: string [B].
        options: string [B, C].
        max_seq_length: longest row, more than `max_qa_length` + 3.
        max_qa_length: longest question with an option.

    Returns:
        B * C rows, the options of a question one after the other.
    """
    texts = tf.reshape(_put_options(questions, options), [-1])  # [B * C]
    second = rows.Slices.of(tokenizer.encode_ragged(texts)).last(max_qa_length)
    # Several questions are about one passage, which is encoded once.
    distinct, passage = tf.unique(passages)
    first = rows.Slices.of(tokenizer.encode_ragged(distinct))
    first = first.take(tf.repeat(passage, tf.shape(options)[1])).first(
        max_seq_length - 3 - second.lengths
    )
    return rows.pack(tokenizer, first, second)


def _put_options(questions: tf.Tensor, options: tf.Tensor) -> tf.Tensor:
    """Returns string [B, C]: each option in the place of every "_", or behind the question."""
    batch, count = tf.unstack(tf.shape(options))
    parts = tf.strings.split(tf.repeat(questions, count), "_")  # [B * C, (parts)]
    row = parts.value_rowids()
    is_last = tf.concat([row[1:] != row[:-1], [True]], axis=0)[: tf.size(row)]
    option = tf.gather(tf.reshape(strip(options), [-1]), row)
    joined = tf.strings.join([parts.values, tf.where(is_last, "", option)])
    filled = tf.strings.unsorted_segment_join(joined, row, parts.nrows())
    filled = tf.reshape(filled, [batch, count])
    has_blank = tf.strings.regex_full_match(questions, "(?s).*_.*")[:, None]  # [B, 1]
    behind = tf.strings.join([tf.broadcast_to(questions[:, None], [batch, count]), " ", options])
    return tf.where(has_blank, filled, behind)
