"""What sentence-transformers writes beside a model: how one vector comes of those of the tokens.

`modules.json` names the steps. Ours are three: the model, a pooling and perhaps a normalisation.
Other steps would change the vectors, so they are refused by name.
"""

import dataclasses
import os
import pathlib
from typing import Any, NoReturn

from albert_tf import json_files, whole_files
from albert_tf.checkpoints import published_configs
from albert_tf.checkpoints.stored_tensors import CheckpointError

POOLINGS = ("mean", "cls", "max")
MODULES_FILE = "modules.json"
# Prompts, and which of them stands before each text unless another is asked for.
SETTINGS_FILE = "config_sentence_transformers.json"
# The longest text; of versions before 5.
LENGTH_FILES = ("sentence_bert_config.json", "sentence_albert_config.json")
_CLASSES = ("Transformer", "Pooling", "Normalize")
# What `pooling_mode` of version 5 was before: a switch each.
_SWITCHES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SentenceSettings:
    """How a text becomes one vector.

    Attributes:
        pooling: one of `POOLINGS`.
        normalize: whether vectors get length 1.
        max_seq_length: tokens that a text is cut to; None: what the model can read.
    """

    pooling: str
    normalize: bool = False
    max_seq_length: int | None = None


def _refuse(path: pathlib.Path, expected: str, received: object) -> NoReturn:
    raise CheckpointError(f"{path}: {expected}. Received: {json_files.shorten(received)}")


def list_modules(modules_file: str | os.PathLike) -> list[tuple[str, str]]:
    """Returns (class of a step, folder below that of the file) of each, in their order.

    Raises:
        CheckpointError: if the file is damaged, or names a folder elsewhere.
    """
    path = pathlib.Path(modules_file)
    try:
        text = path.read_text(encoding="utf-8")
        modules = json_files.parse_object(f'{{"modules": {text}}}')["modules"]
    except (json_files.JsonError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} must be a JSON list. Received: {error}") from error
    steps = []
    for module in modules if isinstance(modules, list) else [modules]:
        if not isinstance(module, dict) or not isinstance(module.get("type"), str):
            _refuse(path, "each module must be an object with type and path", module)
        folder = module.get("path", "")
        parts = pathlib.PurePosixPath(folder if isinstance(folder, str) else "/").parts
        if ".." in parts or "/" in parts:
            _refuse(path, "`path` must name a folder beside the file", folder)
        steps.append((module["type"].rpartition(".")[2], folder))
    return steps


def _read_folders(modules_file: pathlib.Path) -> dict[str, str]:
    """Returns {class of a step: its folder}, once all of them are supported."""
    steps = list_modules(modules_file)
    for name, _ in steps:
        if name not in _CLASSES:
            _refuse(modules_file, f"each module must be one of {', '.join(_CLASSES)}", name)
    names = [name for name, _ in steps]
    if tuple(names) not in (_CLASSES, _CLASSES[:2]):
        _refuse(modules_file, "modules must be Transformer, Pooling and perhaps Normalize", names)
    return dict(steps)


def model_folder(directory: str | os.PathLike) -> str | os.PathLike:
    """Returns where the files of transformers lie: a folder such as `0_Transformer`, if the
    directory is of sentence-transformers and has one, or else the directory itself.
    """
    modules_file = pathlib.Path(directory) / MODULES_FILE
    folder = _folder_of_model(modules_file) if modules_file.is_file() else ""
    return pathlib.Path(directory) / folder if folder else directory


def _folder_of_model(modules_file: str | os.PathLike) -> str:
    return dict(list_modules(modules_file)).get("Transformer", "")


def folder_and_settings_files(modules_file: str | os.PathLike) -> tuple[str, list[str]]:
    """Returns the folder of the model, "" for that of the file, and what `read` may read beside.

    Names have slashes, as those of the hub.
    """
    folder = _folder_of_model(modules_file)
    poolings = [path for name, path in list_modules(modules_file) if name == "Pooling"]
    files = [f"{path}/{published_configs.CONFIG_FILE}" for path in poolings]
    return folder, [SETTINGS_FILE, *files, *(_below(folder, name) for name in LENGTH_FILES)]


def _below(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def read(directory: str | os.PathLike) -> SentenceSettings | None:
    """Returns how a directory of sentence-transformers makes vectors; None for another one.

    Raises:
        CheckpointError: naming what is damaged or not supported.
    """
    root = pathlib.Path(directory)
    if not (root / MODULES_FILE).is_file():
        return None
    folders = _read_folders(root / MODULES_FILE)
    _check_prompts(root / SETTINGS_FILE)
    return SentenceSettings(
        pooling=_read_pooling(root / folders["Pooling"] / published_configs.CONFIG_FILE),
        normalize="Normalize" in folders,
        max_seq_length=_read_length(root / folders["Transformer"]),
    )


def _check_prompts(path: pathlib.Path) -> None:
    """Refuses a text of its own before every text."""
    values = published_configs.read_json(path) if path.is_file() else {}
    name, prompts = values.get("default_prompt_name"), values.get("prompts") or {}
    if name is not None and not (isinstance(prompts, dict) and prompts.get(name) == ""):
        _refuse(path, "`default_prompt_name` must be null: prompts are not supported", name)


def _read_pooling(path: pathlib.Path) -> str:
    if not path.is_file():
        _refuse(path, "the folder of Pooling must hold it", "no such file")
    values = published_configs.read_json(path)
    modes = values.get("pooling_mode")
    if modes is None:
        modes = [mode for switch, mode in _SWITCHES.items() if values.get(switch)]
    modes = [modes] if isinstance(modes, str) else modes
    if not isinstance(modes, list) or len(modes) != 1 or modes[0] not in POOLINGS:
        names = " and ".join(map(str, modes)) if isinstance(modes, list) else modes
        _refuse(path, f"the pooling must be one of {', '.join(POOLINGS)}", names or "none")
    return modes[0]


def _read_length(folder: pathlib.Path) -> int | None:
    for name in LENGTH_FILES:
        path = folder / name
        values = published_configs.read_json(path) if path.is_file() else {}
        if values.get("do_lower_case") and not _is_lowered(folder):
            _refuse(path, "`do_lower_case` must be that of the tokenizer, false", True)
        if values.get("max_seq_length") is not None:
            return _check_length(path, "max_seq_length", values["max_seq_length"])
    path = folder / published_configs.TOKENIZER_FILE
    length = published_configs.read_json(path).get("model_max_length") if path.is_file() else None
    return None if length is None else _check_length(path, "model_max_length", length)


def _is_lowered(folder: pathlib.Path) -> bool:
    path = folder / published_configs.TOKENIZER_FILE
    return not path.is_file() or published_configs.read_json(path).get("do_lower_case") is not False


def _check_length(path: pathlib.Path, name: str, length: Any) -> int:
    if type(length) not in (int, float) or not length >= 4:
        _refuse(path, f"`{name}` must be at least 4", length)
    return int(length)  # 1e30 stands for any


def write(directory: str | os.PathLike, settings: SentenceSettings, hidden_size: int) -> None:
    """Writes beside the files of transformers what sentence-transformers, 2 and later, reads."""
    root = pathlib.Path(directory)
    steps = [("Transformer", ""), ("Pooling", "1_Pooling")]
    steps += [("Normalize", "2_Normalize")] if settings.normalize else []
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (name, path) in enumerate(steps)
    ]
    pooling = {"word_embedding_dimension": hidden_size}
    pooling |= {switch: mode == settings.pooling for switch, mode in _SWITCHES.items()}
    (root / "1_Pooling").mkdir(exist_ok=True)
    whole_files.write_json(root / "1_Pooling" / published_configs.CONFIG_FILE, pooling)
    length = {"max_seq_length": settings.max_seq_length, "do_lower_case": False}
    whole_files.write_json(root / LENGTH_FILES[0], length)
    whole_files.write_json(root / MODULES_FILE, modules)
