"""Models by their names on the Hugging Face hub: a name in, a model directory on this machine out.

`owner/name` or `hf://owner/name@revision`. Names end at the edge, in `from_pretrained` and in the
commands: below it there are directories only. huggingface_hub keeps the copies, in its own cache,
and reads the token, which nothing here ever holds.
"""

import dataclasses
import os
import pathlib
import re
import types
from collections.abc import Callable, Collection
from typing import Any, NoReturn

from absl import logging

from albert_tf import json_files
from albert_tf.checkpoints import model_kinds, published_configs, sentence_files
from albert_tf.checkpoints.stored_tensors import CheckpointError, check_folder

CARD_FILE = "README.md"
_SCHEME = "hf://"
_WORD = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_WORD}/{_WORD}")
_ADDRESS = re.compile(rf"{_SCHEME}({_WORD}/{_WORD})(?:@([\w./+-]+))?")
_COPY = re.compile(r"[^=,\n]*models--([\w.-]+?)--([\w.-]+)[/\\]snapshots[/\\]([0-9a-f]{40})")
_DEFAULT_REVISION = "main"
# What texts need, and what says what a model is for. Weights come behind them: where a copy has
# weights, the other files are there, too.
_TOKENIZER_FILES = (
    published_configs.TOKENIZER_FILE,
    published_configs.ADDED_TOKENS_FILE,
    *published_configs.VOCABULARY_FILES,
)
_FILES = (
    *_TOKENIZER_FILES,
    model_kinds.TASK_FILE,
    published_configs.CONFIG_FILE,
    published_configs.OWN_WEIGHTS_FILE,
)


# What some models have, and what no other may keep: `config.json` is of all.
_NOT_OF_ALL = (
    *published_configs.WEIGHT_FILES,
    published_configs.ADDED_TOKENS_FILE,
    sentence_files.MODULES_FILE,
    sentence_files.SETTINGS_FILE,
    *sentence_files.LENGTH_FILES,
)


@dataclasses.dataclass(frozen=True)
class HubName:
    """A model on the hub, and which state of it: a branch, a tag or a commit."""

    name: str
    revision: str = _DEFAULT_REVISION

    def __str__(self) -> str:
        at = "" if self.revision == _DEFAULT_REVISION else f"@{self.revision}"
        return f"{_SCHEME}{self.name}{at}"


def read_name(directory: str | os.PathLike) -> HubName | None:
    """Returns the name on the hub that a text is, or None for a path.

    Whatever is there is a path, and so is what would lie in a folder that is there: a mistyped
    runs/mini must not become the model of a stranger.

    Raises:
        CheckpointError: for `hf://` with something else behind it than a name.
    """
    if not isinstance(directory, str):
        return None
    if directory.startswith(_SCHEME):
        match = _ADDRESS.fullmatch(directory)
        if not match or not _is_allowed(match[1]):
            raise CheckpointError(
                f"a name on the hub must be hf://owner/name or hf://owner/name@revision. "
                f"Received: {directory}"
            )
        return HubName(match[1], match[2] or _DEFAULT_REVISION)
    owner = directory.partition("/")[0]
    if not _NAME.fullmatch(directory) or not _is_allowed(directory) or os.path.lexists(owner):
        return None
    return HubName(directory)


def _is_allowed(name: str) -> bool:
    return "--" not in name and ".." not in name and not name.endswith(".git")


def find_directory(
    directory: str | os.PathLike,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike | None = None,
    local_files_only: bool = False,
    with_weights: bool = True,
    report: Callable[[str], None] = logging.info,
) -> str | os.PathLike:
    """Returns a directory as it is, or that of a copy of the model that a name on the hub means.

    Args:
        directory: a path, `owner/name` or `hf://owner/name@revision`.
        revision: branch, tag or commit on the hub; `main` by default.
        cache_dir: for copies in place of huggingface_hub's own (`HF_HUB_CACHE`).
        local_files_only: whether to take what is in the cache and ask nobody.
        with_weights: or else the files of the tokenizer only.
        report: gets a line about what is downloaded.

    Raises:
        CheckpointError: for a name that is not on the hub or cannot be asked for; one line that
            says what else to do.
    """
    name = read_name(directory)
    if name is None:
        if revision is not None:
            raise CheckpointError(
                f"`revision` goes with a name on the hub. Received: {revision!r} and the path "
                f"{directory}"
            )
        return directory
    if revision is not None:
        name = HubName(name.name, revision)
    hub = _import_hub(directory)
    cache_dir = cache_dir and pathlib.Path(cache_dir)
    copy = _find_copy(hub, name, cache_dir, with_weights)
    if local_files_only:
        if copy:
            return str(copy)
        _refuse(directory, "the cache has no whole copy, and `local_files_only` asks nobody")
    errors = hub.errors
    try:
        return str(_fetch(hub, name, cache_dir, with_weights, report))
    except errors.GatedRepoError as error:
        reason = "who reads it must have agreed to its terms and give a token (HF_TOKEN)"
        _refuse(directory, reason, error)
    except errors.RepositoryNotFoundError as error:
        reason = "the hub has no such model that may be read; a private one needs a token, HF_TOKEN"
        _refuse(directory, reason, error)
    except errors.RevisionNotFoundError as error:
        _refuse(directory, f"the hub has no revision {name.revision!r} of it", error)
    # HTTPError is that of the package that huggingface_hub speaks HTTP with.
    except (errors.HTTPError, OSError) as error:
        if getattr(error, "errno", None) is not None:  # of the disk
            raise
        if copy:
            report(f"the hub cannot be reached: {name} is its last copy, {copy.name[:12]}")
            return str(copy)
        _refuse(directory, f"the hub cannot be reached ({_describe(error)})", error)


def take_options(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Takes the arguments that go with a name, see `find_directory`, out of others."""
    names = ("revision", "cache_dir", "local_files_only")
    return {name: kwargs.pop(name) for name in names if name in kwargs}


def _describe(error: Exception) -> str:
    """Returns a word on an error; its own text may hold signed addresses."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"status {response.status_code}"
    return type(error).__name__


def _refuse(
    directory: str | os.PathLike, reason: str, error: BaseException | None = None
) -> NoReturn:
    raise CheckpointError(
        f"{directory} must be a model directory, or a name on the hub that can be read. Received: "
        f"no such folder, and {reason}. A directory with the model's files needs no hub"
    ) from error


def _import_hub(directory: str | os.PathLike) -> types.ModuleType:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as error:
        raise CheckpointError(
            f"{directory} must be a model directory. Received: no such folder. To read a name on "
            "the hub more is needed: pip install 'albert_tf[hub]'"
        ) from error
    return huggingface_hub


def _find_copy(
    hub: types.ModuleType, name: HubName, cache_dir: pathlib.Path | None, with_weights: bool
) -> pathlib.Path | None:
    """Returns the folder of a copy that is whole, without asking anybody."""
    wanted = published_configs.VOCABULARY_FILES
    if with_weights:
        wanted = (published_configs.CONFIG_FILE,)
    for file in (sentence_files.MODULES_FILE, *wanted):
        path = hub.try_to_load_from_cache(name.name, file, cache_dir, name.revision)
        if isinstance(path, str):
            copy = pathlib.Path(path).parent
            folder = pathlib.Path(sentence_files.model_folder(copy))
            names = _names_in(folder)
            weights = _weights_among(names) if with_weights else None
            if not with_weights and names.intersection(wanted):
                return copy
            if weights and names.issuperset({*wanted, *_shards(folder / weights)}):
                return copy
    return None


def _names_in(folder: pathlib.Path) -> set[str]:
    if not folder.is_dir():
        return set()
    return {entry.name for entry in folder.iterdir() if entry.is_file()}


def _weights_among(names: Collection[str]) -> str | None:
    """Returns the file of weights, or the index of several, that a directory is read from."""
    return next((name for name in published_configs.WEIGHT_FILES if name in names), None)


def _shards(weights_file: pathlib.Path) -> set[str]:
    """Returns the names of the files beside an index, {} for weights in one file."""
    if weights_file.suffix != ".json":
        return set()
    try:
        index = json_files.read_object(weights_file, {"weight_map": dict})
    except json_files.JsonError as error:
        raise CheckpointError(str(error)) from error
    return set(map(str, index["weight_map"].values()))


def _fetch(
    hub: types.ModuleType,
    name: HubName,
    cache_dir: pathlib.Path | None,
    with_weights: bool,
    report: Callable[[str], None],
) -> pathlib.Path:
    """Downloads what our readers read of a model, as far as the cache lacks it; returns its copy.

    huggingface_hub goes on with files that were cut off, and gives a file its name when it is
    whole.
    """
    info = hub.HfApi().model_info(name.name, revision=name.revision)
    is_told = False

    def download(file: str, revision: str = info.sha) -> pathlib.Path:
        nonlocal is_told
        is_there = isinstance(hub.try_to_load_from_cache(name.name, file, cache_dir, info.sha), str)
        if not is_told and not is_there:
            is_told = True
            report(f"downloading {name}, commit {info.sha[:12]}, from the hub")
        path = hub.hf_hub_download(name.name, file, revision=revision, cache_dir=cache_dir)
        return pathlib.Path(path)

    all_names = {file.rfilename for file in info.siblings or ()}
    there = json_files.listed(sorted(all_names)) or "nothing"
    settings, prefix = [], ""
    if sentence_files.MODULES_FILE in all_names:
        modules_file = download(sentence_files.MODULES_FILE)
        folder, settings = sentence_files.folder_and_settings_files(modules_file)
        prefix = f"{folder}/" if folder else ""
    names = {file.removeprefix(prefix) for file in all_names if file.startswith(prefix)}
    weights = _weights_among(names) if with_weights else None
    if with_weights and (weights is None or published_configs.CONFIG_FILE not in names):
        raise CheckpointError(
            f"{name} must hold {published_configs.CONFIG_FILE} and weights, in one of "
            f"{', '.join(published_configs.WEIGHT_FILES)}. Received: {there}"
        )
    if not with_weights and not names.intersection(published_configs.VOCABULARY_FILES):
        raise CheckpointError(
            f"{name} must hold a vocabulary, in one of "
            f"{', '.join(published_configs.VOCABULARY_FILES)}. Received: "
            f"{there}"
        )
    files = [prefix + file for file in (_FILES if with_weights else _TOKENIZER_FILES)]
    files = [file for file in (*settings, *files) if file in all_names]
    copies = [download(file) for file in files]
    if weights:
        for shard in sorted(_shards(download(prefix + weights)) & names):
            download(prefix + shard)
    if name.revision != info.sha:
        # Only so the cache learns which commit the revision is, for those who are offline later.
        for file in {files[-1], *({sentence_files.MODULES_FILE} & all_names)}:
            download(file, name.revision)
    copy = copies[-1].parents[prefix.count("/")]
    if sentence_files.MODULES_FILE not in all_names:
        # As huggingface_hub itself notes what it asked for in vain.
        absent = _note_of_absence(copy)
        absent.parent.mkdir(parents=True, exist_ok=True)
        absent.touch()
    return copy


def _note_of_absence(copy: pathlib.Path) -> pathlib.Path:
    return copy.parents[1] / ".no_exist" / copy.name / sentence_files.MODULES_FILE


def may_lack_modules(directory: str | os.PathLike) -> bool:
    """Tells whether a directory is a copy of which nobody knows if it makes sentence vectors.

    Others than we fill the cache, too, with the files of the model alone.
    """
    copy = pathlib.Path(directory)
    if not _COPY.fullmatch(str(copy)) or (copy / sentence_files.MODULES_FILE).is_file():
        return False
    return not _note_of_absence(copy).is_file()


def name_copies(text: str) -> str:
    """Returns a text, such as a path, with names and commits in place of paths of their copies."""
    return _COPY.sub(rf"{_SCHEME}\1/\2@\3", text)


def push_to_hub(
    directory: str | os.PathLike,
    name: str,
    *,
    private: bool | None = None,
    message: str | None = None,
) -> str:
    """Uploads a model directory: its model, vocabulary, task and card, and nothing else.

    Checkpoints, logs, reports and data of a run's directory stay here. The token is that which
    huggingface_hub finds, in `HF_TOKEN` or of its login.

    Args:
        directory: of a run, or as `save_pretrained` wrote it.
        name: `owner/name` on the hub; it is made if it is not there.
        private: whether a new one is; by default as its owner's settings say.
        message: of the commit.

    Returns:
        The address of the model's page.

    Raises:
        CheckpointError: if there is no model in the directory, or it cannot be uploaded.
    """
    if not _NAME.fullmatch(name) or not _is_allowed(name):
        raise CheckpointError(f"`name` must be owner/name. Received: {name!r}")
    check_folder(directory)
    folder = pathlib.Path(directory)
    names = {path.name for path in folder.iterdir() if path.is_file()}
    weights = _weights_among(names)
    if weights is None or published_configs.CONFIG_FILE not in names:
        raise CheckpointError(
            f"{directory} must be a model directory, with {published_configs.CONFIG_FILE} and "
            f"weights. Received: {json_files.listed(sorted(names)) or 'an empty folder'}"
        )
    ours = {*_FILES, CARD_FILE, weights, *_shards(folder / weights)} & names
    if sentence_files.MODULES_FILE in names:
        _, settings = sentence_files.folder_and_settings_files(folder / sentence_files.MODULES_FILE)
        ours |= {sentence_files.MODULES_FILE, *settings}
    hub = _import_hub(directory)
    try:
        api = hub.HfApi()
        address = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=name,
            folder_path=folder,
            allow_patterns=sorted(ours),
            # What is read of a model that was there before would make another one of this.
            delete_patterns=sorted({*_FILES, *_NOT_OF_ALL} - ours),
            commit_message=message or "Upload of an ALBERT by albert_tf",
        )
    except (hub.errors.HTTPError, OSError) as error:
        raise CheckpointError(
            f"{directory} could not be uploaded as {name}: {_describe(error)}. A token that may "
            "write must be in HF_TOKEN, or given to `hf auth login`"
        ) from error
    return str(address)
