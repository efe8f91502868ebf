"""What needs TensorFlow, said in one line where it is missing or Keras runs on something else.

Models, losses and optimizers run wherever Keras does; what reads text, the trainers and exports
are TensorFlow's.
"""

import contextlib
from collections.abc import Iterator

from albert_tf import failures

_PACKAGES = ("tensorflow", "tensorflow_text")


class TensorFlowNeededError(failures.Failure, ImportError):
    """Something was asked for that only TensorFlow can do."""


@contextlib.contextmanager
def errors_name(needed_for: str) -> Iterator[None]:
    """Within it, a failed import of TensorFlow is told as what `needed_for` lacks.

    Raises:
        TensorFlowNeededError: in place of Python's error.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _PACKAGES:
            raise
        raise TensorFlowNeededError(
            f"{needed_for} needs TensorFlow: install tensorflow and tensorflow-text (models, "
            f"losses and optimizers do without). Received: {error}"
        ) from error


def check_backend(needed_for: str) -> None:
    """Refuses what works only where Keras runs on TensorFlow.

    Raises:
        TensorFlowNeededError: naming the backend.
    """
    import keras

    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise TensorFlowNeededError(
            f"{needed_for} needs Keras on TensorFlow, KERAS_BACKEND=tensorflow (model.fit, "
            f"model.predict and save_pretrained do without). Received: {backend}"
        )
