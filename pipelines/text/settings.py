"""How files of text are read, said once for all who read a corpus."""

import dataclasses

from albert_tf.pipelines.sources import encodings
from albert_tf.pipelines.text.layouts import LAYOUTS
from albert_tf.settings import Settings, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextSettings(Settings):
    """How files of text are read; arguments of `corpus.read_documents`."""

    layout: str = setting("auto", "How the text is laid out, see docs/corpus.md.", choices=LAYOUTS)
    text_field: str = setting(
        "text",
        "Key of the text in JSON lines, its column in Parquet, its feature in data sets of "
        "TensorFlow Datasets; outer/inner where it is inside another.",
    )
    tfds_data_dir: str | None = setting(
        None,
        "Folder of TensorFlow Datasets for input named tfds:NAME; by default that of "
        "TFDS_DATA_DIR, or ~/tensorflow_datasets.",
    )
    encoding: str = setting("auto", "Of all text files; auto looks at each, see docs/corpus.md.")

    def __post_init__(self) -> None:
        super().__post_init__()
        encodings.check_encoding(self.encoding)

    def reading(self) -> dict[str, str]:
        """Returns these as arguments of `corpus.read_documents` and `corpus.read_file`."""
        return {name: getattr(self, name) for name in ("layout", "text_field", "encoding")}
