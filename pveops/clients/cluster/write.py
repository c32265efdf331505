"""Changing a cluster. Imported by ``app.executor`` alone, and useless without a grant that only the executor can make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pveops.base.errors import NoAnswer, NodeUnreachable, PveopsError
from pveops.model.tasks import Upid

if TYPE_CHECKING:
    from pveops.clients.cluster.wire import Wire
    from pveops.model.plan import WireCall

_MAYBE_DONE = (596, 597, 599)
"""Answers that tell nothing about what the far node did; 595 says that the connection to it was never made."""


class GrantCheck(Protocol):
    """Redeems a grant for one call, once."""

    def __call__(self, grant: object, call: WireCall) -> None:
        """Return if the grant is for exactly this call and unspent; raise ``GuardError`` otherwise."""
        ...


@dataclass(frozen=True, slots=True)
class Sent:
    """Proxmox VE took the call; ``upid`` names its task, none for a synchronous call."""

    upid: Upid | None


class Writer:
    """Sends granted calls, each at most once."""

    def __init__(self, wire: Wire, redeem: GrantCheck) -> None:
        self._wire = wire
        self._redeem = redeem

    @property
    def token_id(self) -> str:
        """``user@realm!name`` of the write token."""
        return self._wire.token_id

    @property
    def timeout_s(self) -> float:
        """After this many seconds without an answer a call counts as unanswered."""
        return self._wire.write_timeout_s

    def prepare(self) -> None:
        """A change is about to be sent: open its connection meanwhile."""
        self._wire.prepare()

    def send(self, call: WireCall, grant: object) -> Sent:
        """Send one call.

        Raises:
            GuardError: the grant is not for this call, or spent.
            Unreachable: surely not sent.
            NoAnswer: it may have been carried out.
            ApiError: refused, nothing was done.
        """
        self._redeem(grant, call)
        try:
            reply = self._wire.send_once(call.method, call.path, dict(call.params))
        except NodeUnreachable as err:
            if err.status in _MAYBE_DONE:
                raise NoAnswer(err.message, hint=err.hint, details=err.details) from err
            raise
        except PveopsError as err:
            if err.details.get("status") in (502, 503, 504):
                raise NoAnswer(err.message, hint=err.hint, details=err.details) from err
            raise
        data = reply.data
        return Sent(Upid.parse(data) if isinstance(data, str) and data.startswith("UPID:") else None)
