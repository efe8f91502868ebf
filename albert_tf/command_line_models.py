"""Flags that name a model directory, for which a name on the Hugging Face hub does, too."""

import os
import sys
from collections.abc import Collection

from absl import flags

# The lines of huggingface_hub are its own; whoever asks for them is obeyed.
_QUIET = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_VERBOSITY": "error"}


def download(flag_values: flags.FlagValues, names: Collection[str]) -> None:
    """Puts directories on this machine in place of the names on the hub that flags have.

    Args:
        flag_values: absl's `FLAGS`.
        names: of the flags, as far as the running command has them.

    Raises:
        ValueError: naming the flag, for a name that cannot be read.
    """
    own = {flag.name: flag for flag in flag_values.get_key_flags_for_module("__main__")}
    named = [name for name in names if name in own and "/" in (own[name].value or "")]
    if not named:
        return
    for variable, value in _QUIET.items():
        os.environ.setdefault(variable, value)
    from albert_tf.checkpoints import hub_files

    for name in named:
        try:
            own[name].value = hub_files.find_directory(own[name].value, report=_print_aside)
        except ValueError as error:
            if name == "init_checkpoint" and _goes_on(own):
                continue  # from its own checkpoint
            raise ValueError(f"`{name}`: {error}") from error


def _goes_on(own: dict[str, flags.Flag]) -> bool:
    """Tells whether a run has checkpoints in its output directory."""
    folder = own["output_dir"].value if "output_dir" in own else None
    return bool(folder) and os.path.isdir(os.path.join(folder, "checkpoints"))


def name_copies(text: str) -> str:
    """Returns a text with names and commits in place of paths of models from the hub."""
    from albert_tf.checkpoints import hub_files

    return hub_files.name_copies(text)


def _print_aside(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
