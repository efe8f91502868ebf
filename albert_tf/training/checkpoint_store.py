"""The checkpoints of a training run: all that the next step depends on, and a usable model.

A checkpoint is a model directory with `training_state.safetensors` in it: the weights, the
optimizer's slots and step, its loss scale, and the dropout seeds. `training_notes.json` beside it
holds what the loop had counted since its last line.
"""

import os
import pathlib
import re
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from albert_tf import json_files, whole_files
from albert_tf.checkpoints.safetensors_files import read_safetensors, write_safetensors
from albert_tf.checkpoints.stored_tensors import CheckpointError

STATE_FILE = "training_state.safetensors"
NOTES_FILE = "training_notes.json"


def checkpoint_steps(directory: pathlib.Path) -> list[int]:
    """Returns the steps of all complete checkpoints in a directory, in order."""
    folders = directory.glob("step-*") if directory.is_dir() else ()
    matches = (re.fullmatch(r"step-(\d{8,})", folder.name) for folder in folders)
    return sorted(int(match.group(1)) for match in matches if match)


def half_a_checkpoint(folder: pathlib.Path, problem: str) -> CheckpointError:
    """Returns the error of a checkpoint that a run cannot go on from, with what to do."""
    return CheckpointError(
        f"{folder}: {problem}. Without that folder the run goes on from the checkpoint before it"
    )


def restore_optimizer(folder: str | os.PathLike, optimizer: keras.optimizers.Optimizer) -> int:
    """Fills a built optimizer from the checkpoint of another run; returns its step.

    Raises:
        CheckpointError: if it is of another model, or of an optimizer with other variables; adamw
            and lamb have the same moments.
    """
    path = pathlib.Path(folder) / STATE_FILE
    arrays = {n: a for n, a in read_safetensors(path).items() if n.startswith("optimizer/")}
    variables = {f"optimizer/{index:04d}": v for index, v in enumerate(optimizer.variables)}
    shapes = {name: array.shape for name, array in arrays.items()}
    if shapes != {name: tuple(variable.shape) for name, variable in variables.items()}:
        raise CheckpointError(
            f"{path} must be of the same optimizer and weights. Received: {len(arrays)} arrays of "
            f"an optimizer, where {type(optimizer).__name__} has {len(variables)}, or other shapes"
        )
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return int(optimizer.iterations.numpy())


class CheckpointStore:
    """The checkpoints of one training run: `step-00001000/`, each complete or absent.

    Only one process may use a directory at a time; what one that was killed left half-written or
    half-removed is removed first.

    Args:
        directory: where they lie; made when the first is saved.
        model, optimizer: both built.
        keep: how many of the newest to keep.
        save_files: adds what makes a checkpoint usable as a model to the folder that it is given.
    """

    def __init__(
        self,
        directory: str | os.PathLike,
        *,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        keep: int,
        save_files: Callable[[pathlib.Path], None],
    ):
        self._directory = pathlib.Path(directory)
        self._model = model
        self._optimizer = optimizer
        self._keep = keep
        self._save_files = save_files
        whole_files.remove_partials(self._directory)

    def path(self, step: int) -> pathlib.Path:
        """Returns the folder of the checkpoint of `step`."""
        return self._directory / f"step-{step:08d}"

    def steps(self) -> list[int]:
        """Returns the steps of all complete checkpoints, in order."""
        return checkpoint_steps(self._directory)

    def latest_path(self) -> pathlib.Path | None:
        """Returns the folder of the newest checkpoint, or None."""
        steps = self.steps()
        return self.path(steps[-1]) if steps else None

    def save(self, step: int, notes: dict[str, Any]) -> None:
        """Writes the checkpoint of `step`, then removes those beyond the number to keep.

        Args:
            step: its number.
            notes: JSON types that `restore_latest` is to return.

        Raises:
            OSError: naming the folder, where it cannot be written; the older ones are kept.
        """
        with whole_files.whole_directory(self.path(step)) as partial:
            self._save_files(partial)
            state = {path: np.asarray(v.value) for path, v in self._state().items()}
            write_safetensors(state, partial / STATE_FILE)
            whole_files.write_json(partial / NOTES_FILE, notes)
        self._remove_old()

    def _remove_old(self) -> None:
        for old in self.steps()[: -self._keep]:
            whole_files.remove_directory(self.path(old))

    def restore_latest(self) -> tuple[int, dict[str, Any]]:
        """Restores the newest checkpoint, removes what is beyond the number to keep.

        Returns:
            Its step and notes, 0 and {} if there is none.

        Raises:
            CheckpointError: if the checkpoint was made by another model or optimizer, or holds
                numbers that are not finite.
        """
        folder = self.latest_path()
        if folder is None:
            return 0, {}
        variables = self._state()
        try:
            arrays = read_safetensors(folder / STATE_FILE)
        except CheckpointError as error:
            raise half_a_checkpoint(folder, str(error)) from error
        shapes = {name: value.shape for name, value in arrays.items()}
        expected = {name: tuple(variable.shape) for name, variable in variables.items()}
        if shapes != expected:
            different = sorted(name for name, _ in shapes.items() ^ expected.items())
            raise CheckpointError(
                f"{folder / STATE_FILE} was made by another model or optimizer; they differ in "
                f"{', '.join(dict.fromkeys(different))}"
            )
        if not all(np.isfinite(value).all() for value in arrays.values()):
            raise CheckpointError(
                f"{folder} holds numbers that are not finite: remove it to go on from the "
                "checkpoint before it"
            )
        for name, variable in variables.items():
            variable.assign(arrays[name])
        self._remove_old()  # where a kill came between a new one and that
        notes = folder / NOTES_FILE
        return self.steps()[-1], json_files.read_object(notes) if notes.is_file() else {}

    def _state(self) -> dict[str, keras.Variable]:
        """Returns {unique name: variable} of all that the next step depends on."""
        # Keras numbers layers by what the process made before, so a path is no stable name; the
        # order of a model's variables is.
        variables = {"model": self._model.variables, "optimizer": self._optimizer.variables}
        if isinstance(self._optimizer, keras.optimizers.LossScaleOptimizer):
            scale = self._optimizer
            variables["optimizer"] = scale.inner_optimizer.variables
            variables["loss_scale"] = [scale.dynamic_scale, scale.step_counter]
        return {
            f"{owner}/{index:04d}": variable
            for owner, several in variables.items()
            for index, variable in enumerate(several)
        }
