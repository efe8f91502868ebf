"""What a look at finished data is asked for."""

import dataclasses

from albert_tf.settings import Settings, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class InspectionSettings(Settings):
    """What is looked at, and what is done with it; a table of figures if nothing else is said."""

    data_dir: str | None = setting(
        None, "Folder that build_pretraining_data made, or another folder of record files."
    )
    input: tuple[str, ...] = setting((), "Instead of `data_dir`: record files or patterns of them.")
    vocab_model: str | None = setting(
        None, "The vocabulary of the records. By default vocab.model of `data_dir`."
    )
    verify: bool = setting(False, "Check every byte and value, and name all that is damaged.")
    show: int | None = setting(None, "Print so many examples, with what is hidden.", lowest=1)
    split: int | None = setting(None, "Write the records into so many files, or one.", lowest=1)
    compress: str | None = setting(
        None,
        "Write the records in this compression, file by file if nothing else is said. By default "
        "`split` keeps that of the first file.",
        choices=("gzip", "none"),
    )
    output_dir: str | None = setting(
        None, "With `split` or `compress`: the folder to write, which must not exist."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.data_dir) == bool(self.input):
            raise ValueError(
                "exactly one of `data_dir` and `input` must be given. Received: "
                f"data_dir={self.data_dir!r}, input={self.input}"
            )
        asked = {"verify": self.verify, "show": self.show, "output_dir": self.output_dir}
        given = [f"`{name}`" for name, value in asked.items() if value]
        if len(given) > 1:
            raise ValueError(f"one thing must be asked at a time. Received: {', '.join(given)}")
        if self.is_rewriting != bool(self.output_dir):
            raise ValueError(
                "`output_dir` must be given with `split` or `compress`, and they with it. "
                f"Received: output_dir={self.output_dir!r}, split={self.split}, "
                f"compress={self.compress!r}"
            )

    @property
    def is_rewriting(self) -> bool:
        """Whether records are to be written."""
        return bool(self.split or self.compress)
