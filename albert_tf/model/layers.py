"""The layers that encoder and heads are made of: what Keras has, in ALBERT's precision.

Variables have the policy's dtype, float32 in mixed ones, and are cast where they are used;
`add_matrix` and `add_vector` make all of them, so that a model about to be read from disk can be
built without drawing values.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterable, Iterator

import keras
from keras import ops

from albert_tf.config import AlbertConfig
from albert_tf.model import fused_ops
from albert_tf.model.tensors import Tensor

# The last part of the paths of adapters' variables.
ADAPTER_NAMES = ("adapter_in", "adapter_out")
_WITHOUT_VALUES = contextvars.ContextVar("without_values", default=False)
# [seed, how often a seed was made of it] of the innermost `dropout_seed`.
_DROPOUT_SEED = contextvars.ContextVar("dropout_seed", default=(None, 0))


@contextlib.contextmanager
def without_values() -> Iterator[None]:
    """Within it, layers are built without drawing values: for weights about to be read.

    Neither the time for the random numbers is spent nor, until they are read, the memory.
    """
    token = _WITHOUT_VALUES.set(True)
    try:
        yield
    finally:
        _WITHOUT_VALUES.reset(token)


def add_matrix(layer: keras.layers.Layer, name: str, shape: tuple[int, ...]) -> keras.Variable:
    """Adds a variable with ALBERT's initialiser to `layer`, which casts it itself."""
    initializer = keras.initializers.TruncatedNormal(stddev=layer.config.initializer_range)
    if _WITHOUT_VALUES.get():
        initializer = _reserve
    return layer.add_weight(name=name, shape=shape, initializer=initializer, autocast=False)


def _reserve(shape: tuple[int, ...], dtype: str) -> Tensor:
    """Returns a tensor with whatever its memory holds; the system lends that when it is written."""
    if keras.backend.backend() != "tensorflow":
        return ops.zeros(shape, dtype)
    import tensorflow as tf

    return tf.raw_ops.Empty(shape=shape, dtype=dtype, init=False)


def add_vector(layer: keras.layers.Layer, name: str, size: int, initializer: str) -> keras.Variable:
    """Adds a vector of zeros or ones to `layer`, which casts it itself."""
    return layer.add_weight(name=name, shape=(size,), initializer=initializer, autocast=False)


class ComputedOnce:
    """A layer that `keras.RematScope` leaves alone: only the repeats of the block are worth it."""

    def rematerialized_call(self, layer_call: Callable, *args, **kwargs) -> Callable:
        """Returns `layer_call`."""
        del args, kwargs
        return layer_call


@contextlib.contextmanager
def dropout_seed(seed: Tensor | None) -> Iterator[None]:
    """Within it, masks of dropout depend on `seed`, int32 [2], and on their order alone.

    So whoever computes a part of a batch, and however often, drops the same. With None, Keras's
    seed generators go on drawing. TensorFlow only.
    """
    token = _DROPOUT_SEED.set([seed, 0])
    try:
        yield
    finally:
        _DROPOUT_SEED.reset(token)


def next_dropout_seed() -> Tensor | None:
    """Returns another seed, int32 [2], for each call within `dropout_seed`; None outside."""
    state = _DROPOUT_SEED.get()
    if state[0] is None:
        return None
    state[1] += 1
    return nth_dropout_seed(state[0], state[1])


def nth_dropout_seed(seed: Tensor, number: int | Tensor) -> Tensor:
    """Returns the seed that the call of a number, from 1 on, gets within `dropout_seed(seed)`."""
    import tensorflow as tf  # what gives seeds is there already

    return tf.random.fold_in(seed, number)


class Dropout(ComputedOnce, keras.layers.Dropout):
    """Dropout whose seed may be drawn before it is called, where its call is computed twice."""

    def draw_seed(self) -> Tensor:
        """Returns the seed of one call, [2], of `dropout_seed` or Keras's generator."""
        seed = next_dropout_seed()
        if seed is not None:
            return seed
        seed = self.seed_generator.next()
        if not fused_ops.ON_TENSORFLOW:
            return seed
        seed = ops.cast(seed % (2**31 - 2), "int32")  # as Keras does, since XLA takes no other
        return fused_ops.seed_of_replica(seed)

    def call(self, inputs: Tensor, training: bool = False, seed: Tensor | None = None) -> Tensor:
        """Returns `inputs` with some numbers 0 and the others as much larger, if it trains.

        Args:
            inputs: of any shape.
            training: whether it trains.
            seed: what `draw_seed` returned, where the caller drew it.
        """
        if not training or not self.rate:
            return inputs
        seed = self.draw_seed() if seed is None else seed
        if not fused_ops.ON_TENSORFLOW:
            return keras.random.dropout(inputs, self.rate, seed=_DrawnSeed(seed))
        import tensorflow as tf

        return tf.nn.experimental.stateless_dropout(
            inputs, rate=self.rate, seed=seed, rng_alg="philox"
        )


class _DrawnSeed(keras.random.SeedGenerator):
    """A seed that was drawn already, in the form that Keras takes."""

    def __init__(self, seed: Tensor):
        self._seed = seed  # and no variable, which Keras's own constructor would make

    def next(self, ordered: bool = True) -> Tensor:
        """Returns the seed."""
        del ordered
        return self._seed


class Linear(ComputedOnce, keras.layers.Layer):
    """`inputs kernel + bias` over the last axis."""

    def __init__(
        self,
        config: AlbertConfig,
        input_size: int,
        output_size: int,
        use_bias: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.config = config
        self.input_size = input_size
        self.output_size = output_size
        self.use_bias = use_bias

    def build(self) -> None:
        """Makes `kernel` [in, out] and, unless told not to, `bias` [out]."""
        self.kernel = add_matrix(self, "kernel", (self.input_size, self.output_size))
        if self.use_bias:
            self.bias = add_vector(self, "bias", self.output_size, "zeros")
        self.has_adapter = False

    def add_adapter(self, rank: int, scale: float) -> None:
        """Freezes the kernel; `scale` times a product of two matrices is added, and learns.

        `adapter_in` [in, rank] starts as kernels do, `adapter_out` [rank, out] at zero.
        """
        self.kernel.trainable = False
        self.adapter_scale, self.has_adapter = scale, True
        # As Keras's own `enable_lora`: nothing public lets a layer that was built have new weights.
        self._tracker.unlock()
        self.adapter_in = add_matrix(self, ADAPTER_NAMES[0], (self.input_size, rank))
        self.adapter_out = self.add_weight(
            name=ADAPTER_NAMES[1],
            shape=(rank, self.output_size),
            initializer="zeros",
            autocast=False,
        )
        self._tracker.lock()
        for variable in (self.adapter_in, self.adapter_out):
            variable.trainable = True  # also in a layer that is frozen

    def adapted_kernel(self) -> Tensor:
        """Returns the kernel [in, out] that is in force."""
        if not self.has_adapter:
            return self.kernel
        return self.kernel + self.adapter_scale * ops.matmul(self.adapter_in, self.adapter_out)

    def call(
        self, inputs: Tensor, activation: str | None = None, dtype: str | None = None
    ) -> Tensor:
        """Maps [..., in] to [..., out], through the named activation if there is one.

        `dtype` is what to compute in, by default as the policy says.
        """
        dtype = dtype or self.compute_dtype
        inputs, kernel = ops.cast(inputs, dtype), ops.cast(self.adapted_kernel(), dtype)
        if not self.use_bias:
            return fused_ops.multiply(inputs, kernel)
        bias = ops.cast(self.bias, dtype)
        return fused_ops.dense(inputs, kernel, bias, activation)


class LayerNorm(ComputedOnce, keras.layers.Layer):
    """Layer normalisation in float32 whatever the policy: epsilon 1e-12 is zero in float16."""

    def __init__(self, config: AlbertConfig, size: int, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.epsilon = config.layer_norm_eps
        self.size = size

    def build(self) -> None:
        """Makes `gamma` and `beta`."""
        self.gamma = add_vector(self, "gamma", self.size, "ones")
        self.beta = add_vector(self, "beta", self.size, "zeros")

    def call(
        self, inputs: Tensor, residual: Tensor | None = None, bias: Tensor | None = None
    ) -> Tensor:
        """Returns the normalised sum of what is given, [..., size], in the dtype of `inputs`."""
        gamma, beta = ops.cast(self.gamma, "float32"), ops.cast(self.beta, "float32")
        if residual is None:
            return fused_ops.layer_norm(inputs, gamma, beta, self.epsilon)
        if bias is None:
            bias = ops.zeros((self.size,), inputs.dtype)
        return fused_ops.residual_layer_norm(inputs, bias, residual, gamma, beta, self.epsilon)


def freeze_parts(layer: keras.layers.Layer) -> None:
    """Freezes what a layer was made of, where its constructor was told `trainable=False`.

    Keras tells it to the layer alone, and a model around it asks the variables.
    """
    if not layer.trainable:
        for part in layer._flatten_layers():
            for weight in part.weights:
                weight.trainable = False
            part.trainable = False


def has_built_parts(layer: keras.layers.Layer) -> bool:
    """Returns whether all that a layer is made of has its variables."""
    return all(part.built for part in layer._flatten_layers(include_self=False))


def find_frozen(layer: keras.layers.Layer) -> list[int]:
    """Returns which of a layer's weights are not trained, as places in `layer.weights`."""
    return [place for place, weight in enumerate(layer.weights) if not weight.trainable]


def freeze(layer: keras.layers.Layer, places: Iterable[int]) -> None:
    """Freezes these weights of a layer and no others; layers in it are frozen that have no other.

    Args:
        layer: the model or layer.
        places: as of `find_frozen`.
    """
    frozen = set(places)

    def set_weights() -> None:
        for place, weight in enumerate(layer.weights):
            weight.trainable = place not in frozen

    set_weights()
    parts = [part for part in layer._flatten_layers(include_self=False) if part.weights]
    learns = [any(weight.trainable for weight in part.weights) for part in parts]
    for part, is_trainable in zip(parts, learns, strict=True):
        part.trainable = is_trainable
    set_weights()  # once more, as a layer sets all weights in it
