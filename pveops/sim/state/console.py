"""Consoles: a ticket for one, and the terminal behind its websocket, which echoes and runs the few programs that the inside knows."""

from __future__ import annotations

from dataclasses import dataclass

from pveops.sim.state.inside import Inside

WAIT_S = 10.0
"""How long a console waits for somebody to come."""


@dataclass(slots=True)
class Console:
    """A console that was asked for. ``where`` is the API path below which it may be opened; ``state`` is waiting, open or closed."""

    port: int
    ticket: str
    user: str
    where: str
    inside: Inside
    since_s: float
    state: str = "waiting"


class Terminal:
    """The terminal of one connection, in the protocol of xterm.js at Proxmox VE: first who it is, then ``0:length:text`` for keys.

    Args:
        console: what it belongs to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._known = False
        self._line = ""
        self.closed = False

    @property
    def _prompt(self) -> str:
        return f"root@{self._console.inside.name}:~# "

    def receive(self, data: bytes, now_s: float) -> str:
        """What the terminal says to what it was sent; it closes after ``exit``, or when nobody said who they are."""
        text = data.decode("utf-8", "replace")
        if not self._known:
            greeting, _, rest = text.partition("\n")
            if greeting != f"{self._console.user}:{self._console.ticket}":
                self.closed = True
                return ""
            self._known = True
            return "OK" + self._prompt + (self.receive(rest.encode(), now_s) if rest else "")
        kind, _, rest = text.partition(":")
        if kind != "0":
            return ""
        length, _, keys = rest.partition(":")
        return self._type(keys.encode()[: int(length)].decode("utf-8", "replace"), now_s) if length.isdigit() else ""

    def _type(self, keys: str, now_s: float) -> str:
        said = ""
        for key in keys:
            if key in "\r\n":
                said += "\r\n" + self._enter(now_s)
            elif key == "\x7f":
                said += "\b \b" if self._line else ""
                self._line = self._line[:-1]
            elif key == "\x04" and not self._line:
                self.closed = True
            else:
                self._line += key
                said += key
        return said

    def _enter(self, now_s: float) -> str:
        line, self._line = self._line.strip(), ""
        if line in ("exit", "logout"):
            self.closed = True
            return "logout\r\n"
        outcome = self._console.inside.line(line, now_s, self._console.since_s)
        return (outcome.out + outcome.err).replace("\n", "\r\n") + self._prompt
