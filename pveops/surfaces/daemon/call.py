"""One request to the executor, with its caller known."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from pveops.app.executor import Parts
from pveops.base.errors import InputError
from pveops.base.secret import Secret
from pveops.guard.principals import Principal
from pveops.surfaces.daemon.peer import Peer


class Call:
    """One request, with its caller known and its body read."""

    def __init__(self, parts: Parts, request: Request, who: Principal, peer: Peer, body: Any, token: Secret) -> None:
        self.parts = parts
        self.request = request
        self.who = who
        self.peer = peer
        self.body = body
        self.token = token

    @property
    def id(self) -> str:
        """The proposal in the path."""
        return str(self.request.path_params["proposal"])

    def channel(self, claimed: str) -> str:
        """Where a decision was made. ``cli`` is believed only of a process with a terminal."""
        if claimed == "cli" and not self.peer.has_terminal:
            return "script"
        return claimed if claimed in ("card", "dashboard", "cli") else "other"

    def number(self, name: str, default: float, most: float) -> float:
        """A number of the query string.

        Raises:
            InputError: it is none.
        """
        text = self.request.query_params.get(name, "")
        try:
            return min(float(text), most) if text else default
        except ValueError as err:
            raise InputError(f"{name} should be a number, not {text[:40]!r}.") from err
