"""A folder of numbered SavedModels -> the newest that works, exchanged while requests go on.

The folder is laid out as for TensorFlow Serving: `1/`, `2/`, ...; a version is there once its
`saved_model.pb` is. Nothing here knows what the models do.
"""

import dataclasses
import gc
import json
import logging
import os
import pathlib
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401 - brings ops that the models may need
from tensorflow.core.framework import types_pb2

from albert_tf import failures, json_files, setting_checks
from albert_tf.serving.predict_protocol import (
    RequestError,
    SignatureDescription,
    TensorDescription,
    read_request,
)
from albert_tf.serving.settings import LAST_VERSION, Limits, ServiceSettings

_LOG = logging.getLogger(__name__)
SHEET_FILE = "signatures.json"
_STOP_SECONDS = 1
# In signatures of ours all matrices have the places that these count; others may mean anything.
_COUNTS = ("mask_count", "word_count")
_VERSION = re.compile(r"0|[1-9]\d{0,18}", re.ASCII)
_GRAPH_FILE = "saved_model.pb"
FileForms = list[tuple[str, int, int]]  # name, time of writing and size of each file
# In TensorFlow's messages: what goes before and behind the sentence.
_GRAPH_PLACES = re.compile(
    r"\A(Graph execution error:.*?<stack traces unavailable>\s*)?(\{\{.*?\}\}\s*)?|\s*\[\[\{.*",
    re.DOTALL,
)


class VersionError(failures.Failure):
    """A version that cannot serve."""


@dataclasses.dataclass(frozen=True)
class VersionState:
    """What became of a version: AVAILABLE, LOADING, or END with the reason."""

    state: str
    error: str = ""


class LoadedVersion:
    """A SavedModel in memory.

    Attributes:
        number: of the version.
        signatures: {name: `SignatureDescription`}.
        sheet: content of its `signatures.json`, or {}.
    """

    def __init__(self, path: pathlib.Path):
        self.number = int(path.name)
        self._model = tf.saved_model.load(str(path))
        self._functions = dict(self._model.signatures)
        if not self._functions:
            raise VersionError("a model must have signatures. Received: none")
        self.signatures = {
            name: SignatureDescription(
                _read_specs(function.structured_input_signature[1]),
                _read_specs(function.structured_outputs),
            )
            for name, function in self._functions.items()
        }
        sheet = path / SHEET_FILE
        self.sheet = json_files.read_object(sheet) if sheet.is_file() else {}

    def run(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns {output: array} for {input: array}.

        Raises:
            RequestError: with what the model itself says, if it refuses the inputs.
        """
        function = self._functions[signature]
        specs = function.structured_input_signature[1]
        tensors = {name: tf.constant(values, specs[name].dtype) for name, values in inputs.items()}
        try:
            return {name: values.numpy() for name, values in function(**tensors).items()}
        except tf.errors.InvalidArgumentError as error:
            raise RequestError(_tell(error.message)) from error
        except UnicodeDecodeError as error:  # a message that shows bytes of the client
            raise RequestError(_tell(error.object.decode("utf-8", "replace"))) from error

    def count_of_places(self, signature: str) -> str | None:
        """Returns the output that says how many places of a row are filled, which ours may have."""
        outputs = self.signatures[signature].outputs
        return next((name for name in _COUNTS if self.sheet and name in outputs), None)

    def describe(self, model_name: str) -> dict[str, Any]:
        """Returns its metadata as TensorFlow Serving has it, JSON types."""
        signatures = {
            name: {
                "inputs": _describe(signature.inputs),
                "outputs": _describe(signature.outputs),
                "method_name": "tensorflow/serving/predict",
            }
            for name, signature in self.signatures.items()
        }
        return {
            "model_spec": {"name": model_name, "version": str(self.number), "signature_name": ""},
            "metadata": {"signature_def": {"signature_def": signatures}},
        }

    def warm_up(self) -> None:
        """Asks what the sheet has as requests, so that no client waits for a first time."""
        for name, signature in self.sheet.get("signatures", {}).items():
            body = json.dumps(signature["request"])
            request = read_request(body, self.signatures, Limits())
            self.run(name, request.inputs)


def _tell(message: str) -> str:
    """Returns what a model says of its inputs, without the places in its graph."""
    message = _GRAPH_PLACES.sub("", message)
    assertion = message.removeprefix("assertion failed: ")
    return message if assertion == message else assertion.replace("] [", " ").strip("[]")


def _read_specs(specs: Mapping[str, tf.TensorSpec]) -> dict[str, TensorDescription]:
    return {
        name: TensorDescription(
            spec.dtype.name, None if spec.shape.rank is None else tuple(spec.shape)
        )
        for name, spec in specs.items()
    }


def _describe(tensors: Mapping[str, TensorDescription]) -> dict[str, Any]:
    return {
        name: {
            "dtype": types_pb2.DataType.Name(tf.as_dtype(tensor.dtype).as_datatype_enum),
            "tensor_shape": {
                "dim": [{"size": str(-1 if size is None else size)} for size in tensor.shape or ()],
                "unknown_rank": tensor.shape is None,
            },
            "name": name,
        }
        for name, tensor in tensors.items()
    }


class ServedVersions:
    """Keeps the newest working version of a folder loaded.

    Args:
        folder: of the versions.
        poll_seconds: between two looks at it.
        observe: called with "loaded" or "refused" for each version.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        poll_seconds: float = ServiceSettings.poll_seconds,
        observe: Callable[[str], object] = lambda event: None,
    ):
        setting_checks.check_positive("poll_seconds", poll_seconds)
        self.folder = pathlib.Path(folder)
        self.current: LoadedVersion | None = None
        self._poll_seconds = poll_seconds
        self._observe = observe
        self._states: dict[int, VersionState] = {}
        self._refused: dict[int, FileForms] = {}
        self._passed_over: set[pathlib.Path] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="versions", daemon=True)

    def start(self) -> None:
        """Loads the first version, then watches the folder.

        Raises:
            VersionError: if there is no version that works.
        """
        if not self.folder.is_dir():
            raise VersionError(f"`model_dir` must be a folder. Received: {self.folder}")
        self.look()
        if self.current is None:
            reasons = "; ".join(f"{n}: {s.error}" for n, s in self.states().items())
            names = ", ".join(sorted(path.name for path in self.folder.iterdir())) or "nothing"
            raise VersionError(
                f"`model_dir` must hold a version that works, such as {self.folder}/1/{_GRAPH_FILE}"
                f"; run_export writes one. Received: {reasons or f'a folder with {names}'}"
            )
        self._thread.start()

    def stop(self) -> None:
        """Ends the watching; a version that is being loaded is not waited for."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def states(self) -> dict[int, VersionState]:
        """Returns {number: `VersionState`}, the newest first."""
        return dict(sorted(self._states.copy().items(), reverse=True))

    def _watch(self) -> None:
        while not self._stop.wait(self._poll_seconds):
            try:
                self.look()
            except OSError as error:
                _LOG.error("cannot look at %s: %s", self.folder, error)

    def look(self) -> None:
        """Exchanges the served version if a newer one works, or the served one was taken away."""
        paths = {}
        for path in self.folder.iterdir():
            if not (path.name.isdecimal() and (path / _GRAPH_FILE).is_file()):
                continue
            if _VERSION.fullmatch(path.name) and int(path.name) <= LAST_VERSION:
                paths[int(path.name)] = path
            elif path not in self._passed_over:
                self._passed_over.add(path)
                _LOG.error(
                    "%s is passed over: a version is a number from 0 to 2^63 - 1 without zeros "
                    "before it",
                    path,
                )
        serving = self.current.number if self.current else None
        for number in sorted(paths, reverse=True):
            if number == serving:
                break
            form = _form_of(paths[number])
            if self._refused.get(number) != form and self._try(paths[number], form):
                break
        # Versions that are gone, but for the one that serves, are no longer spoken of.
        for number in set(self._states) - set(paths):
            if self.current is None or number != self.current.number:
                self._states.pop(number)
                self._refused.pop(number, None)

    def _try(self, path: pathlib.Path, form: FileForms) -> bool:
        """Loads a version and serves it; returns whether it works."""
        number = int(path.name)
        self._states[number] = VersionState("LOADING")
        try:
            version = LoadedVersion(path)
            version.warm_up()
        # Whatever is wrong with a version, the one that serves must go on.
        except Exception as error:  # noqa: BLE001
            reason = json_files.cut(f"{type(error).__name__}: {error}")
            self._refused[number] = form
            self._states[number] = VersionState("END", reason)
            self._observe("refused")
            _LOG.error("version %s is refused: %s", path, reason)
            return False
        before, self.current = self.current, version
        self._refused.pop(number, None)
        self._states[number] = VersionState("AVAILABLE")
        if before is not None and before.number != number:
            self._states[before.number] = VersionState("END")
        self._observe("loaded")
        _LOG.info("version %s is served", path)
        del before
        gc.collect()  # graphs hold each other in cycles
        return True


def _form_of(path: pathlib.Path) -> FileForms:
    """Returns what changes when a version is written again."""
    beside = (SHEET_FILE, "variables/*", "assets/*")
    files = [path / _GRAPH_FILE, *(file for some in beside for file in sorted(path.glob(some)))]
    stats = [(file.name, file.stat()) for file in files]
    return [(name, stat.st_mtime_ns, stat.st_size) for name, stat in stats]
