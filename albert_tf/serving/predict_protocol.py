"""The JSON of TensorFlow Serving's REST interface: requests to arrays, arrays to responses.

Letters: B rows of a request.
"""

import base64
import binascii
import contextlib
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from albert_tf.json_files import JsonError, listed, parse_object, shorten
from albert_tf.serving.saved_model_reader import as_json
from albert_tf.serving.settings import Limits

DEFAULT_SIGNATURE = "serving_default"
_KEYS = ("signature_name", "instances", "inputs")
_MOST_AXES = 32  # NumPy has 64
# What NumPy may make of the JSON for each type that it can be turned into.
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_FLOATS = ("bfloat16", "float16", "float32", "float64")
_READABLE_KINDS = {
    **dict.fromkeys(_FLOATS, "fiu"),
    **dict.fromkeys(_INTEGERS, "iu"),
    "bool": "b",
}
BYTES_SUFFIX = "_bytes"  # outputs that are so called are base64, as in TensorFlow Serving
# What other libraries call inputs, and what models of ours do.
_OTHER_NAMES = {"attention_mask": "input_mask", "token_type_ids": "segment_ids"}


class RequestError(ValueError):
    """A request that cannot be answered; says what was expected and what came."""


@dataclasses.dataclass(frozen=True)
class TensorDescription:
    """An input or output: TensorFlow's name of its type, and its shape; None if any."""

    dtype: str
    shape: tuple[int | None, ...] | None

    @property
    def has_rows(self) -> bool:
        """Whether its first dimension is a number of rows that the caller chooses."""
        return bool(self.shape) and self.shape[0] is None


@dataclasses.dataclass(frozen=True)
class SignatureDescription:
    """Inputs and outputs, {name: `TensorDescription`}."""

    inputs: dict[str, TensorDescription]
    outputs: dict[str, TensorDescription]

    @property
    def works_by_rows(self) -> bool:
        """Whether it turns rows into rows, so that requests may be joined."""
        tensors = [*self.inputs.values(), *self.outputs.values()]
        return bool(self.inputs) and all(tensor.has_rows for tensor in tensors)


@dataclasses.dataclass(frozen=True)
class PredictRequest:
    """What a client asks.

    Attributes:
        signature: its name.
        inputs: {name: array [B, ...]}, strings as objects of bytes.
        rows: B; None if the signature does not work by rows.
        instances: how many, where the answer is wanted as `predictions`; None: as `outputs`.
    """

    signature: str
    inputs: dict[str, np.ndarray]
    rows: int | None
    instances: int | None


def read_request(
    body: bytes | str, signatures: Mapping[str, SignatureDescription], limits: Limits
) -> PredictRequest:
    """Reads the body of a `:predict` request.

    Args:
        body: JSON, with `instances` (a list of rows) or `inputs` (a list a tensor).
        signatures: of the model, by name.
        limits: what a request may ask for.

    Raises:
        RequestError: naming what is wrong.
    """
    content = _read_json(body)
    name = content.get("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(name, str) or name not in signatures:
        raise RequestError(
            f"signature_name must be one of {', '.join(sorted(signatures))}. Received: "
            f"{shorten(name)}"
        )
    tensors = signatures[name].inputs
    if "instances" in content:
        if signatures[name].works_by_rows and isinstance(content["instances"], list):
            _check_rows(len(content["instances"]), limits)
        columns = _columns_of_rows(content["instances"], tensors)
        instances = len(content["instances"])
    else:
        columns, instances = _columns(content["inputs"], tensors), None
    return make_request(name, columns, signatures, limits, instances)


def make_request(
    name: str,
    columns: Mapping[str, Any],
    signatures: Mapping[str, SignatureDescription],
    limits: Limits,
    instances: int | None = None,
) -> PredictRequest:
    """Returns what a signature is asked, of JSON values {input: list}.

    Raises:
        RequestError: naming what does not fit its inputs or the limits.
    """
    tensors = signatures[name].inputs
    inputs = {n: read_array(n, columns[n], tensors[n], limits) for n in tensors}
    return request_of_arrays(name, inputs, signatures, limits, instances)


def request_of_arrays(
    name: str,
    inputs: dict[str, np.ndarray],
    signatures: Mapping[str, SignatureDescription],
    limits: Limits,
    instances: int | None = None,
) -> PredictRequest:
    """Returns what a signature is asked, of arrays that fit its inputs.

    Raises:
        RequestError: naming what does not fit the limits.
    """
    rows = _count_rows(inputs, limits) if signatures[name].works_by_rows else None
    return PredictRequest(name, inputs, rows, instances)


def _count_rows(inputs: dict[str, np.ndarray], limits: Limits) -> int:
    sizes = {n: len(values) for n, values in inputs.items()}
    if len(set(sizes.values())) > 1:
        raise RequestError(f"all inputs must have as many rows. Received: {sizes}")
    rows = next(iter(sizes.values()))
    _check_rows(rows, limits)
    return rows


def _check_rows(rows: int, limits: Limits) -> None:
    if not 1 <= rows <= limits.max_rows:
        raise RequestError(f"a request must have 1 to {limits.max_rows} rows. Received: {rows}")


def _read_json(body: bytes | str) -> dict[str, Any]:
    try:
        content = parse_object(body)
    except JsonError as error:
        raise RequestError(f"the body {error}") from error
    unknown = sorted(content.keys() - set(_KEYS))
    if unknown or ("instances" in content) == ("inputs" in content):
        raise RequestError(
            "the body must have exactly one of instances and inputs, and may have signature_name. "
            f"Received: {listed(content)}"
        )
    return content


def _columns_of_rows(instances: Any, tensors: Mapping[str, TensorDescription]) -> dict[str, list]:
    """Returns {input: list of B values} of rows: values alone where there is one input."""
    if not isinstance(instances, list):
        raise RequestError(f"instances must be a list of rows. Received: {shorten(instances)}")
    columns = {name: [] for name in tensors}
    for number, row in enumerate(instances):
        if len(tensors) == 1 and not _is_named(row):
            row = {next(iter(tensors)): row}
        if not _is_named(row) or row.keys() != tensors.keys():
            raise RequestError(
                f"instance {number} must have the inputs {', '.join(sorted(tensors))}"
                f"{_hint_at_names(row, tensors)}. Received: {shorten(row)}"
            )
        for name, value in row.items():
            columns[name].append(value)
    return columns


def _columns(inputs: Any, tensors: Mapping[str, TensorDescription]) -> dict[str, Any]:
    if len(tensors) == 1 and not _is_named(inputs):
        return {next(iter(tensors)): inputs}
    if not _is_named(inputs):
        raise RequestError(
            f"inputs must have the inputs {', '.join(sorted(tensors))}. Received: {shorten(inputs)}"
        )
    check_inputs(inputs, tensors)
    return inputs


def check_inputs(inputs: Mapping[str, Any], tensors: Mapping[str, TensorDescription]) -> None:
    """Refuses inputs by other names than those of a signature.

    Raises:
        RequestError: with the right names.
    """
    if inputs.keys() != tensors.keys():
        raise RequestError(
            f"inputs must have the inputs {', '.join(sorted(tensors)) or 'none'}"
            f"{_hint_at_names(inputs, tensors)}. Received: {shorten(inputs)}"
        )


def _hint_at_names(names: Any, tensors: Mapping[str, TensorDescription]) -> str:
    """Returns which of the names that came are called otherwise here."""
    hints = [
        f"{theirs} is called {ours} here"
        for theirs, ours in _OTHER_NAMES.items()
        if isinstance(names, dict) and theirs in names and ours in tensors
    ]
    return f" ({', '.join(hints)})" if hints else ""


def _is_named(value: Any) -> bool:
    """Tells whether a value is an object of inputs rather than bytes in base64."""
    return isinstance(value, dict) and value.keys() != {"b64"}


def read_array(name: str, values: Any, tensor: TensorDescription, limits: Limits) -> np.ndarray:
    """Returns the array of JSON values, lists of lists.

    Raises:
        RequestError: naming what does not fit the tensor or the limits.
    """
    if tensor.dtype == "string":
        rank = _depth_of(values) if tensor.shape is None else len(tensor.shape)
        array = _read_strings(name, values, rank, limits)
    else:
        array = _read_numbers(name, values, tensor.dtype)
    check_shape(name, array.shape, tensor)
    return array


def check_shape(name: str, shape: Sequence[int], tensor: TensorDescription) -> None:
    """Refuses a shape that an input cannot have.

    Raises:
        RequestError: with the shape that it must have.
    """
    if len(shape) > _MOST_AXES:
        raise RequestError(f"{name} must have at most {_MOST_AXES} axes. Received: {len(shape)}")
    if tensor.shape is None:
        return
    fits = len(shape) == len(tensor.shape) and all(
        expected in (None, size) for expected, size in zip(tensor.shape, shape, strict=True)
    )
    if not fits:
        expected = ["any" if size is None else size for size in tensor.shape]
        raise RequestError(f"{name} must have the shape {expected}. Received: {list(shape)}")


def _depth_of(values: Any) -> int:
    """Returns how deep lists of lists are."""
    depth = 0
    while isinstance(values, list):
        values, depth = (values[0] if values else None), depth + 1
    return depth


def _read_numbers(name: str, values: Any, dtype: str) -> np.ndarray:
    kinds = _READABLE_KINDS.get(dtype)
    if kinds is None:
        raise RequestError(f"{name} is of type {dtype}, which a request cannot hold")
    try:
        array = np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise RequestError(f"{name} must be a full array of {dtype}. Received: {error}") from error
    if dtype == "uint64" and array.dtype.kind == "f":  # of numbers on both sides of 2^63
        exact = np.array(values, object)
        if all(type(value) is int and 0 <= value < 2**64 for value in exact.flat):
            array = exact.astype(dtype)
    elif array.dtype == object and dtype in _FLOATS and set(map(type, array.flat)) <= {int, float}:
        with contextlib.suppress(OverflowError):  # of numbers beyond 2^64
            array = array.astype(np.float64)
    # NumPy makes numbers of true and false where others stand beside them.
    could_be = (array == 0) | (array == 1) if array.dtype.kind in "iuf" else np.array(False)
    is_mixed = could_be.any() and bool in map(type, np.array(values, object)[could_be])
    if array.size and (array.dtype.kind not in kinds or is_mixed):
        expected = "true or false" if dtype == "bool" else f"numbers of {dtype}"
        raise RequestError(f"{name} must be {expected}. Received: {shorten(values)}")
    if array.size and dtype in _INTEGERS:
        limits = np.iinfo(dtype)
        if array.min() < limits.min or array.max() > limits.max:
            raise RequestError(
                f"{name} must lie in {limits.min}..{limits.max}. Received: {shorten(values)}"
            )
    with np.errstate(over="ignore"):
        numbers = array.astype(dtype)
    if not np.array_equal(np.isinf(numbers), np.isinf(array)):
        raise RequestError(f"{name} must be finite as {dtype}. Received: {shorten(values)}")
    return numbers


def _read_strings(name: str, values: Any, rank: int, limits: Limits) -> np.ndarray:
    shape, level = [], values
    check_shape(name, [0] * rank, TensorDescription("string", None))
    for _ in range(rank):
        if not isinstance(level, list):
            raise RequestError(
                f"{name} must be lists of strings, {rank} deep. Received: {shorten(values)}"
            )
        shape.append(len(level))
        level = level[0] if level else []
    flat = [values]
    for depth, size in enumerate(shape):
        if not all(isinstance(inner, list) and len(inner) == size for inner in flat):
            raise RequestError(
                f"{name} must be a full array, all lists at depth {depth} of one length. "
                f"Received: {shorten(values)}"
            )
        flat = [value for inner in flat for value in inner]
    array = np.empty(shape, object)
    array.reshape(-1)[:] = [_read_string(name, value, limits) for value in flat]
    return array


def _read_string(name: str, value: Any, limits: Limits) -> bytes:
    if isinstance(value, str):
        # A lone surrogate has no UTF-8 form; the model reads it as unknown.
        value = value.encode("utf-8", "surrogatepass")
    elif isinstance(value, dict) and isinstance(value.get("b64"), str) and len(value) == 1:
        try:
            value = base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise RequestError(f"{name}: b64 must be base64. Received: {error}") from error
    else:
        raise RequestError(f'{name} must be strings or {{"b64": ...}}. Received: {shorten(value)}')
    if len(value) > limits.max_text_bytes:
        raise RequestError(
            f"{name}: a text must have at most {limits.max_text_bytes} bytes. "
            f"Received: {len(value)}"
        )
    return value


def write_response(outputs: Mapping[str, np.ndarray], instances: int | None = None) -> bytes:
    """Returns the body of a response, bytes of JSON.

    Args:
        outputs: {name: array}.
        instances: how many were given, for `predictions`, a value or object for each; None for
            `outputs`, an array for each tensor. One output alone stands without its name.

    Raises:
        RequestError: if the outputs cannot be told in the form that was asked for.
        ValueError: if an output is not finite.
    """
    check_finite(outputs)
    columns = {name: _write_array(name, values) for name, values in outputs.items()}
    shapes = {name: list(np.shape(values)) for name, values in outputs.items()}
    if instances is not None and any(s[:1] != [instances] for s in shapes.values()):
        raise RequestError(
            f"instances need a model with outputs for each; ask with inputs. Received: {instances} "
            f"instances, outputs of the shapes {shapes}"
        )
    alone = next(iter(columns.values())) if len(columns) == 1 else None
    if instances is None:
        content = {"outputs": columns if alone is None else alone}
    elif alone is not None:
        content = {"predictions": alone}
    else:
        rows = zip(*columns.values(), strict=True)
        content = {"predictions": [dict(zip(columns, row, strict=True)) for row in rows]}
    return json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")


def check_finite(outputs: Mapping[str, np.ndarray]) -> None:
    """Refuses numbers that JSON has no word for.

    Raises:
        ValueError: naming the output; no RequestError, for the model is what is wrong.
    """
    for name, values in outputs.items():
        array = np.asarray(values)
        if array.dtype.kind in "fcV" and not np.isfinite(array).all():
            raise ValueError(f"output {name} must be finite. Received: NaN or infinity")


def _write_array(name: str, values: np.ndarray) -> Any:
    if isinstance(values, bytes):  # a scalar string
        values = np.array(values, object)
    if np.iscomplexobj(values):
        raise RequestError(f"{name} is of type {values.dtype}, which a response cannot hold")
    return as_json(values.tolist(), always_base64=name.endswith(BYTES_SUFFIX))
