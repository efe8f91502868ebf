"""Which names a server answers to: a page of a stranger must not speak to it through a browser.

Any site can have its own name point to 127.0.0.1, and its pages then read what a server on the
visitor's machine says (DNS rebinding). The name stays the site's own, in the header `Host`; so only
known names are answered. An address in numbers is no name and is safe.
"""

import ipaddress
import re
from collections.abc import Iterable

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from albert_tf.json_files import shorten

_HOST = re.compile(r"(?:\[(?P<address>[^\]]*)\]|(?P<name>[^:\[\]]*))(?::\d*)?")


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
                await JSONResponse({"error": message}, 400)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def knows(self, host: str) -> bool:
        """Returns whether a value of `Host`, with or without a port, is answered."""
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = (match["address"] or match["name"]).lower().rstrip(".")
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
