"""The checkpoints of a training run: all that the next step depends on, and a usable model.

A checkpoint is a model directory with `training_state.safetensors` in it: the weights, the
optimizer's slots and step, and the dropout seeds.
"""

import pathlib
import re
import shutil

import numpy as np

from albert_tf.safetensors_files import read_safetensors, write_safetensors
from albert_tf.stored_tensors import CheckpointError
from albert_tf.whole_files import whole_directory

STATE_FILE = "training_state.safetensors"


class CheckpointStore:
    """The checkpoints of one training run: `step-00001000/`, each complete or absent.

    Args:
        directory: where they lie; made when the first is saved.
        model, optimizer: both built.
        keep: how many of the newest to keep.
        save_files: `directory -> None`, adds what makes a checkpoint usable as a model.
    """

    def __init__(self, directory, *, model, optimizer, keep, save_files):
        self._directory = pathlib.Path(directory)
        self._model = model
        self._optimizer = optimizer
        self._keep = keep
        self._save_files = save_files

    def path(self, step):
        """Returns the folder of the checkpoint of `step`."""
        return self._directory / f"step-{step:08d}"

    def steps(self):
        """Returns the steps of all complete checkpoints, in order."""
        folders = self._directory.glob("step-*") if self._directory.is_dir() else ()
        matches = (re.fullmatch(r"step-(\d{8,})", folder.name) for folder in folders)
        return sorted(int(match.group(1)) for match in matches if match)

    def latest_path(self):
        """Returns the folder of the newest checkpoint, or None."""
        steps = self.steps()
        return self.path(steps[-1]) if steps else None

    def save(self, step):
        """Writes the checkpoint of `step`, then removes those beyond the number to keep."""
        with whole_directory(self.path(step)) as partial:
            self._save_files(partial)
            state = {path: np.asarray(v.value) for path, v in self._state().items()}
            write_safetensors(state, partial / STATE_FILE)
        for old in self.steps()[: -self._keep]:
            shutil.rmtree(self.path(old))

    def restore_latest(self):
        """Restores the newest checkpoint; returns its step, or 0 if there is none.

        Raises:
            CheckpointError: if the checkpoint was made by another model or optimizer.
        """
        folder = self.latest_path()
        if folder is None:
            return 0
        saved, expected = read_safetensors(folder / STATE_FILE), self._state()
        held = {name: value.shape for name, value in saved.items()}
        wanted = {name: tuple(variable.shape) for name, variable in expected.items()}
        if held != wanted:
            different = sorted(name for name, _ in held.items() ^ wanted.items())
            raise CheckpointError(
                f"{folder / STATE_FILE} was made by another model or optimizer; they differ in "
                f"{', '.join(dict.fromkeys(different))}"
            )
        for name, variable in expected.items():
            variable.assign(saved[name])
        return self.steps()[-1]

    def _state(self):
        """Returns {unique name: variable} of all that the next step depends on."""
        # Keras numbers layers by what the process made before, so a path is no stable name; the
        # order of a model's variables is.
        return {
            f"{owner}/{index:04d}": variable
            for owner, variables in (
                ("model", self._model.variables),
                ("optimizer", self._optimizer.variables),
            )
            for index, variable in enumerate(variables)
        }
