"""Fits the tensors of a file to the weights of a model, or says by name what does not fit.

First a plan from names and shapes alone, in which everything missing, left over or misshapen is
listed; then, if the plan is sound, the numbers, one tensor at a time.
"""

import dataclasses
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import keras
import numpy as np

from albert_tf.checkpoints.stored_tensors import CheckpointError, StoredTensor
from albert_tf.checkpoints.weight_names import Layout, Place
from albert_tf.config import AlbertConfig

_FLOATING = re.compile(r"b?f", re.IGNORECASE)  # F32, BF16, float16, bfloat16
_SHOWN_PROBLEMS = 20
# Reimplementations that made a new layer normalisation in each pass left such names behind.
_LAYER_NORM_A_PASS = re.compile(r"group_\d+_\d+/layer_\d+/|layer_normalization_\d+|layer_norm_\d\d")
# What TensorFlow asks of memory that it did not allocate.
_ALIGNMENT_BYTES = 64


@dataclasses.dataclass(frozen=True)
class Source:
    """Where one weight of a model comes from: a tensor, and the form that it has in the file."""

    tensor: StoredTensor
    place: Place


@dataclasses.dataclass
class Plan:
    """What a file has for a model.

    Attributes:
        sources: by our path.
        missing: (our path, name wanted) of weights that the file has not.
        misshapen: one line for each tensor of a wrong shape or type.
        left_over: names in the file that no weight asked for.
    """

    sources: dict[str, Source]
    missing: list[tuple[str, str]]
    misshapen: list[str]
    left_over: list[str]

    def check(
        self,
        source: str | os.PathLike,
        allow_left_over: Sequence[str] = (),
        parts_of_heads: Sequence[str] = (),
    ) -> None:
        """Raises CheckpointError if anything is missing, misshapen or left over.

        Args:
            source: name of the file, for the message.
            allow_left_over: regular expressions of names that may be.
            parts_of_heads: first parts of our paths that may start untrained, on demand.
        """
        left_over = [
            name
            for name in self.left_over
            if not any(re.search(pattern, name) for pattern in allow_left_over)
        ]
        problems = [f"missing: {name}" for _, name in self.missing]
        problems += [f"left over: {name}" for name in left_over]
        problems += self.misshapen
        if not problems:
            return
        reason = ""
        if any(_LAYER_NORM_A_PASS.search(name) for name in self.left_over):
            reason = (
                "\nIt has layer normalisations of its own for each pass, which ALBERT shares: a "
                "known fault of some reimplementations. No ALBERT computes what it was trained for."
            )
        heads = tuple(f"{part}/" for part in parts_of_heads)
        if all(path.startswith(heads) for path, _ in self.missing) and len(problems) == len(
            self.missing
        ):
            reason = (
                "\nNothing but a head is missing: run_finetuning trains one. In Keras code "
                "initialize_head=True of a model's from_pretrained lets it start untrained."
            )
        # Names are a stranger's: many, or long ones.
        shown = [f"{problem:.200}" for problem in problems[:_SHOWN_PROBLEMS]]
        if len(problems) > _SHOWN_PROBLEMS:
            shown.append(f"and {len(problems) - _SHOWN_PROBLEMS} more")
        raise CheckpointError(f"{source} does not fit the model:\n  " + "\n  ".join(shown) + reason)


def relative_path(model: keras.Model, variable: keras.Variable) -> str:
    """Returns the variable's path in the model, without the scopes in which that was made."""
    first = model.encoder.embeddings.word_embeddings.path
    return variable.path.removeprefix(first.removesuffix("encoder/embeddings/word_embeddings"))


def is_of_encoder(path: str) -> bool:
    """Returns whether a path is the encoder's; its pooler goes with the head, not with it."""
    return path.startswith("encoder/") and not path.startswith("encoder/pooler/")


def check_sizes(
    config: AlbertConfig,
    tensors: dict[str, StoredTensor],
    layout: Layout,
    source: str | os.PathLike,
) -> None:
    """Compares the sizes that a config announces with those of the file, before any is allocated.

    Raises:
        CheckpointError: listing the tensors that differ.
    """
    hidden, inner = config.hidden_size, config.intermediate_size
    last = f"encoder/group_{config.num_hidden_groups - 1}/inner_group_{config.inner_group_num - 1}/"
    embeddings = {"word": config.vocab_size, "position": config.max_position_embeddings}
    embeddings["token_type"] = config.type_vocab_size
    shapes = {
        f"encoder/embeddings/{kind}_embeddings": (rows, config.embedding_size)
        for kind, rows in embeddings.items()
    }
    shapes[f"{last}attention/query/kernel"] = (hidden, hidden)
    shapes[f"{last}feed_forward/intermediate/kernel"] = (hidden, inner)
    plan = plan_loading(shapes, tensors, layout, config)
    plan.check(source, allow_left_over=("",))


def plan_loading(
    shapes: Mapping[str, tuple[int, ...]],
    tensors: dict[str, StoredTensor],
    layout: Layout,
    config: AlbertConfig,
    groups_in_file: int | None = None,
) -> Plan:
    """Returns the `Plan` for the weights {our path: shape}.

    Args:
        shapes: {our path: shape} of the weights to fill.
        tensors: of the file, by name.
        layout: of the file.
        config: of the model.
        groups_in_file: groups that the file deals its layers out to, where the model has others.
    """
    path_in_file = regrouping(
        config.num_hidden_layers,
        groups_in_file or config.num_hidden_groups,
        config.num_hidden_groups,
    )
    plan = Plan({}, [], [], [])
    used = set()
    for path, shape in shapes.items():
        place = layout.place(path_in_file(path))
        if place is None:
            raise CheckpointError(f"{layout.title} has no name for the weight {path}")
        tensor = tensors.get(place.name)
        if tensor is None:
            plan.missing.append((path, place.name))
            continue
        used.add(place.name)
        expected = place.shape_of(tuple(shape), config.num_attention_heads)
        if tensor.shape != expected:
            plan.misshapen.append(
                f"shape of {place.name}: expected {expected}, received {tensor.shape}"
            )
        # Integers are the codes of a quantized file, which mean nothing without their factors.
        if not _FLOATING.match(tensor.dtype):
            plan.misshapen.append(
                f"type of {place.name}: expected a floating one, received {tensor.dtype}"
            )
        plan.sources[path] = Source(tensor, place)
    plan.left_over = [name for name in tensors if name not in used]
    return plan


def missing_parts(
    parts: Iterable[str], paths: Collection[str], layout: Layout, tensors: dict[str, StoredTensor]
) -> tuple[str, ...]:
    """Returns those of the parts, beginnings of our paths, of which no weight is in a file."""

    def is_there(part: str) -> bool:
        places = (layout.place(path) for path in paths if path.startswith(f"{part}/"))
        return any(place is not None and place.name in tensors for place in places)

    return tuple(part for part in parts if not is_there(part))


def fill(weights: Mapping[str, keras.Variable], plan: Plan, source: str | os.PathLike) -> None:
    """Assigns what the plan has to the variables {our path: variable}, one tensor at a time.

    Raises:
        CheckpointError: for numbers that are not finite, naming the tensor.
    """
    for path, origin in plan.sources.items():
        shape = tuple(weights[path].shape)
        value = _copy_aligned(origin.place.to_ours(origin.tensor.read(), shape))
        # The sum is finite unless a number is not, or the sum itself overflows: then look closely.
        if not np.isfinite(np.sum(value, dtype=np.float64)) and not np.isfinite(value).all():
            count = int(np.size(value) - np.isfinite(value).sum())
            raise CheckpointError(
                f"{source}: {origin.place.name} must be finite. Received: {count} of "
                f"{np.size(value)} numbers that are not"
            )
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            # Taken over as it lies: given an array, TensorFlow makes two more copies of it, and the
            # largest tensor of xxlarge is a third of all.
            value = tf.experimental.dlpack.from_dlpack(value.__dlpack__())
        weights[path].assign(value)


def _copy_aligned(value: np.ndarray) -> np.ndarray:
    """Returns a contiguous float32 copy whose memory TensorFlow can take over."""
    memory = np.empty(4 * value.size + _ALIGNMENT_BYTES, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT_BYTES
    copy = memory[start : start + 4 * value.size].view(np.float32).reshape(value.shape)
    copy[...] = value
    return copy


def regrouping(num_layers: int, groups_in_file: int, groups: int) -> Callable[[str], str]:
    """Returns the function our path -> our path in a file that shares its layers in other groups.

    Each group starts from the one that its first layer had: so every layer of an un-shared model
    starts from the shared weights.

    >>> regrouping(12, 1, 12)("encoder/group_7/inner_group_0/attention/query/kernel")
    'encoder/group_0/inner_group_0/attention/query/kernel'
    """
    # The first layer of a group is the first that reaches it; see `AlbertConfig.group_of_layer`.
    firsts = [-(-group * num_layers // groups) for group in range(groups)]
    old = {group: layer * groups_in_file // num_layers for group, layer in enumerate(firsts)}

    def path_in_file(path: str) -> str:
        return re.sub(r"(?<=/group_)\d+", lambda match: str(old[int(match.group())]), path, count=1)

    return path_in_file
