"""Who may see and use the pages: whoever brought the token once, and then shows the cookie made of it.

A page that can approve must not be open to every local process or web page, so the page confirms only when this gate guards the server.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pveops.base.errors import ConfigError
from pveops.surfaces.dash import TOKEN_VARIABLE

_LOCAL = frozenset({"127.0.0.1", "localhost", "[::1]"})
SHORTEST = 16
"""A token has at least so many characters."""


class Gate:
    """Checks tokens and cookies of one server."""

    def __init__(self, token: str) -> None:
        if len(token) < SHORTEST:
            raise ConfigError(
                f"{TOKEN_VARIABLE} has fewer than {SHORTEST} characters.",
                hint="Set a random one, or start with `pveops up`, which makes one.",
            )
        self._token = token

    @classmethod
    def of_environment(cls) -> Gate:
        """The gate with the token of the environment.

        Raises:
            ConfigError: there is none, or it is too short.
        """
        return cls(os.environ.get(TOKEN_VARIABLE, ""))

    @property
    def cookie(self) -> str:
        """The cookie's value: made of the token, and not the token."""
        return hmac.new(self._token.encode(), b"pveops page", hashlib.sha256).hexdigest()

    def knows_token(self, given: str) -> bool:
        """Whether this is the token."""
        return hmac.compare_digest(given.encode(), self._token.encode())

    def knows_cookie(self, given: str) -> bool:
        """Whether this is the cookie."""
        return hmac.compare_digest(given.encode(), self.cookie.encode())


def is_local(host: str) -> bool:
    """Whether a ``Host`` header names the loopback: another name that points here is somebody's trick."""
    return (host if host.endswith("]") else host.rsplit(":", 1)[0]) in _LOCAL


def cookie_name(port: int) -> str:
    """Cookies do not know ports: each server has a name of its own."""
    return f"pveops-page-{port}"


def token_in(address: str) -> str:
    """The token in an address, or nothing."""
    return dict(parse_qsl(urlsplit(address).query)).get("token", "")


def without_token(address: str) -> str:
    """The local part of an address without its token; an address of another server becomes ``/``."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc or not parts.path.startswith("/") or parts.path.startswith("//") or "\\" in parts.path:
        return "/"
    query = urlencode([(name, value) for name, value in parse_qsl(parts.query) if name != "token"])
    return urlunsplit(("", "", parts.path, query, ""))


_guarding = False


def guard() -> None:
    """Note that the gate stands before every page of this process."""
    global _guarding  # noqa: PLW0603 - one server per process, one gate per server
    _guarding = True


def guarded() -> bool:
    """Whether the gate stands before every page of this process."""
    return _guarding
