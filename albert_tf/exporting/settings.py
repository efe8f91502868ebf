"""What is exported of a model, and in which form."""

import dataclasses

from albert_tf.checkpoints.model_kinds import KINDS
from albert_tf.settings import Settings, setting

PRECISIONS = ("float32", "bfloat16", "int8")

# What can be written beside the SavedModel: the format and the precision of a file of ids.
FILES = {
    "litert": ("litert", "float32"),
    "litert_float16": ("litert", "float16"),
    "litert_int8": ("litert", "int8"),
    "onnx": ("onnx", "float32"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportSettings(Settings):
    """How a model is exported."""

    precision: str = setting(
        "float32",
        "bfloat16 is faster where the processor has it; int8 keeps the weights in a quarter of the "
        "bytes and computes in float32.",
        choices=PRECISIONS,
    )
    kind: str | None = setting(
        None, "What to export; by default what the model was trained for.", choices=KINDS
    )
    top_k: int = setting(5, "Words for each mask.", lowest=1)
    rows_at_a_time: int = setting(
        32, "Rows of a request that are computed together; bounds the memory.", lowest=1
    )
    also: tuple[str, ...] = setting(
        (), "Files of ids to write beside the SavedModel.", choices=tuple(FILES)
    )
