"""XLA's compiled programs, kept from one run to the next."""

import dataclasses
import hashlib
import importlib.metadata
import os
import pathlib
import platform
import sys

from albert_tf.settings import Settings, setting

_FLAGS = "TF_XLA_FLAGS"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompilationSettings(Settings):
    """Where compiled programs are kept."""

    compilation_cache: str | None = setting(
        None,
        "Folder in which the programs that XLA compiles are kept for later runs with the same "
        "model and shapes; by default each run compiles its own.",
    )


def keep_programs(settings: CompilationSettings) -> None:
    """Lets XLA read programs from the folder and write new ones to it.

    TensorFlow reads that when it is imported. The folder may be on a disk that machines share: each
    version of TensorFlow and kind of processor has its own within it.

    Raises:
        OSError: if the folder cannot be made.
        ValueError: if TensorFlow is imported already.
    """
    if settings.compilation_cache is None:
        return
    if "tensorflow" in sys.modules:
        raise ValueError("`compilation_cache` must be set before TensorFlow is imported")
    folder = pathlib.Path(settings.compilation_cache).absolute() / _machine_name()
    folder.mkdir(parents=True, exist_ok=True)
    flag = f"--tf_xla_persistent_cache_directory='{folder}'"  # which may have spaces
    os.environ[_FLAGS] = f"{os.environ.get(_FLAGS, '')} {flag}".strip()


def _machine_name() -> str:
    """Returns a name for all machines that can run each other's programs."""
    features = [platform.machine(), platform.processor()]
    processors = pathlib.Path("/proc/cpuinfo")
    if processors.exists():
        lines = processors.read_text(encoding="utf-8").splitlines()
        features += sorted({x for x in lines if x.startswith(("model name", "flags", "Features"))})
    digest = hashlib.sha256("\n".join(features).encode()).hexdigest()[:8]
    return f"tensorflow-{importlib.metadata.version('tensorflow')}-{platform.machine()}-{digest}"
