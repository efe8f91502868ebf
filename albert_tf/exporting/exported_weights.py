"""A model's weights as a SavedModel holds them: in float32, bfloat16 or int8.

A block keeps its matrices as it computes with them (`modeling.BlockWeights`): query, key and value
joined, the query already divided. So nothing is prepared again with every request.

Letters: H width, V vocabulary, E embedding size.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import keras
import tensorflow as tf

from albert_tf.checkpoints.safetensors_files import quantize
from albert_tf.model.keras_model import AlbertTaskModel
from albert_tf.model.modeling import BlockWeights, Embeddings, TransformerBlock

# What layers compute with; int8 weights are stretched to float32, which every server has.
DTYPE_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "int8": "float32"}


class ExportedWeights:
    """The weights of a model, in the form that is saved.

    Args:
        model: of the dtype policy that `DTYPE_POLICIES` names.
        precision: of `settings.PRECISIONS`. bfloat16 keeps the blocks' weights in it and
            the rest in float32; int8 keeps all matrices as whole numbers with a factor for each
            output (each word, of the word table).

    Attributes:
        stored: the variables.
    """

    def __init__(self, model: AlbertTaskModel, precision: str):
        self._to_int8 = precision == "int8"
        self._substitutes = []
        self.stored: list[tf.Variable] = []
        prepared = set()
        for layer in _layers_of(model):
            if isinstance(layer, TransformerBlock):
                self._add_block(layer)
                prepared |= {id(inner) for inner in layer.linears() + layer.layer_norms()}
        for layer in _layers_of(model):
            if id(layer) not in prepared:
                self._add_variables(layer)

    def _add_block(self, block: TransformerBlock) -> None:
        values = block.prepare_weights()
        readers = [
            self._store(value, f"{block.path}/{name}") for name, value in values._asdict().items()
        ]
        self._substitutes.append((block, "prepare_weights", lambda: _prepared(readers)))

    def _add_variables(self, layer: keras.layers.Layer) -> None:
        for name, value in list(vars(layer).items()):
            if not isinstance(value, keras.Variable):
                continue
            is_words = isinstance(layer, Embeddings) and name == "word_embeddings"
            axis = 1 if is_words else 0
            read = self._store(value.value, value.path, axis)
            self._substitutes.append((layer, name, read))
            if is_words and self._to_int8:
                self._substitutes.append((layer, "look_up", self._word_reader()))

    def _word_reader(self) -> Callable[[], Callable[[tf.Tensor], tf.Tensor]]:
        numbers, factors = self.stored[-2:]
        return lambda: (
            lambda ids: tf.cast(tf.gather(numbers, ids), tf.float32) * tf.gather(factors, ids)
        )

    def _store(self, value: tf.Tensor, name: str, axis: int = 0) -> Callable[[], tf.Tensor]:
        """Keeps a weight; returns a function that gives it inside a graph.

        Args:
            value: the weight.
            name: of its variables.
            axis: over which the values that share a factor lie.
        """
        name = name.replace("/", "_")
        if not self._to_int8 or len(value.shape) < 2:
            variable = tf.Variable(value, trainable=False, name=name)
            self.stored.append(variable)
            return lambda: tf.convert_to_tensor(variable)
        numbers, factors = quantize(value, axis)
        numbers = tf.Variable(numbers, trainable=False, name=name)
        factors = tf.Variable(factors, trainable=False, name=f"{name}_factors")
        self.stored += [numbers, factors]
        return lambda: tf.cast(numbers, tf.float32) * factors

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Within it the model's layers compute with these weights instead of their own."""
        before = []
        for layer, name, read in self._substitutes:
            before.append((layer, name, vars(layer).get(name)))
            # Past Keras, which would track it.
            object.__setattr__(layer, name, read())
        try:
            yield
        finally:
            for layer, name, value in before:
                if value is None:
                    object.__delattr__(layer, name)
                else:
                    object.__setattr__(layer, name, value)


def _layers_of(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns a model and the layers that attributes hold, its own and theirs, each once."""
    layers = [model]
    for layer in layers:
        for value in vars(layer).values():
            for inner in value if isinstance(value, list) else [value]:
                if isinstance(inner, keras.layers.Layer) and inner not in layers:
                    layers.append(inner)
    return layers


def _prepared(readers: Sequence[Callable[[], tf.Tensor]]) -> Callable[[], BlockWeights]:
    """Returns what stands for `prepare_weights`: the weights are read here and only once."""
    weights = BlockWeights(*(read() for read in readers))
    return lambda: weights


def round_weights(model: keras.Model) -> None:
    """Gives all matrices of a model the values that int8 leaves of them."""
    for layer in _layers_of(model):
        for name, variable in vars(layer).items():
            if isinstance(variable, keras.Variable) and len(variable.shape) == 2:
                axis = 1 if name == "word_embeddings" else 0
                numbers, factors = quantize(variable.numpy(), axis)
                variable.assign(numbers * factors)
