"""The architecture of one ALBERT model: a frozen description that validates itself."""

import dataclasses
import importlib.resources
import json
import os
from typing import Any, Self

from albert_tf import json_files

# How an untrained encoder starts: as ALBERT has it, or with heads at neighbors and segments.
INITIAL_ATTENTIONS = ("random", "pointed")
ACTIVATIONS = ("gelu_new", "gelu", "relu")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlbertConfig:
    """Sizes and rates of an ALBERT model, named as in the `config.json` that people publish.

    The defaults are those of `albert_base_v2`. Every value is checked on construction, so a layer
    that receives a config need not check it again.

    Raises:
        ValueError: naming the field, what was expected and what came.
    """

    vocab_size: int = 30000  # pieces in the vocabulary, V
    embedding_size: int = 128  # width of the embedding tables, E
    hidden_size: int = 768  # width of the hidden states, H
    num_hidden_layers: int = 12  # passes through the stack
    num_hidden_groups: int = 1  # sets of weights that the layers are dealt out to
    num_attention_heads: int = 12  # N; the head size D is hidden_size / N
    intermediate_size: int = 3072  # width inside the feed-forward part
    inner_group_num: int = 1  # blocks, each with weights of its own, inside one layer
    hidden_act: str = "gelu_new"  # "gelu_new" is the tanh form that ALBERT was trained with
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    classifier_dropout_prob: float = 0.1  # of what the heads of fine-tuning tasks read
    max_position_embeddings: int = 512  # longest sequence, in tokens
    type_vocab_size: int = 2  # kinds of segment
    initializer_range: float = 0.02  # standard deviation of the truncated normal
    layer_norm_eps: float = 1e-12

    def __post_init__(self) -> None:
        for name in _POSITIVE_INTEGERS:
            _check_positive_integer(name, getattr(self, name))
        if self.num_hidden_layers > _MOST_LAYERS:
            raise ValueError(
                f"`num_hidden_layers` must be at most {_MOST_LAYERS:,}. "
                f"Received: {self.num_hidden_layers}"
            )
        for name in _DROPOUT_RATES:
            _check_number(name, getattr(self, name))
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"`{name}` must lie in [0, 1). Received: {getattr(self, name)}")
        for name in ("initializer_range", "layer_norm_eps"):
            _check_number(name, getattr(self, name))
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"`{name}` must lie in (0, 1). Received: {getattr(self, name)}")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                "`hidden_size` must be divisible by `num_attention_heads`. Received: "
                f"hidden_size={self.hidden_size}, num_attention_heads={self.num_attention_heads}"
            )
        if self.num_hidden_groups > self.num_hidden_layers:
            raise ValueError(
                "`num_hidden_groups` must not exceed `num_hidden_layers`, or some groups would "
                f"never be used. Received: num_hidden_groups={self.num_hidden_groups}, "
                f"num_hidden_layers={self.num_hidden_layers}"
            )
        if self.hidden_act not in ACTIVATIONS:
            raise ValueError(
                f"`hidden_act` must be one of {', '.join(ACTIVATIONS)}. "
                f"Received: {json_files.shorten(self.hidden_act)}"
            )

    @property
    def head_size(self) -> int:
        """Width of one attention head, D."""
        return self.hidden_size // self.num_attention_heads

    def group_of_layer(self, layer: int) -> int:
        """Returns the number of the group that a layer belongs to: layers are dealt out in runs.

        The original has `int(layer / layers * groups)`, whose rounding puts layer 15 of 22 groups
        into group 14; in whole numbers every group has its layers.
        """
        return layer * self.num_hidden_groups // self.num_hidden_layers

    def with_groups(
        self, num_hidden_groups: int | None = None, share_across_layers: bool = True
    ) -> Self:
        """Returns the same architecture with its layers dealt to other groups.

        Args:
            num_hidden_groups: default: as many as now.
            share_across_layers: False: as many as there are layers.

        Raises:
            ValueError: for both, or for more groups than layers.
        """
        if not share_across_layers and num_hidden_groups is not None:
            raise ValueError(
                "`num_hidden_groups` must be None where each layer has weights of its own, "
                f"`share_across_layers=False`. Received: {num_hidden_groups}"
            )
        if not share_across_layers:
            num_hidden_groups = self.num_hidden_layers
        elif num_hidden_groups is None:
            num_hidden_groups = self.num_hidden_groups
        return dataclasses.replace(self, num_hidden_groups=num_hidden_groups)

    def with_dropout(self, encoder: float | None = None, classifier: float | None = None) -> Self:
        """Returns the same architecture with other dropout rates; None keeps those of now."""
        rates = {
            "hidden_dropout_prob": encoder,
            "attention_probs_dropout_prob": encoder,
            "classifier_dropout_prob": classifier,
        }
        changed = {name: rate for name, rate in rates.items() if rate is not None}
        return dataclasses.replace(self, **changed)

    @classmethod
    def from_preset(cls, name: str) -> Self:
        """Returns the named architecture, for example `"albert_base_v2"`.

        Raises:
            ValueError: if there is no such preset; the message lists those that exist.
        """
        if name not in preset_names():
            raise ValueError(
                f"`name` must be one of the presets {', '.join(preset_names())}. Received: {name!r}"
            )
        text = _preset_folder().joinpath(f"{name}.json").read_text(encoding="utf-8")
        return cls.from_dict(json.loads(text), source=f"preset {name}")

    @classmethod
    def from_json_file(cls, path: str | os.PathLike) -> Self:
        """Returns the architecture that a JSON file describes.

        Raises:
            ValueError: if the file is not a JSON object of config fields; the message names it.
        """
        values = json_files.read_object(path)
        try:
            return cls.from_dict(values, source="it")
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def from_dict(cls, values: dict[str, Any], source: str = "`values`") -> Self:
        """Returns the architecture given by a dict; fields that it lacks keep their default.

        Raises:
            ValueError: for an unknown key; the message lists the right ones.
        """
        if not isinstance(values, dict):
            raise ValueError(
                f"{source} must be an object of config fields. "
                f"Received: {json_files.shorten(values)}"
            )
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ValueError(
                f"{source} must only hold the keys {', '.join(known)}. "
                f"Received the unknown {json_files.listed(unknown)}"
            )
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as a dict that `from_dict` accepts."""
        return dataclasses.asdict(self)

    def to_json_string(self) -> str:
        """Returns the fields as indented JSON, one field a line, with a final newline."""
        return json.dumps(self.to_dict(), indent=2) + "\n"


_POSITIVE_INTEGERS = tuple(
    field.name for field in dataclasses.fields(AlbertConfig) if field.type in (int, "int")
)


# Layers share their weights, so no file's size tells that there are too many to go through.
_MOST_LAYERS = 1_000

_DROPOUT_RATES = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout_prob",
)


def preset_names() -> list[str]:
    """Returns the names that `AlbertConfig.from_preset` knows, sorted."""
    return sorted(
        entry.name.removesuffix(".json")
        for entry in _preset_folder().iterdir()
        if entry.name.endswith(".json")
    )


def as_config(config: AlbertConfig | dict[str, Any]) -> AlbertConfig:
    """Returns an `AlbertConfig`, made from its dict form where a saved model gives that."""
    if isinstance(config, AlbertConfig):
        return config
    if isinstance(config, dict):
        return AlbertConfig.from_dict(config)
    raise ValueError(f"`config` must be an AlbertConfig or its dict. Received: {config!r}")


def _preset_folder() -> importlib.resources.abc.Traversable:
    return importlib.resources.files("albert_tf.configs")


def _check_positive_integer(name: str, value: object) -> None:
    # bool is an int in Python, and `true` in a JSON file is a mistake here.
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ValueError(
            f"`{name}` must be a positive integer. Received: {json_files.shorten(value)}"
        )


def _check_number(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"`{name}` must be a number. Received: {json_files.shorten(value)}")
