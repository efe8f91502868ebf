"""The moments of Google's optimizers, as a training checkpoint or a model directory holds them."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from albert_tf.checkpoints import model_directory
from albert_tf.checkpoints.safetensors_files import read_safetensors
from albert_tf.checkpoints.stored_tensors import CheckpointError
from albert_tf.conversion.sources import Source
from albert_tf.model.keras_model import AlbertTaskModel

# Google's optimizers, and the names of their slots.
SLOTS = (("m", ("/adam_m", "/lamb_m")), ("v", ("/adam_v", "/lamb_v")))
STEP = "global_step"
# What some models of the original do not train, or do not have.
_WITHOUT_GRADIENT = ("encoder/pooler/", "encoder/embedding_projection/")


def read_slots(source: Source, model: AlbertTaskModel) -> dict[str, np.ndarray]:
    """Returns the slots of Google's optimizer and the step, as `OPTIMIZER_FILE` has them.

    Weights that got no gradient have no slots: the pooler of a model for SQuAD, and the projection
    that the original lacks where E = H. Their moments are 0, as the first step would make them.

    Returns:
        {"step": int64 scalar, "OUR_PATH/m": first moment, "OUR_PATH/v": second moment}, empty if
        the source has none. Moments have the shapes of our weights.

    Raises:
        CheckpointError: if other weights lack slots, or only one of the two, listing them; for one
            of another shape than its weight and for numbers that are not finite.
    """
    slots, missing = {}, []
    weights = model.weights_by_path()
    own_file = source.path / model_directory.OPTIMIZER_FILE
    if own_file.is_file():
        tensors = read_safetensors(own_file)
        names = ["step", *(f"{path}/{slot}" for path in weights for slot, _ in SLOTS)]
        missing = [name for name in names if name not in tensors]
        if missing:
            raise CheckpointError(f"{own_file} must have {', '.join(missing)}. Received: none")
        for path, variable in weights.items():
            for slot, _ in SLOTS:
                _check(f"{own_file}: {path}/{slot}", tensors[f"{path}/{slot}"], variable.shape)
        return {name: tensors[name] for name in names}
    idle = _parts_without_slots(source, weights)
    for path, variable in weights.items():
        place = source.layout.place(path)
        if path.startswith(idle):
            continue
        for slot, endings in SLOTS:
            names = [place.name + ending for ending in endings]
            slot_name = next((name for name in names if name in source.tensors), None)
            if slot_name is None:
                missing.append(names[0])
                continue
            value = source.tensors[slot_name].read()
            shape = tuple(variable.shape)
            expected = place.shape_of(shape, model.config.num_attention_heads)
            _check(f"{source.path}: {slot_name}", value, expected)
            value = place.to_ours(value, shape)
            slots[f"{path}/{slot}"] = np.ascontiguousarray(value, np.float32)
    if not slots:
        return {}
    if missing:
        raise CheckpointError(
            f"{source.path} must have slots for all weights that it trained, or for none. Missing: "
            f"{', '.join(missing)}"
        )
    for path in (path for path in weights if path.startswith(idle)):
        zeros = np.zeros(weights[path].shape, np.float32)
        slots |= {f"{path}/{slot}": zeros for slot, _ in SLOTS}
    step = source.tensors.get(STEP)
    slots["step"] = np.asarray(0 if step is None else int(step.read()), np.int64)
    return slots


def _check(name: str, value: np.ndarray, shape: Sequence[int]) -> None:
    if value.shape != tuple(shape):
        raise CheckpointError(f"{name} must have the shape {tuple(shape)}. Received: {value.shape}")
    if not np.isfinite(value).all():
        raise CheckpointError(f"{name} must be finite. Received: numbers that are not")


def _parts_without_slots(source: Source, weights: Mapping[str, keras.Variable]) -> tuple[str, ...]:
    """Returns the beginnings of our paths whose weights may lack slots and have none at all."""

    def has_some(part: str) -> bool:
        names = (source.layout.place(path).name for path in weights if path.startswith(part))
        return any(
            name + ending in source.tensors
            for name in names
            for _, endings in SLOTS
            for ending in endings
        )

    return tuple(part for part in _WITHOUT_GRADIENT if not has_some(part))


def has_slots(source: Source) -> bool:
    """Tells whether a source holds the moments of an optimizer."""
    endings = tuple(ending for _, several in SLOTS for ending in several)
    return (source.path / model_directory.OPTIMIZER_FILE).is_file() or any(
        name.endswith(endings) for name in source.tensors
    )
