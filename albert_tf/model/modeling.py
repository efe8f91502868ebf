"""The ALBERT encoder: token ids in, one vector a token and one a text out.

ids -> embeddings (width E) -> projection (width H) -> the same block over and over -> pooler.
ALBERT's two savings are visible as two lines: the embedding tables are E wide, not H, and every
layer calls a block that already exists (https://arxiv.org/abs/1909.11942, section 3.1).

Letters: B batch, L sequence length, Q positions asked for (all L, or fewer in the last layer),
E embedding size, H hidden size, F feed-forward size, N heads, D head size.
"""

import functools
import typing
from collections.abc import Callable

import keras
from keras import ops

from albert_tf.config import AlbertConfig, as_config
from albert_tf.model import fused_ops
from albert_tf.model.layers import (
    ComputedOnce,
    Dropout,
    LayerNorm,
    Linear,
    add_matrix,
    dropout_seed,
    dropout_seed_now,
    next_dropout_seed,
    with_own_dropout_seed,
)
from albert_tf.model.tensors import Tensor

# What the original adds to the score of a padded key: representable in float16, and small enough
# that its exponential is exactly zero in float32.
PADDING_SCORE = -10000.0


class Embeddings(ComputedOnce, keras.layers.Layer):
    """Word + segment + position, normalised: ids [B, L] -> [B, L, E]."""

    def __init__(self, config: AlbertConfig, **kwargs):
        super().__init__(**kwargs)
        self.config = config
        policy = {"dtype": self.dtype_policy}
        self.layer_norm = LayerNorm(config, config.embedding_size, name="layer_norm", **policy)
        self.dropout = Dropout(config.hidden_dropout_prob, **policy)

    def build(self) -> None:
        """Makes the three tables, all E wide."""
        config, size = self.config, self.config.embedding_size
        kinds, longest = config.type_vocab_size, config.max_position_embeddings
        self.word_embeddings = add_matrix(self, "word_embeddings", (config.vocab_size, size))
        self.token_type_embeddings = add_matrix(self, "token_type_embeddings", (kinds, size))
        self.position_embeddings = add_matrix(self, "position_embeddings", (longest, size))
        self.layer_norm.build()

    def look_up(self, input_ids: Tensor) -> Tensor:
        """Returns the vectors of words, float32 [B, L, E]."""
        return fused_ops.embed(ops.cast(self.word_embeddings, "float32"), input_ids)

    def call(self, input_ids: Tensor, segment_ids: Tensor, training: bool = False) -> Tensor:
        """Returns [B, L, E] in the compute dtype, summed and normalised in float32."""
        words = self.look_up(input_ids)  # [B, L, E]
        kinds = ops.one_hot(segment_ids, self.config.type_vocab_size)  # [B, L, kinds]
        segments = fused_ops.multiply(kinds, ops.cast(self.token_type_embeddings, "float32"))
        positions = ops.cast(self.position_embeddings, "float32")[: ops.shape(input_ids)[1]]
        outputs = self.layer_norm(words, residual=segments + positions)  # [B, L, E]
        return self.dropout(ops.cast(outputs, self.compute_dtype), training=training)


class BlockWeights(typing.NamedTuple):
    """The matrices of one block in the compute dtype, made once a step for all its repeats."""

    attention_kernel: Tensor  # [H, 3H]: query (divided by sqrt(D)), key, value
    attention_bias: Tensor  # [3H]
    output_kernel: Tensor  # [H, H]
    output_bias: Tensor  # [H]
    intermediate_kernel: Tensor  # [H, F]
    intermediate_bias: Tensor  # [F]
    feed_forward_kernel: Tensor  # [F, H]
    feed_forward_bias: Tensor  # [H]


class TransformerBlock(keras.layers.Layer):
    """Self-attention and feed-forward, each followed by residual and layer normalisation.

    The same instance serves every layer of its group. Query, key and value stay separate variables,
    because LAMB computes one trust ratio a variable.
    """

    def __init__(self, config: AlbertConfig, **kwargs):
        super().__init__(**kwargs)
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
        """Returns `layer_call` for `keras.RematScope`, whose gradient computes the block again.

        TensorFlow takes gradients of what such a function is given by position alone, so tensors
        are taken out of keywords and of `BlockWeights`; and dropout draws the same masks again.
        """
        states = [
            dropout.seed_generator.state
            for dropout in (self.attention_dropout, self.hidden_dropout)
            if dropout.rate
        ]
        starts = [ops.copy(state.value) for state in states]
        seed = dropout_seed_now()
        next_dropout_seed()
        flat = keras.tree.flatten((args, kwargs))
        places = [place for place, value in enumerate(flat) if ops.is_tensor(value)]

        def call(*tensors) -> Tensor:
            values = list(flat)
            for place, tensor in zip(places, tensors, strict=True):
                values[place] = tensor
            inner_args, inner_kwargs = keras.tree.pack_sequence_as((args, kwargs), values)
            before = [ops.copy(state.value) for state in states]
            for state, start in zip(states, starts, strict=True):
                state.assign(start)
            with dropout_seed(*seed):
                outputs = layer_call(*inner_args, **inner_kwargs)
            for state, earlier in zip(states, before, strict=True):
                state.assign(ops.maximum(state.value, earlier))
            return outputs

        again = super().rematerialized_call(call, *args, **kwargs)
        if again is call:
            return layer_call
        return lambda *_, **__: again(*(flat[place] for place in places))

    def linears(self) -> list[Linear]:
        """Returns the six layers that have a kernel."""
        attention = [self.query, self.key, self.value, self.attention_output]
        return [*attention, self.intermediate, self.feed_forward_output]

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
        return BlockWeights(*(ops.cast(weight, self.compute_dtype) for weight in weights))

    @with_own_dropout_seed
    def call(
        self,
        hidden_states: Tensor,
        padding_scores: Tensor,
        positions: Tensor | None = None,
        weights: BlockWeights | None = None,
        training: bool = False,
    ) -> Tensor:
        """Applies the block.

        Args:
            hidden_states: [B, L, H].
            padding_scores: [B, 1, 1, L], added to the attention scores of each key.
            positions: int [B, Q] to compute outputs for; None means all.
            weights: what `prepare_weights` returned, where the caller repeats the block.
            training: whether to drop out.

        Returns:
            [B, Q, H], with Q = L without `positions`.
        """
        weights = weights or self.prepare_weights()
        query, key, value, residual = self._project(hidden_states, positions, weights)
        context = self._attend(query, key, value, padding_scores, training)  # [B, Q, H]
        output = fused_ops.multiply(context, weights.output_kernel)
        attended = self._add_and_normalize(
            output, weights.output_bias, residual, self.attention_layer_norm, training
        )
        kernel, bias = weights.intermediate_kernel, weights.intermediate_bias
        inner = fused_ops.dense(attended, kernel, bias, self.config.hidden_act)  # [B, Q, F]
        output = fused_ops.multiply(inner, weights.feed_forward_kernel)  # [B, Q, H]
        return self._add_and_normalize(
            output, weights.feed_forward_bias, attended, self.feed_forward_layer_norm, training
        )

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
        self, query: Tensor, key: Tensor, value: Tensor, padding_scores: Tensor, training: bool
    ) -> Tensor:
        """Returns what each position gathers from the others, [B, Q, H]."""
        active = training and self.attention_dropout.rate
        dropout = functools.partial(self.attention_dropout, training=True) if active else None
        context = fused_ops.attention(query, key, value, padding_scores, dropout)  # [B, N, Q, D]
        context = ops.transpose(context, (0, 2, 1, 3))  # [B, Q, N, D]
        return ops.reshape(context, (-1, ops.shape(context)[1], self.config.hidden_size))

    def _add_and_normalize(
        self,
        output: Tensor,
        bias: Tensor,
        residual: Tensor,
        normalization: LayerNorm,
        training: bool,
    ) -> Tensor:
        """Returns normalization(residual + dropout(output + bias)), [B, Q, H]."""
        if training and self.hidden_dropout.rate:
            output = self.hidden_dropout(fused_ops.add_bias(output, bias), training=True)
            bias = None
        return normalization(output, residual=residual, bias=bias)


@keras.saving.register_keras_serializable(package="albert_tf")
class AlbertEncoder(ComputedOnce, keras.layers.Layer):
    """Token ids to vectors.

    All variables exist from construction on, so that their paths depend on the layers' names alone.

    Args:
        config: `AlbertConfig`, or the dict that its `to_dict` gives.
        pooler: whether to have the pooler, which only some tasks read.
        kwargs: of `keras.layers.Layer`, such as `dtype="mixed_bfloat16"`.
    """

    def __init__(
        self,
        config: AlbertConfig | dict,
        pooler: bool = True,
        name: str = "encoder",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        self.config = config = as_config(config)
        hidden, policy = config.hidden_size, {"dtype": self.dtype_policy}
        self.embeddings = Embeddings(config, name="embeddings", **policy)
        self.embedding_projection = Linear(
            config, config.embedding_size, hidden, name="embedding_projection", **policy
        )
        # One flat list: what lies in a list of lists is lost when TensorFlow saves a model.
        self.blocks = [
            TransformerBlock(config, name=f"inner_group_{inner}", **policy)
            for _ in range(config.num_hidden_groups)
            for inner in range(config.inner_group_num)
        ]
        self.pooler = Linear(config, hidden, hidden, name="pooler", **policy) if pooler else None
        self.build()

    def build(self, *_) -> None:
        """Makes every variable."""
        self.embeddings.build()
        self.embedding_projection.build()
        for number, block in enumerate(self.blocks):
            with keras.name_scope(f"group_{number // self.config.inner_group_num}"):
                block.build()
        if self.pooler is not None:
            self.pooler.build()

    def get_config(self) -> dict[str, typing.Any]:
        """Returns what the constructor takes, as JSON types."""
        has_pooler = self.pooler is not None
        return {**super().get_config(), "config": self.config.to_dict(), "pooler": has_pooler}

    def call(
        self,
        input_ids: Tensor,
        input_mask: Tensor | None = None,
        segment_ids: Tensor | None = None,
        positions: Tensor | None = None,
        output_hidden_states: bool = False,
        training: bool = False,
    ) -> dict[str, typing.Any]:
        """Encodes a batch.

        Args:
            input_ids: int [B, L].
            input_mask: int [B, L], 1 for tokens and 0 for padding; None means no padding.
            segment_ids: int [B, L]; None means all 0.
            positions: int [B, Q] to compute the last layer for; None means all. The vectors are the
                same and the rest of the last layer is saved.
            output_hidden_states: whether to return what every layer saw.
            training: whether to drop out.

        Returns:
            A dict in the compute dtype: `sequence_output` [B, L, H] (or [B, Q, H] with
            `positions`), `pooled_output` [B, H] if there is a pooler and, on request,
            `hidden_states`, a list of num_hidden_layers + 1 tensors [B, L, H]: the projected
            embeddings, then each layer.
        """
        self._check_call(input_ids, positions, output_hidden_states)
        if "int" not in keras.backend.standardize_dtype(input_ids.dtype):
            # Keras builds a model from shapes with float ids, as its own Embedding takes them.
            input_ids = ops.cast(input_ids, "int32")
        if input_mask is None:
            input_mask = ops.ones_like(input_ids)
        if segment_ids is None:
            segment_ids = ops.zeros_like(input_ids)
        segment_ids = ops.cast(segment_ids, "int32")
        padding_scores = (1.0 - ops.cast(input_mask, self.compute_dtype)) * PADDING_SCORE
        padding_scores = ops.expand_dims(padding_scores, (1, 2))  # [B, 1, 1, L]
        if positions is not None:
            # The pooler reads position 0, whatever else was asked for.
            first = ops.zeros_like(positions[:, :1])
            positions = ops.concatenate([first, positions], axis=1)  # [B, 1 + Q]

        hidden = self.embeddings(input_ids, segment_ids, training=training)  # [B, L, E]
        hidden = self.embedding_projection(hidden)  # [B, L, H]
        hidden_states = [hidden]
        weights = {block: block.prepare_weights() for block in self.blocks}
        layers = self.blocks_by_layer()
        for number, blocks in enumerate(layers):
            for block in blocks:
                last = number + 1 == len(layers) and block is blocks[-1]
                hidden = block(
                    hidden,
                    padding_scores,
                    positions=positions if last else None,
                    weights=weights[block],
                    training=training,
                )
            hidden_states.append(hidden)
        outputs = {"sequence_output": hidden if positions is None else hidden[:, 1:]}
        if self.pooler is not None:
            outputs["pooled_output"] = ops.tanh(self.pooler(hidden[:, 0]))  # [B, H]
        if output_hidden_states:
            outputs["hidden_states"] = hidden_states
        return outputs

    def blocks_by_layer(self) -> list[list[TransformerBlock]]:
        """Returns for each layer the blocks of its group, dealt out as the original does."""
        size, config = self.config.inner_group_num, self.config
        groups = [self.blocks[start : start + size] for start in range(0, len(self.blocks), size)]
        return [groups[config.group_of_layer(n)] for n in range(config.num_hidden_layers)]

    def _check_call(
        self, input_ids: Tensor, positions: Tensor | None, output_hidden_states: bool
    ) -> None:
        if len(getattr(input_ids, "shape", ())) != 2:
            shape = tuple(getattr(input_ids, "shape", ()))
            raise ValueError(
                "`input_ids` must be int [B, L], with `input_mask` and `segment_ids` beside it (a "
                f"dict of them goes to AlbertModel). Received: {type(input_ids).__name__} {shape}"
            )
        length, longest = input_ids.shape[1], self.config.max_position_embeddings
        if length is not None and length > longest:
            raise ValueError(
                f"`input_ids` must have at most max_position_embeddings={longest} columns. "
                f"Received: shape {tuple(input_ids.shape)}"
            )
        if positions is not None and output_hidden_states:
            raise ValueError(
                "`output_hidden_states` must be False with `positions`. Received: True"
            )
