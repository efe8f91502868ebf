"""The ALBERT encoder: token ids in, one vector a token and one a text out.

ids -> embeddings (width E) -> projection (width H) -> the same block over and over -> pooler.
ALBERT's two savings are visible as two lines: the embedding tables are E wide, not H, and every
layer calls a block that already exists (https://arxiv.org/abs/1909.11942, section 3.1).

Letters: B batch, L sequence length, Q positions asked for (all L, or fewer in the last layer),
K places for examples in a packed row, E embedding size, H hidden size.
"""

import typing
from collections.abc import Sequence

import keras
from keras import ops

from albert_tf import setting_checks
from albert_tf.config import AlbertConfig, as_config
from albert_tf.model import fused_ops, model_inputs
from albert_tf.model.adapters import KeepsParts
from albert_tf.model.block import BlockWeights, TransformerBlock, pass_choices
from albert_tf.model.layers import (
    ComputedOnce,
    Dropout,
    LayerNorm,
    Linear,
    add_matrix,
    freeze_parts,
    next_dropout_seed,
    nth_dropout_seed,
)
from albert_tf.model.tensors import Tensor

# What the original adds to the score of a padded key: representable in float16, and small enough
# that its exponential is exactly zero in float32.
PADDING_SCORE = -10000.0


class Embeddings(ComputedOnce, keras.layers.Layer):
    """Word + segment + position, normalised: ids [B, L] -> [B, L, E]."""

    def __init__(self, config: AlbertConfig, **kwargs):
        super().__init__(autocast=False, **kwargs)
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

    def call(
        self,
        input_ids: Tensor,
        segment_ids: Tensor,
        position_ids: Tensor | None = None,
        training: bool = False,
    ) -> Tensor:
        """Returns [B, L, E] in the compute dtype, summed and normalised in float32.

        Args:
            input_ids, segment_ids: int [B, L].
            position_ids: int [B, L]; None for 0 to L - 1 in every row.
            training: whether to drop out.
        """
        words = self.look_up(input_ids)  # [B, L, E]
        kinds = ops.one_hot(segment_ids, self.config.type_vocab_size)  # [B, L, kinds]
        segments = fused_ops.multiply(kinds, ops.cast(self.token_type_embeddings, "float32"))
        positions = ops.cast(self.position_embeddings, "float32")
        if position_ids is None:
            positions = positions[: ops.shape(input_ids)[1]]  # [L, E]
        else:
            positions = fused_ops.embed(positions, position_ids)  # [B, L, E]
        outputs = self.layer_norm(words, residual=segments + positions)  # [B, L, E]
        return self.dropout(ops.cast(outputs, self.compute_dtype), training=training)


@keras.saving.register_keras_serializable(package="albert_tf")
class AlbertEncoder(KeepsParts, ComputedOnce, keras.layers.Layer):
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
        setting_checks.check_bool("pooler", pooler)
        # Keras would round ids that are floats to what is computed in.
        super().__init__(name=name, **{"autocast": False, **kwargs})
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
        if fused_ops.ON_TENSORFLOW:  # whose tf.train.Checkpoint does not look into Keras's lists
            for number, block in enumerate(self.blocks):
                self._track_trackable(block, f"block_{number}")
        self.pooler = Linear(config, hidden, hidden, name="pooler", **policy) if pooler else None
        self.build()

    def build(self, *_) -> None:
        """Makes every variable, once: a model around it may call it as Keras's own layers'."""
        if self.built:
            return
        self.embeddings.build()
        self.embedding_projection.build()
        for number, block in enumerate(self.blocks):
            with keras.name_scope(f"group_{number // self.config.inner_group_num}"):
                block.build()
        if self.pooler is not None:
            self.pooler.build()
        freeze_parts(self)

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
        example_numbers: Tensor | None = None,
        cls_positions: Tensor | None = None,
        output_attentions: bool = False,
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
            example_numbers: int [B, L], which of several examples in a row a token belongs to, 0
                for padding. Each is encoded as if alone. None means one example a row.
            cls_positions: int [B, K], where the pooler reads; None means position 0.
            output_attentions: whether to return how much each position looks at each.

        Returns:
            A dict in the compute dtype: `sequence_output` [B, L, H] (or [B, Q, H] with
            `positions`), `pooled_output` [B, H] if there is a pooler ([B, K, H] with
            `cls_positions`) and, on request, `hidden_states`, a list of num_hidden_layers + 1
            tensors [B, L, H]: the projected embeddings, then each layer; and `attentions`, a list
            of probabilities [B, N, L, L], one for each pass of a block, before dropout.
        """
        beside = {"input_mask": input_mask, "segment_ids": segment_ids}
        self._check_call(input_ids, beside, positions, output_hidden_states, output_attentions)
        input_ids = model_inputs.as_whole(input_ids)
        if input_mask is None:
            input_mask = ops.ones_like(input_ids)
        if segment_ids is None:
            segment_ids = ops.zeros_like(input_ids)
        segment_ids = ops.cast(segment_ids, "int32")
        mask_scores = (1.0 - ops.cast(input_mask, self.compute_dtype)) * PADDING_SCORE
        mask_scores = ops.expand_dims(mask_scores, (1, 2))  # [B, 1, 1, L]
        position_ids = None
        if example_numbers is not None:
            is_same = ops.equal(example_numbers[:, :, None], example_numbers[:, None])  # [B, L, L]
            apart = (1.0 - ops.cast(is_same, self.compute_dtype)) * PADDING_SCORE
            mask_scores = ops.minimum(mask_scores, ops.expand_dims(apart, 1))  # [B, 1, L, L]
            position_ids = count_before(is_same)  # [B, L]
        num_pooled = 1
        if positions is not None:
            # The pooler reads there, whatever else was asked for.
            first = ops.zeros((ops.shape(positions)[0], 1), positions.dtype)
            if cls_positions is not None:
                first = ops.cast(cls_positions, positions.dtype)
                num_pooled = ops.shape(cls_positions)[1]
            positions = ops.concatenate([first, positions], axis=1)  # [B, 1 or K + Q]

        hidden = self.embeddings(
            input_ids, segment_ids, position_ids=position_ids, training=training
        )  # [B, L, E]
        hidden = self.embedding_projection(hidden)  # [B, L, H]
        passes, layers = BlockPasses(mask_scores, training), self.blocks_by_layer()
        looped_layers = 0
        can_loop = len(self.blocks) == 1 and len(layers) > 2
        can_loop = can_loop and not (output_hidden_states or output_attentions)
        if pass_choices().as_loop and can_loop:
            looped_layers = len(layers) - 1  # the last may be for `positions` alone
            hidden = passes.take_many(self.blocks[0], hidden, looped_layers)
        hidden_states, attentions = [hidden], []
        for number, blocks in enumerate(layers[looped_layers:], looped_layers + 1):
            for block in blocks:
                if output_attentions:
                    attentions.append(passes.attention_probabilities(block, hidden))
                is_last = number == len(layers) and block is blocks[-1]
                hidden = passes.take(block, hidden, positions if is_last else None)
            hidden_states.append(hidden)
        outputs = {"sequence_output": hidden if positions is None else hidden[:, num_pooled:]}
        if self.pooler is not None:
            if cls_positions is None:
                first = hidden[:, 0]  # [B, H]
            elif positions is None:
                first = fused_ops.gather_positions(hidden, cls_positions)  # [B, K, H]
            else:
                first = hidden[:, :num_pooled]  # [B, K, H]
            outputs["pooled_output"] = ops.tanh(self.pooler(first))
        if output_hidden_states:
            outputs["hidden_states"] = hidden_states
        if output_attentions:
            outputs["attentions"] = attentions
        return outputs

    def blocks_by_layer(self) -> list[list[TransformerBlock]]:
        """Returns for each layer the blocks of its group, dealt out as the original does."""
        size, config = self.config.inner_group_num, self.config
        groups = [self.blocks[start : start + size] for start in range(0, len(self.blocks), size)]
        return [groups[config.group_of_layer(n)] for n in range(config.num_hidden_layers)]

    def _check_call(
        self,
        input_ids: Tensor,
        beside: dict[str, Tensor | None],
        positions: Tensor | None,
        output_hidden_states: bool,
        output_attentions: bool,
    ) -> None:
        if len(getattr(input_ids, "shape", ())) != 2:
            shape = tuple(getattr(input_ids, "shape", ()))
            raise ValueError(
                "`input_ids` must be int [B, L], with `input_mask` and `segment_ids` beside it (a "
                f"dict of them goes to AlbertModel). Received: {type(input_ids).__name__} {shape}"
            )
        for name, value in beside.items():
            if len(getattr(value, "shape", (0, 0))) != 2:
                shape = tuple(value.shape)
                raise ValueError(f"`{name}` must be int [B, L]. Received: shape {shape}")
        length, longest = input_ids.shape[1], self.config.max_position_embeddings
        if length is not None and length > longest:
            raise ValueError(
                f"`input_ids` must have at most max_position_embeddings={longest} columns. "
                f"Received: shape {tuple(input_ids.shape)}"
            )
        requests = {
            "output_hidden_states": output_hidden_states,
            "output_attentions": output_attentions,
        }
        for name, is_asked in requests.items():
            if positions is not None and is_asked:
                raise ValueError(f"`{name}` must be False with `positions`. Received: True")


def count_before(is_same: Tensor) -> Tensor:
    """Returns int32 [B, L]: how many of the tokens before each are of the same example.

    Args:
        is_same: bool [B, L, L], whether two tokens are of the same example.
    """
    length = ops.shape(is_same)[1]
    place = ops.arange(length)
    is_before = ops.greater(place[:, None], place[None])  # [L, L]
    return ops.sum(ops.cast(ops.logical_and(is_same, is_before), "int32"), axis=-1)


class BlockPasses:
    """The passes of one call of an encoder, as `pass_choices` says.

    Args:
        mask_scores: [B, 1, 1 or L, L], see `TransformerBlock.call`.
        training: whether to drop out.
    """

    def __init__(self, mask_scores: Tensor, training: bool):
        self._mask_scores = mask_scores
        self._training = training
        self._recompute = pass_choices().recompute
        self._weights: dict[TransformerBlock, Sequence[Tensor]] = {}  # made once for all passes
        self._seed = next_dropout_seed() if training else None
        self._taken = 0

    def take(
        self, block: TransformerBlock, hidden_states: Tensor, positions: Tensor | None
    ) -> Tensor:
        """Returns the block of [B, L, H] at `positions` [B, Q], None for all: [B, Q, H]."""
        seeds = self._draw_seeds(block, self._taken)
        self._taken += 1
        hidden_states, self._weights[block] = self._apply(
            block, hidden_states, seeds, self._weights_of(block), positions
        )
        return hidden_states

    def take_many(self, block: TransformerBlock, hidden_states: Tensor, passes: int) -> Tensor:
        """Returns the block of the block of ... of [B, L, H], in one loop of the graph."""
        weights = self._weights_of(block)
        drawn = []  # Keras's generators are variables, which do not draw inside a loop's gradient
        if self._seed is None:
            by_pass = [self._draw_seeds(block, number) for number in range(passes)]
            drawn = [ops.stack(seeds) for seeds in zip(*by_pass, strict=True)]  # [passes, 2] each

        def take(number: Tensor, hidden_states: Tensor) -> tuple[Tensor, Tensor]:
            seeds = [seeds[number] for seeds in drawn]
            if self._seed is not None:
                seeds = self._draw_seeds(block, number)
            return number + 1, self._apply(block, hidden_states, seeds, weights)[0]

        self._taken += passes
        return ops.while_loop(
            lambda number, _: number < passes,
            take,
            (ops.convert_to_tensor(0, "int32"), hidden_states),
            maximum_iterations=passes,  # without it XLA has no gradient of a loop
        )[1]

    def attention_probabilities(self, block: TransformerBlock, hidden_states: Tensor) -> Tensor:
        """Returns [B, N, L, L] of the pass that the block is about to make of [B, L, H]."""
        weights = BlockWeights(*self._weights_of(block))
        return block.attention_probabilities(hidden_states, self._mask_scores, weights)

    def _weights_of(self, block: TransformerBlock) -> Sequence[Tensor]:
        if block not in self._weights:
            self._weights[block] = block.prepare_weights()
        return self._weights[block]

    def _draw_seeds(self, block: TransformerBlock, number: int | Tensor) -> list[Tensor]:
        """Returns the seeds of the pass of a number from 0 on, however it is taken."""
        pass_seed = None if self._seed is None else nth_dropout_seed(self._seed, number + 1)
        return block.draw_seeds(self._training, pass_seed)

    def _apply(
        self,
        block: TransformerBlock,
        hidden_states: Tensor,
        seeds: Sequence[Tensor],
        weights: Sequence[Tensor],
        positions: Tensor | None = None,
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Returns what one pass gives, and the weights for the next."""

        def call(hidden_states: Tensor, seeds: list[Tensor], weights: list[Tensor]) -> Tensor:
            return block(
                hidden_states,
                ops.stop_gradient(self._mask_scores),
                positions=positions,
                weights=BlockWeights(*weights),
                seeds=seeds,
                training=self._training,
            )

        if self._recompute:
            return fused_ops.compute_again(call, hidden_states, seeds, weights)
        return call(hidden_states, seeds, weights), weights
