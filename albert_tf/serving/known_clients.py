"""Who is answered: clients that ask a known host, with a known key where the server has any.

A page of a stranger must not speak to a server through a browser. Any site can have its own name
point to 127.0.0.1, and its pages then read what a server on the visitor's machine says (DNS
rebinding). The name stays the site's own, in the header `Host`; so only known names are answered.
An address in numbers is no name and is safe.

A key is kept as its digest and is in no message: what came is described, not shown.
"""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Collection, Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from albert_tf.json_files import shorten
from albert_tf.serving.error_answers import answer_error

_HOST = re.compile(r"(?:\[(?P<address>[^\]]*)\]|(?P<name>[^:\[\]]*))(?::\d*)?")
_CHALLENGE = 'Bearer realm="albert_tf"'
# What probes ask; and the pages, which hold nothing but the model's name and ask with a key.
_OPEN = re.compile(
    r"/|/docs|/healthz|/readyz|/v2/health/(live|ready)|/v2/models/[^/]+(/versions/[^/]+)?/ready"
)


class KnownHosts:
    """An ASGI application that passes on what is asked of a known host.

    Args:
        app: the application behind it.
        names: besides addresses and `localhost`; `*.example.org` stands for all names below
            example.org, `*` for any.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str] = ()):
        self._app = app
        self._names = {name.lower().rstrip(".") for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or refuses its host."""
        if scope["type"] == "http":
            # HTTP/1.0 has none, and no browser speaks it.
            host = dict(scope["headers"]).get(b"host", b"localhost").decode("latin-1")
            if not self.knows(host):
                message = (
                    "Host must be an address, localhost or a name that `allowed_hosts` has. "
                    f"Received: {shorten(host)}"
                )
                await answer_error(scope["path"], 400, message)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def knows(self, host: str) -> bool:
        """Returns whether a value of `Host`, with or without a port, is answered."""
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = (match["name"] if match["address"] is None else match["address"]).lower().rstrip(".")
        if "*" in self._names or name in self._names or _is_address(name):
            return True
        below = name.split(".")
        return below[-1] == "localhost" or any(
            f"*.{'.'.join(below[start:])}" in self._names for start in range(1, len(below))
        )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class KnownKeys:
    """An ASGI application that passes on what is asked with a key, and what needs none.

    Args:
        app: the application behind it.
        digests: of the keys, of which any will do; without any nothing is refused.
    """

    def __init__(self, app: ASGIApp, digests: Collection[bytes] = ()):
        self._app = app
        self._digests = digests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or refuses it for its key."""
        if scope["type"] == "http" and self._digests and not _OPEN.fullmatch(scope["path"]):
            fault, detail = self.find_fault(scope["headers"])
            if fault is not None:
                message = (
                    f"Authorization must be Bearer and a key of this server. Received: {fault}"
                )
                challenge = {"WWW-Authenticate": _CHALLENGE + detail}
                answer = answer_error(scope["path"], 401, message, challenge)
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def find_fault(self, headers: Iterable[tuple[bytes, bytes]]) -> tuple[str | None, str]:
        """Returns what is wrong with the key of a request, None for nothing, and its challenge."""
        values = [value for name, value in headers if name == b"authorization"]
        if len(values) != 1:
            return ("several" if values else "none"), ""
        scheme, _, key = values[0].partition(b" ")
        if scheme.lower() != b"bearer":
            return "another scheme", ""
        # All are compared, each in a time that does not tell how much of it was right.
        digest = digest_key(key.strip())
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return (None, "") if any(matches) else ("another key", ', error="invalid_token"')


def digest_key(key: bytes) -> bytes:
    """Returns what a key is compared by."""
    return hashlib.sha256(key).digest()
