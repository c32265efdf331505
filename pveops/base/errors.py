"""The error tree of pveops. Every surface maps it once.

::

    PveopsError                    exit code 1
    ├── InputError                 2   what was asked for cannot be: unknown guest, bad name, bad argument
    │   ├── UnknownName                nothing is called that
    │   └── AmbiguousName              several things are called that
    ├── ConfigError                3   settings, files, ports, environment
    ├── TransportError             4   no usable answer from a server
    │   ├── Unreachable                nothing was sent: a retry is harmless
    │   ├── NoAnswer                   it was sent and no answer came: the outcome is not known
    │   └── CertificateMismatch        the server is not the one that was pinned
    ├── ApiError                   5   Proxmox VE answered with an error
    │   ├── AuthFailed                 401
    │   ├── Forbidden                  403
    │   ├── BadArguments               400
    │   ├── NotFound                   500 whose message says that the thing does not exist
    │   ├── Locked                     500 whose message says that the guest is locked
    │   ├── NotAnswered                501
    │   ├── Overloaded                 503, 429: too much is asked at the moment
    │   └── NodeUnreachable            595, 596, 599: the node that should answer does not
    ├── TaskError                  5   a Proxmox VE task ended with an error
    ├── GuardError                 6   the guard said no
    │   ├── Denied                     policy or tier forbids it
    │   ├── Stale                      the state is no longer the one that the plan assumes
    │   ├── Expired                    too late
    │   ├── Used                       decided already
    │   ├── Forged                     a signature, digest or credential does not fit
    │   └── Halted                     the kill switch is on
    ├── ExecutorUnavailable        7   the executor does not answer
    ├── OutcomeUnknown             8   a person must decide what happened
    └── AuditError                 9   the ledger cannot be written, or its chain is broken
"""

from __future__ import annotations

from typing import Any, ClassVar


class PveopsError(Exception):
    """What happened, to what, and what to do next.

    Args:
        message: one sentence: what happened, to what.
        hint: what to do next; empty when there is nothing to add.
        details: JSON-ready facts for machines (never secrets).
        correlation: the id that ties this to log lines and records.
    """

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    temporary: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "", details: dict[str, Any] | None = None, correlation: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = dict(details or {})
        self.correlation = correlation

    def __str__(self) -> str:
        return " ".join(part for part in (self.message, self.hint, self.correlation) if part)

    @property
    def kind(self) -> str:
        """The name of the error in the tree above; stable, part of every API."""
        return type(self).__name__

    def to_dict(self) -> dict[str, Any]:
        """The one JSON shape of an error, on every wire."""
        return {"kind": self.kind, "message": self.message, "hint": self.hint, "details": self.details, "correlation": self.correlation}


class InputError(PveopsError):
    """What was asked for cannot be."""

    exit_code = 2
    http_status = 422


class UnknownName(InputError):  # noqa: N818 - the tree reads as a sentence: "Unknown name", not "unknown name error"
    """Nothing is called that."""


class AmbiguousName(InputError):  # noqa: N818
    """Several things are called that; ``details['candidates']`` lists them."""


class ConfigError(PveopsError):
    """Settings, files, ports or environment are not usable."""

    exit_code = 3


class TransportError(PveopsError):
    """No usable answer from a server."""

    exit_code = 4
    http_status = 502


class Unreachable(TransportError):  # noqa: N818
    """No connection: nothing was sent, so a retry is harmless."""

    temporary = True


class NoAnswer(TransportError):  # noqa: N818
    """The request was (or may have been) sent and no whole answer came."""

    temporary = True


class CertificateMismatch(TransportError):  # noqa: N818
    """The server did not prove to be the one we trust."""


class ApiError(PveopsError):
    """Proxmox VE answered with an error.

    ``details`` holds ``status``, ``method``, ``path``, ``reason`` and, where given, ``errors`` per parameter.
    """

    exit_code = 5
    http_status = 502

    @property
    def status(self) -> int:
        """The HTTP status of the answer."""
        return int(self.details.get("status", 0))


class AuthFailed(ApiError):  # noqa: N818
    """401: the token or ticket was refused."""


class Forbidden(ApiError):  # noqa: N818
    """403: the token lacks a privilege."""


class BadArguments(ApiError):  # noqa: N818
    """400: parameters were refused."""


class NotFound(ApiError):  # noqa: N818
    """The thing does not exist (Proxmox VE says so with a 500)."""


class Locked(ApiError):  # noqa: N818
    """The guest is locked by another operation."""


class NotAnswered(ApiError):  # noqa: N818
    """501: this server has no such method (the simulated cluster answers only a part of them)."""


class Overloaded(ApiError):  # noqa: N818
    """503 or 429: the node we talk to has too much to do; it did not carry out the request."""

    temporary = True


class NodeUnreachable(ApiError):  # noqa: N818
    """595, 596 or 599: the node we talk to cannot reach the node that should answer."""

    temporary = True


class TaskError(PveopsError):
    """A Proxmox VE task ended with an error; ``details['upid']`` names it."""

    exit_code = 5
    http_status = 502


class GuardError(PveopsError):
    """The guard said no; nothing ran."""

    exit_code = 6
    http_status = 403


class Denied(GuardError):  # noqa: N818
    """Policy or tier forbids it; ``details['rule']`` names the rule."""


class Stale(GuardError):  # noqa: N818
    """The state is no longer the one that the plan assumes."""

    http_status = 409


class Expired(GuardError):  # noqa: N818
    """The time to decide is over."""

    http_status = 410


class Used(GuardError):  # noqa: N818
    """It was decided already."""

    http_status = 409


class Forged(GuardError):  # noqa: N818
    """A signature, digest or credential does not fit."""


class Halted(GuardError):  # noqa: N818
    """The kill switch is on."""

    http_status = 423


class ExecutorUnavailable(PveopsError):  # noqa: N818
    """The executor does not answer on its socket."""

    exit_code = 7
    http_status = 503
    temporary = True


class OutcomeUnknown(PveopsError):  # noqa: N818
    """It cannot be known whether the change happened; a person must decide."""

    exit_code = 8
    http_status = 409


class AuditError(PveopsError):
    """The ledger cannot be written, or its chain is broken."""

    exit_code = 9


def _tree(root: type[PveopsError]) -> dict[str, type[PveopsError]]:
    found = {root.__name__: root}
    for sub in root.__subclasses__():
        found.update(_tree(sub))
    return found


def from_dict(data: dict[str, Any]) -> PveopsError:
    """The error that ``to_dict`` wrote; an unknown kind becomes a plain ``PveopsError``."""
    cls = _tree(PveopsError).get(str(data.get("kind", "")), PveopsError)
    return cls(
        str(data.get("message", "The server gave no reason.")),
        hint=str(data.get("hint", "")),
        details=dict(data.get("details") or {}),
        correlation=str(data.get("correlation", "")),
    )
