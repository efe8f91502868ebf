"""What is exported of a model, in which form, and what contradicts itself in it."""

import dataclasses

from albert_tf import setting_checks
from albert_tf.checkpoints.model_kinds import KINDS

PRECISIONS = ("float32", "bfloat16", "int8")

# What can be written beside the SavedModel: the format and the precision of a file of ids.
FILES = {
    "litert": ("litert", "float32"),
    "litert_float16": ("litert", "float16"),
    "litert_int8": ("litert", "int8"),
    "onnx": ("onnx", "float32"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """How a model is exported; `run_export` has a flag for each field.

    Raises:
        ValueError: naming the field, what was expected and what came.
    """

    precision: str = "float32"
    kind: str | None = None  # by default what the directory says
    top_k: int = 5
    rows_at_a_time: int = 32
    also: tuple[str, ...] = ()  # of `FILES`

    def __post_init__(self):
        for name in self.also:
            if name not in FILES:
                raise ValueError(f"--also must be among {', '.join(FILES)}. Received: {name!r}")
        setting_checks.check_choice("--precision", self.precision, PRECISIONS)
        if self.kind is not None:
            setting_checks.check_choice("--kind", self.kind, KINDS)
        for name in ("top_k", "rows_at_a_time"):
            setting_checks.check_positive(f"--{name}", getattr(self, name))
