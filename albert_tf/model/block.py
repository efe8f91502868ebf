"""The block that all layers share, and what a pass through it keeps for the backward pass.

Whoever trains chooses that around the call of a model, with `chosen_passes`; what is computed is
the same.

Letters: B batch, L sequence length, Q positions asked for (all L, or fewer in the last layer),
H hidden size, F feed-forward size, N heads, D head size.
"""

import contextlib
import contextvars
import dataclasses
import functools
import typing
from collections.abc import Callable, Iterator, Sequence

import keras
from keras import ops

from albert_tf.config import AlbertConfig
from albert_tf.model import fused_ops
from albert_tf.model.layers import (
    Dropout,
    LayerNorm,
    Linear,
    dropout_seed,
    next_dropout_seed,
)
from albert_tf.model.tensors import Tensor


class BlockWeights(typing.NamedTuple):
    """The weights of one block in the dtypes it computes in, made once a step for all repeats."""

    attention_kernel: Tensor  # [H, 3H]: query (divided by sqrt(D)), key, value
    attention_bias: Tensor  # [3H]
    output_kernel: Tensor  # [H, H]
    output_bias: Tensor  # [H]
    intermediate_kernel: Tensor  # [H, F]
    intermediate_bias: Tensor  # [F]
    feed_forward_kernel: Tensor  # [F, H]
    feed_forward_bias: Tensor  # [H]
    attention_gamma: Tensor  # [H], in float32 as the other three of the normalisations
    attention_beta: Tensor  # [H]
    feed_forward_gamma: Tensor  # [H]
    feed_forward_beta: Tensor  # [H]


class TransformerBlock(keras.layers.Layer):
    """Self-attention and feed-forward, each followed by residual and layer normalisation.

    The same instance serves every layer of its group. Query, key and value stay separate variables,
    because LAMB computes one trust ratio a variable.
    """

    def __init__(self, config: AlbertConfig, **kwargs):
        super().__init__(autocast=False, **kwargs)  # some of `BlockWeights` stay in float32
        self.config = config
        hidden, inner = config.hidden_size, config.intermediate_size
        policy = {"dtype": self.dtype_policy}
        self.query = Linear(config, hidden, hidden, name="query", **policy)
        self.key = Linear(config, hidden, hidden, name="key", **policy)
        self.value = Linear(config, hidden, hidden, name="value", **policy)
        self.attention_output = Linear(config, hidden, hidden, name="output", **policy)
        self.attention_layer_norm = LayerNorm(config, hidden, name="layer_norm", **policy)
        self.intermediate = Linear(config, hidden, inner, name="intermediate", **policy)
        self.feed_forward_output = Linear(config, inner, hidden, name="output", **policy)
        self.feed_forward_layer_norm = LayerNorm(config, hidden, name="layer_norm", **policy)
        self.hidden_dropout = Dropout(config.hidden_dropout_prob, **policy)
        self.attention_dropout = Dropout(config.attention_probs_dropout_prob, **policy)

    def build(self, *_) -> None:
        """Makes the 16 variables under `attention/` and `feed_forward/`."""
        with keras.name_scope("attention"):
            for layer in (self.query, self.key, self.value, self.attention_output):
                layer.build()
            self.attention_layer_norm.build()
        with keras.name_scope("feed_forward"):
            self.intermediate.build()
            self.feed_forward_output.build()
            self.feed_forward_layer_norm.build()

    def rematerialized_call(self, layer_call: Callable, *args, **kwargs) -> Callable:
        """Returns `layer_call` for `keras.RematScope`, whose gradient computes the block again."""
        if super().rematerialized_call(layer_call, *args, **kwargs) is layer_call:
            return layer_call
        return functools.partial(self.call, recompute=True)

    def linears(self) -> list[Linear]:
        """Returns the six layers that have a kernel."""
        attention = [self.query, self.key, self.value, self.attention_output]
        return [*attention, self.intermediate, self.feed_forward_output]

    def layer_norms(self) -> list[LayerNorm]:
        """Returns the two layers that normalise."""
        return [self.attention_layer_norm, self.feed_forward_layer_norm]

    def prepare_weights(self) -> BlockWeights:
        """Returns the `BlockWeights` that `call` computes with."""
        scale = self.config.head_size**-0.5
        kernels = [layer.adapted_kernel() for layer in self.linears()]
        biases = [layer.bias for layer in self.linears()]
        weights = [
            ops.concatenate([kernels[0] * scale, *kernels[1:3]], axis=1),  # [H, 3H]
            ops.concatenate([biases[0] * scale, *biases[1:3]], axis=0),  # [3H]
        ]
        for kernel, bias in zip(kernels[3:], biases[3:], strict=True):
            weights += [kernel, bias]
        weights = [ops.cast(weight, self.compute_dtype) for weight in weights]
        for layer in self.layer_norms():
            weights += [ops.cast(vector, "float32") for vector in (layer.gamma, layer.beta)]
        return BlockWeights(*weights)

    def draw_seeds(self, training: bool, pass_seed: Tensor | None = None) -> list[Tensor]:
        """Returns the seeds [2] of all that one pass drops out, if it trains.

        Args:
            training: whether it trains.
            pass_seed: int32 [2] of which they are made; by default the next of `dropout_seed` and,
                outside of that, of Keras's seed generators.
        """
        if not training:
            return []
        with dropout_seed(next_dropout_seed() if pass_seed is None else pass_seed):
            return [dropout.draw_seed() for dropout in self._dropouts() if dropout.rate]

    def call(
        self,
        hidden_states: Tensor,
        mask_scores: Tensor,
        positions: Tensor | None = None,
        weights: BlockWeights | None = None,
        seeds: Sequence[Tensor] | None = None,
        training: bool = False,
        recompute: bool = False,
    ) -> Tensor:
        """Applies the block.

        Args:
            hidden_states: [B, L, H].
            mask_scores: [B, 1, 1, L], added to the attention scores of each key; [B, 1, L, L]
                where it depends on who looks.
            positions: int [B, Q] to compute outputs for; None means all.
            weights: what `prepare_weights` returned, where the caller repeats the block.
            seeds: what `draw_seeds` returned, where the caller drew them.
            training: whether to drop out.
            recompute: whether the gradient computes the block again.

        Returns:
            [B, Q, H], with Q = L without `positions`.
        """
        weights = weights or self.prepare_weights()
        seeds = self.draw_seeds(training) if seeds is None else seeds
        hidden_states = ops.cast(hidden_states, self.compute_dtype)
        mask_scores = ops.cast(mask_scores, self.compute_dtype)

        def apply(hidden_states: Tensor, seeds: list[Tensor], weights: list[Tensor]) -> Tensor:
            weights = BlockWeights(*weights)
            return self._apply(hidden_states, mask_scores, positions, weights, seeds)

        if recompute:
            return fused_ops.compute_again(apply, hidden_states, seeds, weights)[0]
        return apply(hidden_states, seeds, weights)

    def attention_probabilities(
        self, hidden_states: Tensor, mask_scores: Tensor, weights: BlockWeights
    ) -> Tensor:
        """Returns how much each position looks at each, [B, N, L, L], before any dropout.

        Arguments as of `call`, whose fast forms never hold these numbers.
        """
        hidden_states = ops.cast(hidden_states, self.compute_dtype)
        query, key, _, _ = self._project(hidden_states, None, weights)
        mask_scores = ops.cast(mask_scores, self.compute_dtype)
        return fused_ops.attention_probabilities(query, key, mask_scores)

    def _apply(
        self,
        hidden_states: Tensor,
        mask_scores: Tensor,
        positions: Tensor | None,
        weights: BlockWeights,
        seeds: Sequence[Tensor],
    ) -> Tensor:
        """Returns what `call` does, from these arguments alone."""
        drop_attention, drop_attended, drop_output = self._active_dropouts(seeds)
        query, key, value, residual = self._project(hidden_states, positions, weights)
        if positions is not None and mask_scores.shape[2] != 1:
            of_queries = fused_ops.gather_positions(mask_scores[:, 0], positions)  # [B, Q, L]
            mask_scores = ops.expand_dims(of_queries, 1)  # [B, 1, Q, L]
        context = self._attend(query, key, value, mask_scores, drop_attention)  # [B, Q, H]
        output = fused_ops.multiply(context, weights.output_kernel)
        scaling = (weights.attention_gamma, weights.attention_beta)
        attended = self._add_and_normalize(
            output, weights.output_bias, residual, scaling, drop_attended
        )
        kernel, bias = weights.intermediate_kernel, weights.intermediate_bias
        inner = fused_ops.dense(attended, kernel, bias, self.config.hidden_act)  # [B, Q, F]
        output = fused_ops.multiply(inner, weights.feed_forward_kernel)  # [B, Q, H]
        scaling = (weights.feed_forward_gamma, weights.feed_forward_beta)
        return self._add_and_normalize(
            output, weights.feed_forward_bias, attended, scaling, drop_output
        )

    def _active_dropouts(self, seeds: Sequence[Tensor]) -> list[Callable[[Tensor], Tensor] | None]:
        """Returns for each place that may drop out the function that does, with its seed."""
        if not seeds:
            return [None] * len(self._dropouts())
        rest = iter(seeds)
        return [
            functools.partial(dropout, training=True, seed=next(rest)) if dropout.rate else None
            for dropout in self._dropouts()
        ]

    def _dropouts(self) -> tuple[Dropout, ...]:
        """Returns the layers that drop out, in the order in which a pass meets them."""
        return self.attention_dropout, self.hidden_dropout, self.hidden_dropout

    def _project(
        self, hidden_states: Tensor, positions: Tensor | None, weights: BlockWeights
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns query [B, N, Q, D], key and value [B, N, L, D], and the residual [B, Q, H]."""
        size = self.config.hidden_size
        kernel, bias = weights.attention_kernel, weights.attention_bias
        if positions is None:
            both = fused_ops.dense(hidden_states, kernel, bias)  # [B, L, 3H]
            return *self._split_heads(both, 3), hidden_states
        selection = fused_ops.gather_positions(hidden_states, positions)  # [B, Q, H]
        query = fused_ops.dense(selection, kernel[:, :size], bias[:size])  # [B, Q, H]
        both = fused_ops.dense(hidden_states, kernel[:, size:], bias[size:])  # [B, L, 2H]
        return *self._split_heads(query, 1), *self._split_heads(both, 2), selection

    def _split_heads(self, joined: Tensor, parts: int) -> list[Tensor]:
        """Cuts [B, L, parts * H] into `parts` tensors [B, N, L, D]."""
        heads, length = self.config.num_attention_heads, ops.shape(joined)[1]
        joined = ops.reshape(joined, (-1, length, parts, heads, self.config.head_size))
        return ops.unstack(ops.transpose(joined, (2, 0, 3, 1, 4)), parts)  # [B, N, L, D]

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask_scores: Tensor,
        dropout: Callable[[Tensor], Tensor] | None,
    ) -> Tensor:
        """Returns what each position gathers from the others, [B, Q, H]."""
        context = fused_ops.attention(query, key, value, mask_scores, dropout)  # [B, N, Q, D]
        context = ops.transpose(context, (0, 2, 1, 3))  # [B, Q, N, D]
        return ops.reshape(context, (-1, ops.shape(context)[1], self.config.hidden_size))

    def _add_and_normalize(
        self,
        output: Tensor,
        bias: Tensor,
        residual: Tensor,
        scaling: tuple[Tensor, Tensor],
        dropout: Callable[[Tensor], Tensor] | None,
    ) -> Tensor:
        """Returns the layer normalisation of residual + dropout(output + bias), [B, Q, H]."""
        if dropout is not None:
            output = dropout(fused_ops.add_bias(output, bias))
            bias = ops.zeros_like(bias)
        epsilon = self.config.layer_norm_eps
        return fused_ops.residual_layer_norm(output, bias, residual, *scaling, epsilon)


@dataclasses.dataclass(frozen=True)
class PassChoices:
    """How passes are made.

    Args:
        recompute: whether the backward pass computes the inside of each pass again.
        as_loop: whether layers that share one block are a loop of the graph, which XLA compiles
            once.
    """

    recompute: bool = False
    as_loop: bool = False


PLAIN_PASSES = PassChoices()
_CHOICES = contextvars.ContextVar("pass_choices", default=PLAIN_PASSES)


@contextlib.contextmanager
def chosen_passes(choices: PassChoices) -> Iterator[None]:
    """Within it, models pass their blocks as `choices` says."""
    token = _CHOICES.set(choices)
    try:
        yield
    finally:
        _CHOICES.reset(token)


def pass_choices() -> PassChoices:
    """Returns the choices in force."""
    return _CHOICES.get()
