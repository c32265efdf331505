"""What a status of Proxmox VE means. It answers 500 to nearly everything that a person would call "no"."""

from __future__ import annotations

import re
from typing import Any

from pveops.base.errors import ApiError, AuthFailed, BadArguments, Forbidden, Locked, NodeUnreachable, NotAnswered, NotFound, Overloaded
from pveops.base.redact import redact

_MISSING = re.compile(r"does not exist|no such|not found|hostname lookup .* failed|unable to find", re.IGNORECASE)
_LOCKED = re.compile(r"is locked|can't lock file", re.IGNORECASE)
_PRIVILEGE = re.compile(r"\((?P<path>/[^,)]*), (?P<privs>[^)]+)\)")
_LONGEST = 300
"""A foreign text longer than this is cut: it protects logs and cards."""


def _cut(text: str) -> str:
    text = redact(text.strip())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def error_of(status: int, reason: str, body: Any, *, method: str, path: str, endpoint: str) -> ApiError:
    """The error for an answer of 400 and above; the message names the server's own reason."""
    errors = body.get("errors") if isinstance(body, dict) else None
    said = str(body.get("message") or "") if isinstance(body, dict) else ""
    said = _cut(reason or said or f"status {status}")
    details: dict[str, Any] = {"status": status, "method": method, "path": path, "reason": said, "endpoint": endpoint}
    if isinstance(errors, dict) and errors:
        details["errors"] = {str(key): _cut(str(value)) for key, value in errors.items()}
    if status == 401:
        return AuthFailed(
            f"{endpoint} refused the token (401 {said}).",
            hint="It is wrong, expired or disabled. Renew it with `pveops init`.",
            details=details,
        )
    if status == 403:
        match = _PRIVILEGE.search(said)
        hint = (
            f"Grant {match['privs']} on {match['path']} to the token; `pveops init` prints the command."
            if match
            else "`pveops init` checks every privilege."
        )
        return Forbidden(f"The token may not {method} {path}: {said}.", hint=hint, details=details)
    if status == 400:
        listed = "; ".join(f"{key}: {value.strip()}" for key, value in details.get("errors", {}).items())
        return BadArguments(f"Proxmox VE refused the parameters of {method} {path}: {listed or said}.", details=details)
    if status == 501:
        return NotAnswered(
            f"{endpoint} does not answer {method} {path}: {said}.", hint="An older version, or the simulated cluster.", details=details
        )
    if status in (503, 429):
        return Overloaded(
            f"{endpoint} has too much to do for {method} {path}: {said} ({status}).", hint="Ask less, or a little later.", details=details
        )
    if status in (595, 596, 597, 599):
        return NodeUnreachable(
            f"{endpoint} could not reach the node for {method} {path}: {said} ({status}).",
            hint="Look at the node, its network and its clock.",
            details=details,
        )
    if _LOCKED.search(said):
        return Locked(f"{method} {path}: {said}.", hint="Another operation holds it; see `pveops tasks ls`.", details=details)
    if _MISSING.search(said):
        return NotFound(f"{method} {path}: {said}.", details=details)
    return ApiError(f"{method} {path}: {said} ({status}).", details=details)
