"""Who is at the other end of the Unix socket, by the kernel's word."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

_UCRED = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Peer:
    """Process and user that connected."""

    pid: int
    uid: int
    gid: int

    @property
    def has_terminal(self) -> bool:
        """Whether the process has a controlling terminal: a person who types, not a page or a kernel."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            return int(fields[4]) != 0
        except (OSError, ValueError, IndexError):
            return False


class PeerProtocol(H11Protocol):
    """uvicorn's HTTP protocol, with the peer's credentials in the request's state."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Read the credentials once per connection."""
        super().connection_made(transport)
        handle: Any = transport.get_extra_info("socket")
        pid, uid, gid = _UCRED.unpack(handle.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        self.app_state = {**self.app_state, "peer": Peer(pid, uid, gid)}
