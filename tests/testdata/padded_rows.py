"""Encoders of strings in a graph, and the rows of the batches that they give."""

import tensorflow as tf


def rows_of(batch):
    """Returns the rows of a batch without padding: [(ids, segments)]."""
    assert batch["input_ids"].shape == batch["input_mask"].shape == batch["segment_ids"].shape
    found = []
    for ids, mask, segments in zip(
        *(batch[name].numpy() for name in ("input_ids", "input_mask", "segment_ids")), strict=True
    ):
        length = mask.sum()
        assert (mask[:length] == 1).all() and not ids[length:].any() and not segments[length:].any()
        found.append((ids[:length].tolist(), segments[:length].tolist()))
    return found


def in_graph(tokenizer, encode, columns, max_seq_length):
    """Returns the batch that an encoder of strings gives inside a graph of unknown sizes."""
    run = tf.function(
        lambda *strings: encode(tokenizer, *strings, max_seq_length).padded(
            tokenizer, max_seq_length
        ),
        [tf.TensorSpec([None], tf.string)] * len(columns),
        autograph=False,
    )
    return run(*map(tf.constant, columns))
