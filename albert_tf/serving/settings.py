"""What a server is asked by, what it allows, and how long it waits; no package of a server."""

import dataclasses
import os
import re
from collections.abc import Mapping

from albert_tf.setting_checks import check_positive
from albert_tf.settings import Settings, setting

_MODEL_NAME = re.compile(r"[\w.-]+", re.ASCII)
LAST_VERSION = 2**63 - 1  # that a server takes, as TensorFlow Serving does
KEY_VARIABLE = "ALBERT_API_KEY"
_MOST_KEY_BYTES = 65_536
# What a header can carry behind `Bearer` (RFC 6750).
_KEY = re.compile(r"[A-Za-z0-9._~+/-]+=*")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServiceSettings(Settings):
    """What is served, and where."""

    model_dir: str = setting(help_text="Folder of versions, made by run_export.")
    host: str = setting("127.0.0.1", "Address to listen on; 0.0.0.0 for all.")
    port: int = setting(8501, "Port to listen on; 0 takes a free one.", lowest=0, highest=65535)
    poll_seconds: float = setting(2.0, "Seconds between two looks at the folder.", check_positive)
    api_key_file: str | None = setting(
        None,
        "File with a key a line, of which clients must send one; the variable ALBERT_API_KEY may "
        "have it instead. By default no key is asked for.",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits(Settings):
    """What a request may ask for."""

    max_rows: int = setting(256, "Rows of one request.", lowest=1)
    max_text_bytes: int = setting(1_000_000, "Bytes of one text.", lowest=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchingSettings(Settings):
    """How requests are joined; one that is larger than a run goes alone."""

    max_batch_size: int = setting(32, "Rows of different clients that are run together.", lowest=1)
    workers: int = setting(1, "Runs of the model at the same time.", lowest=1)
    max_waiting: int = setting(1000, "Requests that may wait; more get 503.", lowest=1)
    timeout_seconds: float = setting(30.0, "A request that takes longer gets 504.", check_positive)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConnectionSettings(Settings):
    """How long connections may wait for their clients, and how many there are.

    A third of the descriptors of the process is the most connections, whatever is set.
    """

    client_seconds: float = setting(
        30.0,
        "What a client has for sending the head of a request, for its body, and for taking the "
        "answer.",
        check_positive,
    )
    max_connections: int = setting(
        1000,
        "Connections at one time; one more takes the place of the one that has waited longest for "
        "its client.",
        lowest=1,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerSettings(Settings):
    """What the server answers to, and what it allows."""

    model_name: str = setting("albert", "Name of the model in addresses.")
    max_body_bytes: int = setting(
        10_000_000, "Bytes of one request; all together may have ten times as many.", lowest=1
    )
    allowed_hosts: tuple[str, ...] = setting(
        (),
        "Names that the server is asked by, besides localhost, this machine's name, `host` and any "
        "address; *.example.org for all below one, * for any.",
    )
    limits: Limits = dataclasses.field(default_factory=Limits)
    batching: BatchingSettings = dataclasses.field(default_factory=BatchingSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not _MODEL_NAME.fullmatch(self.model_name):
            raise ValueError(
                "`model_name` must be of letters, digits, dots, hyphens and underscores. "
                f"Received: {self.model_name!r}"
            )


def read_keys(path: str | None, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Returns the keys that a server was given, none by default.

    They come from no flag, since every list of processes shows flags, and are no setting, since
    settings are shown.

    Args:
        path: of a file with a key a line, so that a new one is known before an old one goes; None
            for the variable `ALBERT_API_KEY`.
        environment: the variables.

    Raises:
        ValueError: if there is no key in the file or variable, or one that no header can carry.
    """
    if path is None:
        if KEY_VARIABLE not in environment:
            return ()
        place, text = KEY_VARIABLE, environment[KEY_VARIABLE]
    elif KEY_VARIABLE in environment:
        raise ValueError(
            f"`api_key_file` must not be given where {KEY_VARIABLE} is. Received: both"
        )
    else:
        place = "`api_key_file`"
        try:
            with open(path, "rb") as file:
                content = file.read(_MOST_KEY_BYTES + 1)
            text = content.decode("utf-8-sig", "replace")
        except OSError as error:
            raise ValueError(
                f"{place} must be a file with a key. Received: {path}, {error.strerror}"
            ) from error
        if len(content) > _MOST_KEY_BYTES:  # a part of a key must not become one
            raise ValueError(f"{place} must have at most {_MOST_KEY_BYTES:,} bytes. Received: more")
    keys = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not keys:
        raise ValueError(f"{place} must have a key. Received: no characters but spaces")
    for number, key in enumerate(keys, 1):
        if not _KEY.fullmatch(key):
            raise ValueError(
                f"{place} must have a key a line, of letters, digits and -._~+/ with = at the end. "
                f"Received: key {number} has other characters"
            )
    return keys
