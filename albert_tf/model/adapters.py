"""Low-rank adapters on the shared block: few weights to train, a whole ALBERT to keep.

The kernels of the block stay as they are; to each the product of two thin matrices is added (LoRA,
https://arxiv.org/abs/2106.09685). As ALBERT's layers share one block, that product is made once a
step and serves all layers. In a model directory there are no adapters: what is written has them
added in. Configs of Keras name them beside what else is frozen, for files and clones.
"""

from typing import Any, Self

import keras
import numpy as np

from albert_tf.model import layers
from albert_tf.model.layers import Linear


class KeepsParts:
    """A model or encoder whose adapters, and what is frozen in it, stand in its config.

    So they are in `.keras` files and clones.
    """

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes, as JSON types."""
        values, settings = super().get_config(), describe(self)
        frozen = layers.find_frozen(self)
        if settings is not None:
            values["adapters"] = settings
        if frozen or settings is not None:
            values["frozen"] = frozen
        if not layers.has_built_parts(self):
            values["unbuilt"] = True  # what a subclass adds, before it is called
        return values

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Returns what `get_config` described: its adapters, what is frozen in it."""
        config = dict(config)
        settings, frozen = config.pop("adapters", None), config.pop("frozen", None)
        is_unbuilt = config.pop("unbuilt", False)
        made = super().from_config(config)
        if not is_unbuilt:
            made.build_parts()
        if settings is not None:
            add_adapters(made, **settings)
        if frozen is not None:
            layers.freeze(made, frozen)
        return made

    def finish(self) -> None:
        """Ends the constructor of a model, whose parts are all there."""
        self.built = True
        layers.freeze_parts(self)

    def build_parts(self) -> None:
        """Builds what would be built in the first call."""


def add_adapters(model: keras.layers.Layer, rank: int, alpha: float | None = None) -> None:
    """Lets a model train by adapters: of the encoder they alone learn, beside pooler and head.

    As in Keras, `trainable = True` of the encoder, also behind a `False`, has all of it learn.

    Args:
        model: an `AlbertTaskModel` or `AlbertEncoder` before it is compiled.
        rank: R, the width of the thin matrices [in, R] and [R, out], at least 1 and no more than
            any kernel's smaller side.
        alpha: the product is scaled by alpha / R; by default 2 R, as is usual.

    Raises:
        ValueError: for a rank that does not fit, or a model that has adapters already.
        TypeError: for a model of another kind.
    """
    config = getattr(model, "config", None)
    if config is None:
        raise TypeError(
            f"`model` must be an AlbertTaskModel or AlbertEncoder, such as that in a model of your "
            f"own. Received: {type(model).__name__}"
        )
    largest = min(config.hidden_size, config.intermediate_size)
    if not 1 <= rank <= largest:
        raise ValueError(f"`rank` must lie in 1..{largest} for this model. Received: {rank}")
    linears = _linears(model)
    if any(linear.has_adapter for linear in linears):
        raise ValueError("`model` must have no adapters yet. Received: one with adapters")
    encoder = _encoder_of(model)
    for layer in (model, encoder):
        if not layer.trainable:  # in which no adapter would learn
            layer.trainable = True
    for part in (encoder.embeddings, encoder.embedding_projection, *encoder.blocks):
        for variable in part.weights:
            variable.trainable = False
    for linear in linears:
        linear.add_adapter(rank, 2.0 if alpha is None else alpha / rank)


def describe(model: keras.layers.Layer) -> dict[str, float] | None:
    """Returns what `add_adapters` was given, {"rank", "alpha"}, or None without adapters."""
    first = _linears(model)[0]
    if not first.has_adapter:
        return None
    rank = int(first.adapter_in.shape[1])
    return {"rank": rank, "alpha": first.adapter_scale * rank}


def merged_weights(model: keras.Model) -> dict[str, np.ndarray]:
    """Returns {our path: float32 array} of a model's weights, adapters added in."""
    merged = {id(linear.kernel): linear.adapted_kernel() for linear in _linears(model)}
    return {
        path: np.asarray(merged.get(id(variable), variable.value), np.float32)
        for path, variable in model.weights_by_path().items()
    }


def clear(model: keras.Model) -> None:
    """Makes the adapters add nothing, for weights that were just read and are whole."""
    for linear in _linears(model):
        if linear.has_adapter:
            linear.adapter_out.assign(np.zeros(linear.adapter_out.shape, np.float32))


def _encoder_of(model: keras.layers.Layer) -> keras.layers.Layer:
    return getattr(model, "encoder", model)


def _linears(model: keras.layers.Layer) -> list[Linear]:
    return [linear for block in _encoder_of(model).blocks for linear in block.linears()]
