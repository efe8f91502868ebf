"""Models that take ids as single files: LiteRT for devices, ONNX for its many runtimes.

Neither has the tokenizer's ops, so the client makes the ids, with the `spiece.model` or the
`tokenizer.json` beside the file. The shared block lies in a file once, however often the model
repeats it.

Letters: B batch, L sequence length.
"""

import collections
import os
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from albert_tf import whole_files
from albert_tf.exporting.check import ExportError
from albert_tf.exporting.exported_weights import ExportedWeights
from albert_tf.exporting.graph_batches import Tensors
from albert_tf.exporting.graph_ids import ID_NAMES
from albert_tf.model.keras_model import AlbertTaskModel
from albert_tf.quiet_tensorflow import quiet_libraries

_ONNX_OPSET = 17
# Largest difference from the model, relative to its largest output.
_TOLERANCES = {"float32": 1e-4, "float16": 2e-2, "int8": 0.25}
_CHECKED_SHAPES = ((1, 1), (3, 40), (2, 128))


def write_litert(
    model: AlbertTaskModel, path: str | os.PathLike, precision: str = "float32"
) -> None:
    """Writes a `.tflite` file with B and L of any size.

    Args:
        model: in float32.
        path: of the file.
        precision: of the weights: float32, float16, or int8 (dynamic range: activations stay
            float32).
    """
    function, specs, module = _function_of_ids(model)
    function = function.get_concrete_function(*specs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    with quiet_libraries():
        whole_files.write_bytes(path, converter.convert())


def run_litert(path: str | os.PathLike, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns {output: array} of a `.tflite` file for {input: int32 array}."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise ExportError(_missing("litert", error)) from error
    return Interpreter(str(path)).get_signature_runner()(**inputs)


def write_onnx(model: AlbertTaskModel, path: str | os.PathLike, precision: str = "float32") -> None:
    """Writes an `.onnx` file with B and L of any size; arguments as of `write_litert`."""
    if precision != "float32":
        raise ValueError(f"an ONNX file must have the precision float32. Received: {precision!r}")
    try:
        import onnx.checker
        import tf2onnx
    except ImportError as error:
        raise ExportError(_missing("onnx", error)) from error
    function, specs, _ = _function_of_ids(model)
    with quiet_libraries():
        graph, _ = tf2onnx.convert.from_function(function, specs, opset=_ONNX_OPSET)
    onnx.checker.check_model(graph)
    whole_files.write_bytes(path, graph.SerializeToString())


def run_onnx(path: str | os.PathLike, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns {output: array} of an `.onnx` file for {input: int32 array}."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ExportError(_missing("onnx", error)) from error
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


# format -> how it is written, run, and named.
FORMATS = {
    "litert": (write_litert, run_litert, ".tflite"),
    "onnx": (write_onnx, run_onnx, ".onnx"),
}
PRECISIONS = tuple(_TOLERANCES)


def write_and_check(
    name: str, model: AlbertTaskModel, path: str | os.PathLike, precision: str
) -> dict[str, Any]:
    """Writes a file and asks it; returns its description for the sheet.

    Args:
        name: one of `FORMATS`.
        model, path, precision: as of `write_litert`.

    Returns:
        {"file", "format", "precision", "bytes", "outputs", "largest_difference"}: the names of the
        outputs, and the difference relative to the largest.

    Raises:
        ExportError: if it does not answer as the model does.
    """
    write, run, _ = FORMATS[name]
    write(model, path, precision)
    largest, furthest = collections.Counter(), collections.Counter()  # of all shapes, by output
    for batch, length in _CHECKED_SHAPES:
        inputs = _random_inputs(model, batch, length)
        expected = model(inputs, training=False)
        expected = _by_name(model, expected)
        answer = run(path, inputs)
        for output, values in expected.items():
            right = np.asarray(values)
            # What masked places say is as large as floats are, and not compared.
            counts = np.abs(right) < 1e20
            largest[output] = max(largest[output], np.abs(right[counts]).max(initial=1e-6))
            # The file has five starts even of texts with fewer tokens; they repeat.
            off = (np.abs(answer[output] - right) * counts).max(initial=0)
            furthest[output] = max(furthest[output], off if np.isfinite(off) else np.inf)
    difference = 0.0
    for output, off in furthest.items():
        relative = float(off / largest[output])
        if not relative <= _TOLERANCES[precision]:
            raise ExportError(
                f"{path}: {output} must be within {_TOLERANCES[precision]:g} of the model. "
                f"Received: a difference of {relative:g}"
            )
        difference = max(difference, relative)
    return {
        "file": pathlib.Path(path).name,
        "format": name,
        "precision": precision,
        "bytes": os.path.getsize(path),
        "outputs": sorted(largest),
        "largest_difference": difference,
    }


def _random_inputs(model: AlbertTaskModel, batch: int, length: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(batch * length)
    length = min(length, model.config.max_position_embeddings)
    shape = (batch, 3, length) if "choice_head" in model.head_names else (batch, length)
    ids = draw.integers(0, model.config.vocab_size, shape, np.int32)
    # From rows of one token to whole ones.
    lengths = draw.integers(1, length + 1, shape[:-1])[..., None]
    mask = (np.arange(length) < lengths).astype(np.int32)
    mask[0, ..., 1:] = 0
    segments = mask * (np.arange(length) >= length // 2).astype(np.int32)
    return dict(zip(ID_NAMES, (ids, mask, segments), strict=True))


def _function_of_ids(
    model: AlbertTaskModel,
) -> tuple[tf.types.experimental.PolymorphicFunction, list[tf.TensorSpec], tf.Module]:
    """Returns the function of ids, its inputs, and the module that holds its weights."""
    weights = ExportedWeights(model, "float32")
    rank = 3 if "choice_head" in model.head_names else 2

    def compute(input_ids: tf.Tensor, input_mask: tf.Tensor, segment_ids: tf.Tensor) -> Tensors:
        inputs = dict(zip(ID_NAMES, (input_ids, input_mask, segment_ids), strict=True))
        with weights.in_use():
            outputs = model(inputs, training=False)
        return _by_name(model, outputs)

    specs = [tf.TensorSpec([None] * rank, tf.int32, name=name) for name in ID_NAMES]
    module = tf.Module()
    module.weights = weights.stored
    return tf.function(compute, input_signature=specs, autograph=False), specs, module


def _by_name(model: AlbertTaskModel, outputs: tf.Tensor | Tensors) -> Tensors:
    if isinstance(outputs, dict):
        return outputs
    return {"embedding" if model.kind == "embedding" else "scores": outputs}


def _missing(extra: str, error: ImportError) -> str:
    return f"more packages are needed ({error}): pip install 'albert_tf[{extra}]'"
