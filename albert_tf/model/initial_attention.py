"""A start that lets small models read word order and tell segments apart from the first step.

From random weights attention is uniform: the model sees a bag of words, and a small one leaves that
plateau late or never, because the positions that it would have to tell apart drown in the words. As
the bag is the same in either order, the sentence-order head has nothing to begin with. Here the
position table starts as sinusoids in dimensions of their own, most heads start looking at one
neighbor each, and two at the token's own segment and at the other one. These are initial values
only: the architecture is ALBERT's.

Of tasks on two texts, most depends on which words both have. A head may therefore start at the same
word in the other segment, and at [CLS] and [SEP] where there is none, so that a token knows whether
it has a partner. Predicting words hardly needs such a head, so pretraining would overwrite it;
`hold_heads` keeps it, what it reads and some of the neighbors' heads until fine-tuning.

The construction: let p_i be the sinusoids of position i, (cos w_f i, sin w_f i) for F frequencies.
A rotation R_d by the angles w_f d gives p_i R_d = p_(i + d), so the score (p_i R_d) . p_j is
largest for j = i + d. Keys read p_j out of the projected embeddings with the pseudo-inverse of the
projection, queries read p_i R_d. Segments are +1 and -1 in one dimension, and their product is the
score. That queries and keys may start as a structured product is the idea of Trockman and Kolter,
arXiv 2305.09828; the offsets and segments are ours.

Letters: L positions, E embedding size, H hidden size, N heads, D head size, F frequencies.
"""

import dataclasses

import keras
import numpy as np
from keras import ops

from albert_tf.config import INITIAL_ATTENTIONS

# The parts of a normalised embedding's variance that tell the position and the segment.
_POSITION_SHARE, _SEGMENT_SHARE = 0.4, 0.05
# How much the score of the wanted position or segment exceeds that of the next best.
_SCORE_GAP = 4.0
# The same for the matching head: the other segment above the own one, the same word above others,
# [CLS] and [SEP] above other words. One partner then outweighs them, and they a hundred words.
_SEGMENT_GAP, _WORD_GAP, _REST_GAP = 10.0, 8.0, 5.0
# How much larger its values and outputs are than those of other heads, so that it is heard.
_MATCHING_SIZE = 1.5
# Directions that the projection shrinks below this part of its largest stretch are not read back:
# undoing that would take weights large enough to drown everything else.
_SMALLEST_STRETCH = 0.15
# Angles a position, from one period in two tokens to one in the length of the table.
_HIGHEST_FREQUENCY = 2.8


@dataclasses.dataclass(frozen=True)
class SpecialIds:
    """Ids that the matching head treats as no words.

    Attributes:
        rests: what it looks at where no word is the same: `[CLS]` and `[SEP]`.
        hidden: what is not the same word wherever it stands: `[MASK]`.
    """

    rests: tuple[int, ...]
    hidden: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer):
        """Returns those of a `Tokenizer`."""
        return cls(rests=(tokenizer.cls_id, tokenizer.sep_id), hidden=(tokenizer.mask_id,))


def set_attention(encoder, kind, special_ids=None):
    """Gives an untrained encoder one of `INITIAL_ATTENTIONS`; see `point_heads`.

    Args:
        encoder: an `AlbertEncoder`, of which at most the embeddings have been trained.
        kind: one of `INITIAL_ATTENTIONS`.
        special_ids: `SpecialIds`; None if the embeddings come from a model that `hold_heads` kept,
            and stay as they are.

    Raises:
        ValueError: for another `kind`, one that the encoder is too narrow for, or embeddings of
            another model.
    """
    if kind not in INITIAL_ATTENTIONS:
        raise ValueError(
            f"--initial_attention must be one of {', '.join(INITIAL_ATTENTIONS)}. "
            f"Received: {kind!r}"
        )
    if kind == "random":
        return
    if special_ids is not None:
        point_heads(encoder, special_ids if kind == "matching" else None)
    else:
        _check_sizes(encoder.config)
        _find_special_rows(encoder)
        _point_blocks(encoder, match_words=kind == "matching")


def point_heads(encoder, matching=None):
    """Gives an untrained encoder sinusoidal positions, and heads that look somewhere.

    Of N heads two look at the own and the other segment; a quarter in all does not look at
    neighbors; the rest starts at -1, +1, -2, +2, ...

    Args:
        encoder: an `AlbertEncoder` that has not been trained.
        matching: `SpecialIds`, for the last head to look at the same word in the other segment;
            None for it to look at all of it.

    Raises:
        ValueError: if heads or embeddings are too few or too narrow for that.
    """
    _check_sizes(encoder.config)
    _separate_positions_and_segments_from_words(encoder.embeddings, _frequencies(encoder.config))
    if matching is not None:
        dimension = _first_special(encoder.config)
        _separate_special_tokens(encoder.embeddings, matching, dimension)
    _point_blocks(encoder, match_words=matching is not None)


def _check_sizes(config):
    if (
        _count_frequencies(config) < 4
        or config.num_attention_heads < 4
        or config.type_vocab_size != 2
    ):
        raise ValueError(
            "to point heads, `head_size` must be at least 8, `embedding_size` at least 32, "
            "`num_attention_heads` at least 4 and `type_vocab_size` 2. Received: "
            f"{config.head_size}, {config.embedding_size}, {config.num_attention_heads}, "
            f"{config.type_vocab_size}"
        )


def _point_blocks(encoder, match_words):
    """Sets queries and keys of all blocks by what the embeddings tell apart."""
    config, frequencies = encoder.config, _frequencies(encoder.config)
    count = len(frequencies)
    projection = encoder.embedding_projection.kernel.numpy()  # [E, H]
    readout = np.linalg.pinv(projection, rcond=_SMALLEST_STRETCH)  # [H, E]
    for block in encoder.blocks:
        query, key = block.query.kernel.numpy(), block.key.kernel.numpy()  # [H, H]
        _point_at_neighbors(config, query, key, readout[:, -2 * count :], frequencies)
        _point_at_segments(config, query, key, readout[:, -2 * count - 1])
        if match_words:
            query_bias = block.query.bias.numpy()  # [H]
            _match_words(config, query, key, query_bias, readout[:, : -2 * count])
            block.query.bias.assign(query_bias)
            _enlarge_last_head(block)
        block.query.kernel.assign(query)
        block.key.kernel.assign(key)


def hold_heads(encoder):
    """Keeps half of the heads, and what the matching one depends on, out of training.

    Of the matching head and of the nearest neighbors' heads, half of all, the queries and keys stay
    as they are. So does what they read: the tables of positions and segments, the layer
    normalisation and the projection of the embeddings, and of the word table the special tokens'
    rows and the dimensions that tell no words. Words keep their size, and zero as their mean: else
    all grow toward one direction, and what tells special tokens, positions and segments shrinks
    beside it. The matching head's values and outputs grow as the other heads' do: else those drown
    it. What each of these is worth is in docs/pretraining.md.

    Args:
        encoder: an `AlbertEncoder` that started with `point_heads(encoder, matching)`.

    Raises:
        ValueError: if it did not, or was trained since without this.
    """
    config, embeddings = encoder.config, encoder.embeddings
    words, special = embeddings.word_embeddings.numpy(), _find_special_rows(encoder)
    for variable in (
        *(embeddings.position_embeddings, embeddings.token_type_embeddings),
        *(embeddings.layer_norm.gamma, embeddings.layer_norm.beta),
        *(encoder.embedding_projection.kernel, encoder.embedding_projection.bias),
    ):
        variable.trainable = False
    constraint = _HoldWords(words, special, _first_special(config))
    embeddings.word_embeddings.constraint = constraint
    start = config.hidden_size - config.head_size
    columns = np.arange(config.hidden_size)
    matching, half = columns >= start, columns < config.num_attention_heads // 2 * config.head_size
    for block in encoder.blocks:
        for layer in (block.query, block.key):
            for variable in (layer.kernel, layer.bias):
                variable.constraint = _HoldColumns(variable.numpy(), matching | half)
        block.value.bias.constraint = _HoldColumns(block.value.bias.numpy(), matching)
        kernel = block.value.kernel
        kernel.constraint = _HoldEndsDirection(kernel.numpy(), start, axis=1)
        kernel = block.attention_output.kernel
        kernel.constraint = _HoldEndsDirection(kernel.numpy(), start, axis=0)


def _find_special_rows(encoder):
    """Returns for each row of the word table whether it is a special token's, [V]."""
    start = _first_special(encoder.config)
    words = encoder.embeddings.word_embeddings.numpy()  # [V, E]
    special = np.abs(words[:, start:]).max(axis=1) > 0
    if not 0 < special.sum() < len(special) / 2:
        raise ValueError(
            "the weights must have started with --initial_attention=matching and have been "
            "trained with --hold_heads since: in their word table only special tokens have "
            f"values in dimensions {start} and above. Received: "
            f"{special.sum():,} of {len(special):,} rows with such values"
        )
    return special


class _HoldColumns(keras.constraints.Constraint):
    """Gives some places of the last dimension their first values back after each update."""

    def __init__(self, values, held):
        self._values, self._held = values, held

    def __call__(self, variable):
        return ops.where(self._held, self._values, variable)


class _HoldEndsDirection(keras.constraints.Constraint):
    """Holds the end of one dimension of a matrix but for its size, relative to the rest's."""

    def __init__(self, values, start, axis):
        rest, end = np.split(values, [start], axis=axis)
        self._start, self._axis = start, axis
        self._held = end / _root_mean_square(rest)

    def __call__(self, variable):
        rest = ops.split(variable, [self._start], axis=self._axis)[0]
        return ops.concatenate([rest, self._held * _root_mean_square(rest)], axis=self._axis)


class _HoldWords(keras.constraints.Constraint):
    """Holds a word table [V, E]: special rows, the end of all rows, size and mean of the words."""

    def __init__(self, values, special, start):
        self._start, self._is_word, self._held = start, ~special[:, None], values
        self._size = _root_mean_square(values[~special, :start])

    def __call__(self, variable):
        words = variable[:, : self._start]
        words = words - ops.mean(words, axis=0)
        sizes = ops.sqrt(ops.mean(ops.square(words), axis=1, keepdims=True))  # [V, 1]
        words = words * (self._size / sizes)
        words = ops.concatenate([words, self._held[:, self._start :]], axis=1)
        return ops.where(self._is_word, words, self._held)


def _root_mean_square(values):
    return ops.sqrt(ops.mean(ops.square(values)))


def _count_frequencies(config):
    return min(config.head_size, config.embedding_size // 4) // 2  # F


def _frequencies(config):
    """Returns angles a position [F], from `_HIGHEST_FREQUENCY` to one period in the table."""
    lowest = 2 * np.pi / config.max_position_embeddings
    return np.geomspace(_HIGHEST_FREQUENCY, lowest, _count_frequencies(config))


def _first_special(config):
    """Returns the dimension of the tables before the segments' and the positions'."""
    return config.embedding_size - 2 * _count_frequencies(config) - 2


def offsets_of_heads(num_attention_heads):
    """Returns the offset of each head that starts at a neighbor.

    >>> offsets_of_heads(8)
    [-1, 1, -2, 2, -3, 3]
    """
    pointed = num_attention_heads - max(2, num_attention_heads // 4)
    return [(-1) ** (head + 1) * (head // 2 + 1) for head in range(pointed)]


def _separate_positions_and_segments_from_words(embeddings, frequencies):
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


def _point_at_neighbors(config, query, key, readout, frequencies):
    """Sets the first heads' columns of the kernels [H, H] from the positions' readout [H, 2F]."""
    # What layer normalisation makes of the sinusoids' size: variance E in all.
    size = np.sqrt(_POSITION_SHARE * config.embedding_size / len(frequencies))
    # Scores are sum_f scale^2 size^2 cos(w_f (i + d - j)) / sqrt(D).
    gap = np.sum(1 - np.cos(frequencies))
    scale = np.sqrt(_SCORE_GAP / gap * np.sqrt(config.head_size)) / size
    for head, offset in enumerate(offsets_of_heads(config.num_attention_heads)):
        start, end = head * config.head_size, (head + 1) * config.head_size
        query[:, start:end] = key[:, start:end] = 0
        used = slice(start, start + readout.shape[1])
        query[:, used] = scale * readout @ _rotation(frequencies * offset)
        key[:, used] = scale * readout


def _point_at_segments(config, query, key, readout):
    """Sets one column of the last two heads: their own segment and the other one."""
    # Scores are +- scale^2 size^2 / sqrt(D), so the two segments are twice that apart.
    size = np.sqrt(_SEGMENT_SHARE * config.embedding_size)
    scale = np.sqrt(_SCORE_GAP / 2 * np.sqrt(config.head_size)) / size
    for head, sign in ((config.num_attention_heads - 2, 1), (config.num_attention_heads - 1, -1)):
        column = head * config.head_size
        query[:, column] = scale * readout
        key[:, column] = sign * scale * readout


def _separate_special_tokens(embeddings, special, dimension):
    """Leaves a dimension of the word table to special tokens: rests are +, hidden words -."""
    words = embeddings.word_embeddings.numpy()  # [V, E]
    size = np.sqrt(np.square(words).sum(axis=1).mean())
    words[:, dimension] = 0
    for ids, sign in ((special.rests, 1), (special.hidden, -1)):
        words[list(ids)] = 0
        words[list(ids), dimension] = sign * size
    embeddings.word_embeddings.assign(words)


def _match_words(config, query, key, query_bias, readout):
    """Sets the last head's scores from the readout [H, words, special, segment].

    A random projection of the words' part of the embedding, the same for query and key, gives the
    same word the largest product.
    """
    width = readout.shape[1] - 2
    root = np.sqrt(config.head_size)  # scores are divided by it
    start = (config.num_attention_heads - 1) * config.head_size
    query[:, start:] = key[:, start:] = 0
    size = np.sqrt(_SEGMENT_SHARE * config.embedding_size)
    scale = np.sqrt(_SEGMENT_GAP / 2 * root) / size
    query[:, start] = scale * readout[:, -1]
    key[:, start] = -scale * readout[:, -1]
    # Every query asks for rests, by its bias.
    share = 1 - _POSITION_SHARE - _SEGMENT_SHARE
    scale = np.sqrt(_REST_GAP * root / np.sqrt(share * config.embedding_size))
    query_bias[start + 1] = scale
    key[:, start + 1] = scale * readout[:, -2]
    directions = min(config.head_size - 2, width)
    # Any projection does; this one is the same for every model.
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(width, directions)))[0]
    scale = np.sqrt(_WORD_GAP * root / (share * config.embedding_size * directions / width))
    used = slice(start + 2, start + 2 + directions)
    query[:, used] = key[:, used] = scale * readout[:, :width] @ basis


def _enlarge_last_head(block):
    """Makes the matching head's values and outputs larger than those of the others."""
    start = block.config.hidden_size - block.config.head_size
    value, output = block.value.kernel.numpy(), block.attention_output.kernel.numpy()
    value[:, start:] *= _MATCHING_SIZE
    output[start:] *= _MATCHING_SIZE
    block.value.kernel.assign(value)
    block.attention_output.kernel.assign(output)


def _rotation(angles):
    """Returns the matrix [2F, 2F] that turns each pair (cos, sin) by its angle."""
    matrix = np.zeros((2 * len(angles), 2 * len(angles)))
    even, odd = np.arange(0, len(matrix), 2), np.arange(1, len(matrix), 2)
    matrix[even, even] = matrix[odd, odd] = np.cos(angles)
    matrix[even, odd] = np.sin(angles)
    matrix[odd, even] = -np.sin(angles)
    return matrix
