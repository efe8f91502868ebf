"""A start that lets small models read word order from the first step.

From random weights attention is uniform: the model sees a bag of words, and a small one leaves that
plateau late or never, because the positions that it would have to tell apart drown in the words.
Here the position table starts as sinusoids in dimensions of their own, and most heads start looking
at one neighbor each. These are initial values only: the architecture is ALBERT's, and every weight
is trained as usual.

The construction: let p_i be the sinusoids of position i, (cos w_f i, sin w_f i) for F frequencies.
A rotation R_d by the angles w_f d gives p_i R_d = p_(i + d), so the score (p_i R_d) . p_j is
largest for j = i + d. Keys read p_j out of the projected embeddings with the pseudo-inverse of the
projection, queries read p_i R_d. That queries and keys may start as a structured product is the
idea of Trockman and Kolter, arXiv 2305.09828; the offsets are ours.

Letters: L positions, E embedding size, H hidden size, N heads, D head size, F frequencies.
"""

import numpy as np

# The part of a normalised embedding's variance that tells the position.
_POSITION_SHARE = 0.4
# How much the score of the wanted position exceeds that of the one beside it.
_SCORE_GAP = 4.0
# Directions that the projection shrinks below this part of its largest stretch are not read back:
# undoing that would take weights large enough to drown everything else.
_SMALLEST_STRETCH = 0.15
# Angles a position, from one period in two tokens to one in the length of the table.
_HIGHEST_FREQUENCY = 2.8


def point_heads_at_neighbors(encoder):
    """Gives an untrained encoder sinusoidal positions and heads that look at offsets.

    Of N heads a quarter, and at least one, stay random; the others start at -1, +1, -2, +2, ...

    Args:
        encoder: an `AlbertEncoder` that has not been trained.

    Raises:
        ValueError: if the embeddings are too narrow for sinusoids beside the words.
    """
    config = encoder.config
    count = min(config.head_size, config.embedding_size // 4) // 2  # F
    if count < 4:
        raise ValueError(
            "to point heads at neighbors `head_size` must be at least 8 and `embedding_size` at "
            f"least 32. Received: {config.head_size} and {config.embedding_size}"
        )
    lowest_frequency = 2 * np.pi / config.max_position_embeddings
    frequencies = np.geomspace(_HIGHEST_FREQUENCY, lowest_frequency, count)  # [F]
    _separate_positions_from_words(encoder.embeddings, frequencies)
    projection = encoder.embedding_projection.kernel.numpy()  # [E, H]
    readout = np.linalg.pinv(projection, rcond=_SMALLEST_STRETCH)  # [H, E]
    readout = readout[:, -2 * count :]  # [H, 2F]
    for block in encoder.blocks:
        _point_heads(block, readout, frequencies)


def offsets_of_heads(num_attention_heads):
    """Returns the offset that each pointed head starts at.

    >>> offsets_of_heads(8)
    [-1, 1, -2, 2, -3, 3]
    """
    pointed = num_attention_heads - max(1, num_attention_heads // 4)
    return [(-1) ** (head + 1) * (head // 2 + 1) for head in range(pointed)]


def _separate_positions_from_words(embeddings, frequencies):
    """Leaves the last 2F dimensions of the tables to the sinusoids."""
    width = 2 * len(frequencies)
    words = embeddings.word_embeddings.numpy()  # [V, E]
    words[:, -width:] = 0
    embeddings.word_embeddings.assign(words)
    segments = embeddings.token_type_embeddings.numpy()  # [2, E]
    segments[:, -width:] = 0
    embeddings.token_type_embeddings.assign(segments)

    positions = np.zeros(embeddings.position_embeddings.shape)  # [L, E]
    angles = np.arange(len(positions))[:, None] * frequencies  # [L, F]
    other_variance = sum(np.square(table).sum(axis=1).mean() for table in (words, segments))
    size = np.sqrt(_POSITION_SHARE / (1 - _POSITION_SHARE) * other_variance / len(frequencies))
    positions[:, -width::2] = size * np.cos(angles)
    positions[:, 1 - width :: 2] = size * np.sin(angles)
    embeddings.position_embeddings.assign(positions)


def _point_heads(block, readout, frequencies):
    """Sets the query and key kernels of all heads but the last quarter."""
    config = block.config
    width = 2 * len(frequencies)
    # What layer normalisation makes of the sinusoids' size: variance E in all.
    size = np.sqrt(_POSITION_SHARE * config.embedding_size / len(frequencies))
    # Scores are sum_f scale^2 size^2 cos(w_f (i + d - j)) / sqrt(D).
    gap = np.sum(1 - np.cos(frequencies))
    scale = np.sqrt(_SCORE_GAP / gap * np.sqrt(config.head_size)) / size
    query, key = block.query.kernel.numpy(), block.key.kernel.numpy()  # [H, H]
    for head, offset in enumerate(offsets_of_heads(config.num_attention_heads)):
        start = head * config.head_size
        query[:, start : start + config.head_size] = 0
        key[:, start : start + config.head_size] = 0
        query[:, start : start + width] = scale * readout @ _rotation(frequencies * offset)
        key[:, start : start + width] = scale * readout
    block.query.kernel.assign(query)
    block.key.kernel.assign(key)


def _rotation(angles):
    """Returns the matrix [2F, 2F] that turns each pair (cos, sin) by its angle."""
    matrix = np.zeros((2 * len(angles), 2 * len(angles)))
    even, odd = np.arange(0, len(matrix), 2), np.arange(1, len(matrix), 2)
    matrix[even, even] = matrix[odd, odd] = np.cos(angles)
    matrix[even, odd] = np.sin(angles)
    matrix[odd, even] = -np.sin(angles)
    return matrix
