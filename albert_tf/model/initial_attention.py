"""A start that lets small models read word order and tell segments apart from the first step.

From random weights attention is uniform: the model sees a bag of words, and a small one leaves that
plateau late or never, because the positions that it would have to tell apart drown in the words. As
the bag is the same in either order, the sentence-order head has nothing to begin with. Here the
position table starts as sinusoids in dimensions of their own, most heads start looking at one
neighbor each, and two at the token's own segment and at the other one. These are initial values
only: the architecture is ALBERT's.

The construction: let p_i be the sinusoids of position i, (cos w_f i, sin w_f i) for F frequencies.
A rotation R_d by the angles w_f d gives p_i R_d = p_(i + d), so the score (p_i R_d) . p_j is
largest for j = i + d. Keys read p_j out of the projected embeddings with the pseudo-inverse of the
projection, queries read p_i R_d. Segments are +1 and -1 in one dimension, and their product is the
score. That queries and keys may start as a structured product is the idea of Trockman and Kolter,
arXiv 2305.09828; the offsets and segments are ours.

Letters: L positions, V vocabulary, E embedding size, H hidden size, N heads, D head size,
F frequencies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from albert_tf.config import AlbertConfig

if TYPE_CHECKING:
    from albert_tf.model.modeling import AlbertEncoder, Embeddings

# The parts of a normalised embedding's variance that tell the position and the segment.
_POSITION_SHARE, _SEGMENT_SHARE = 0.4, 0.05
# How much the score of the wanted position or segment exceeds that of the next best.
_SCORE_GAP = 4.0
# Directions that the projection shrinks below this part of its largest stretch are not read back:
# undoing that would take weights large enough to drown everything else.
_SMALLEST_STRETCH = 0.15
# Angles a position, from one period in two tokens to one in the length of the table.
_HIGHEST_FREQUENCY = 2.8


def point_heads(encoder: AlbertEncoder) -> None:
    """Gives an untrained encoder sinusoidal positions, and heads that look somewhere.

    Of N heads two look at the own and the other segment; a quarter in all does not look at
    neighbors; the rest starts at -1, +1, -2, +2, ...

    Args:
        encoder: that has not been trained.

    Raises:
        ValueError: if heads or embeddings are too few or too narrow for that.
    """
    config = encoder.config
    count = _count_frequencies(config)  # F
    if count < 4 or config.num_attention_heads < 4 or config.type_vocab_size != 2:
        raise ValueError(
            "to point heads, `head_size` must be at least 8, `embedding_size` at least 32, "
            "`num_attention_heads` at least 4 and `type_vocab_size` 2. Received: "
            f"{config.head_size}, {config.embedding_size}, {config.num_attention_heads}, "
            f"{config.type_vocab_size}"
        )
    if config.embedding_size > config.hidden_size:  # which the projection mixes beyond recovery
        raise ValueError(
            "to point heads, `embedding_size` must not exceed `hidden_size`. Received: "
            f"{config.embedding_size} and {config.hidden_size}"
        )
    lowest = 2 * np.pi / config.max_position_embeddings
    frequencies = np.geomspace(_HIGHEST_FREQUENCY, lowest, count)  # [F]
    _separate_positions_and_segments_from_words(encoder.embeddings, frequencies)
    projection = encoder.embedding_projection.kernel.numpy()  # [E, H]
    readout = np.linalg.pinv(projection, rcond=_SMALLEST_STRETCH)  # [H, E]
    for block in encoder.blocks:
        query, key = block.query.kernel.numpy(), block.key.kernel.numpy()  # [H, H]
        _point_at_neighbors(config, query, key, readout[:, -2 * count :], frequencies)
        _point_at_segments(config, query, key, readout[:, -2 * count - 1])
        block.query.kernel.assign(query)
        block.key.kernel.assign(key)


def dimensions_of_words(config: AlbertConfig) -> int:
    """Returns how many of the first dimensions of E are left to words by `point_heads`."""
    return config.embedding_size - 2 * _count_frequencies(config) - 1


def _count_frequencies(config: AlbertConfig) -> int:
    return min(config.head_size, config.embedding_size // 4) // 2


def offsets_of_heads(num_attention_heads: int) -> list[int]:
    """Returns the offset of each head that starts at a neighbor.

    >>> offsets_of_heads(8)
    [-1, 1, -2, 2, -3, 3]
    """
    pointed = num_attention_heads - max(2, num_attention_heads // 4)
    return [(-1) ** (head + 1) * (head // 2 + 1) for head in range(pointed)]


def _separate_positions_and_segments_from_words(
    embeddings: Embeddings, frequencies: np.ndarray
) -> None:
    """Leaves the last 2F dimensions of the tables to positions and the one before to segments."""
    width = 2 * len(frequencies)
    words = embeddings.word_embeddings.numpy()  # [V, E]
    words[:, -width - 1 :] = 0
    embeddings.word_embeddings.assign(words)

    variance_of_words = np.square(words).sum(axis=1).mean()
    variance = variance_of_words / (1 - _POSITION_SHARE - _SEGMENT_SHARE)
    segments = np.zeros(embeddings.token_type_embeddings.shape)  # [2, E]
    segments[:, -width - 1] = np.sqrt(_SEGMENT_SHARE * variance) * np.array([1, -1])
    embeddings.token_type_embeddings.assign(segments)

    positions = np.zeros(embeddings.position_embeddings.shape)  # [L, E]
    angles = np.arange(len(positions))[:, None] * frequencies  # [L, F]
    size = np.sqrt(_POSITION_SHARE * variance / len(frequencies))
    positions[:, -width::2] = size * np.cos(angles)
    positions[:, 1 - width :: 2] = size * np.sin(angles)
    embeddings.position_embeddings.assign(positions)


def _point_at_neighbors(
    config: AlbertConfig,
    query: np.ndarray,
    key: np.ndarray,
    readout: np.ndarray,
    frequencies: np.ndarray,
) -> None:
    """Sets the first heads' columns of the kernels [H, H] from the positions' readout [H, 2F]."""
    # What layer normalisation makes of the sinusoids' size: variance E in all.
    size = np.sqrt(_POSITION_SHARE * config.embedding_size / len(frequencies))
    # Scores are sum_f scale^2 size^2 cos(w_f (i + d - j)) / sqrt(D).
    gap = np.sum(1 - np.cos(frequencies))
    scale = np.sqrt(_SCORE_GAP / gap * np.sqrt(config.head_size)) / size
    for head, offset in enumerate(offsets_of_heads(config.num_attention_heads)):
        start, end = head * config.head_size, (head + 1) * config.head_size
        query[:, start:end] = key[:, start:end] = 0
        columns = slice(start, start + readout.shape[1])
        query[:, columns] = scale * readout @ _rotation(frequencies * offset)
        key[:, columns] = scale * readout


def _point_at_segments(
    config: AlbertConfig, query: np.ndarray, key: np.ndarray, readout: np.ndarray
) -> None:
    """Sets one column of the last two heads: their own segment and the other one."""
    # Scores are +- scale^2 size^2 / sqrt(D), so the two segments are twice that apart.
    size = np.sqrt(_SEGMENT_SHARE * config.embedding_size)
    scale = np.sqrt(_SCORE_GAP / 2 * np.sqrt(config.head_size)) / size
    for head, sign in ((config.num_attention_heads - 2, 1), (config.num_attention_heads - 1, -1)):
        column = head * config.head_size
        query[:, column] = scale * readout
        key[:, column] = sign * scale * readout


def _rotation(angles: np.ndarray) -> np.ndarray:
    """Returns the matrix [2F, 2F] that turns each pair (cos, sin) by its angle."""
    matrix = np.zeros((2 * len(angles), 2 * len(angles)))
    even, odd = np.arange(0, len(matrix), 2), np.arange(1, len(matrix), 2)
    matrix[even, even] = matrix[odd, odd] = np.cos(angles)
    matrix[even, odd] = np.sin(angles)
    matrix[odd, even] = -np.sin(angles)
    return matrix
