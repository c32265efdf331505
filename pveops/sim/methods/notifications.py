"""Who is told about what: endpoints, matchers, targets. Nothing leaves the simulation; a test of a target only says whether there is one."""

from __future__ import annotations

import hashlib
from typing import Any

from pveops.sim.errors import RefusedError
from pveops.sim.methods.table import Call, Table
from pveops.sim.state.sections import Row, Sections

api = Table()

_KINDS = ("gotify", "sendmail", "smtp", "webhook")
_BASE = "/cluster/notifications"
_SECRET = frozenset({"token", "password", "secret"})
_META = frozenset({"name", "delete", "digest"})
_TYPES = ("package-updates", "fencing", "replication", "vzdump", "system-mail")
_BUILT_IN: dict[str, dict[str, Row]] = {
    "sendmail": {"mail-to-root": {"mailto-user": ["root@pam"], "comment": "Mail to the address of root@pam"}},
    "matchers": {"default-matcher": {"mode": "all", "target": ["mail-to-root"], "comment": "Everything to mail-to-root"}},
}


def _each(verb: str, rest: str = "") -> list[str]:
    return [*(f"{verb} {_BASE}/endpoints/{kind}{rest}" for kind in _KINDS), f"{verb} {_BASE}/matchers{rest}"]


def _kind(call: Call) -> str:
    parts = call.path.split("/")
    return parts[4] if parts[3] == "endpoints" else "matchers"


def _sections(call: Call, kind: str) -> Sections:
    known = call.cluster.configs.notifications
    if kind not in known:
        known[kind] = Sections(_BUILT_IN.get(kind))
    return known[kind]


def _word(kind: str) -> str:
    return "matcher" if kind == "matchers" else "endpoint"


def _origin(kind: str, name: str, row: Row) -> str:
    original: Row | None = _BUILT_IN.get(kind, {}).get(name)
    if original is None:
        return "user-created"
    return "builtin" if row == original else "modified-builtin"


def _digest(call: Call) -> str:
    content = [(kind, sorted(_sections(call, kind).rows.items(), key=str)) for kind in (*_KINDS, "matchers")]
    return hashlib.sha256(repr(content).encode()).hexdigest()


def _shown(name: str, row: Row) -> Row:
    return {"name": name, **{key: value for key, value in row.items() if key not in _SECRET}}


@api.reads(*_each("GET"))
def listing(call: Call) -> list[dict[str, Any]]:
    """All endpoints of a kind, or all matchers."""
    kind = _kind(call)
    return [_shown(name, row) | {"origin": _origin(kind, name, row)} for name, row in sorted(_sections(call, kind).rows.items())]


def _find(call: Call) -> Row:
    kind, name = _kind(call), call.p["name"]
    row = _sections(call, kind).get(name)
    if row is None:
        raise RefusedError(404, f"{_word(kind)} '{name}' not found")
    return row


@api.reads(*_each("GET", "/{name}"))
def one(call: Call) -> dict[str, Any]:
    """One endpoint or matcher, without its secrets."""
    return _shown(call.p["name"], _find(call)) | {"digest": _digest(call)}


def _given(call: Call) -> Row:
    return {key: value for key, value in call.p.items() if key not in _META}


def _targets(call: Call) -> dict[str, str]:
    """Every endpoint with its kind."""
    return {name: kind for kind in _KINDS for name in _sections(call, kind).rows}


def _check(call: Call, kind: str, given: Row) -> None:
    if kind == "matchers":
        for name in given.get("target", ()):
            if name not in _targets(call):
                raise RefusedError(404, f"target '{name}' not found")
    elif kind in ("sendmail", "smtp") and not (given.get("mailto") or given.get("mailto-user")):
        raise RefusedError(400, "must at least provide one recipient, either in mailto or in mailto-user")


@api.behaves(*_each("POST"))
def create(call: Call) -> None:
    """A new endpoint or matcher. No two have the same name, whatever they are."""
    kind, name, given = _kind(call), call.p["name"], _given(call)
    if name in _targets(call) or name in _sections(call, "matchers"):
        raise RefusedError(400, f"Cannot create '{name}', an entity with the same name already exists")
    _check(call, kind, given)
    _sections(call, kind).rows[name] = given


@api.behaves(*_each("PUT", "/{name}"))
def update(call: Call) -> None:
    """Change an endpoint or matcher."""
    kind, given, row = _kind(call), _given(call), _find(call)
    if "digest" in call.p and call.p["digest"] != _digest(call):
        raise RefusedError(400, "detected modified configuration - file changed by other user? Try again.")
    gone = call.p.get("delete", ())
    changed = {key: value for key, value in row.items() if key not in gone} | given
    _check(call, kind, changed)
    _sections(call, kind).rows[call.p["name"]] = changed


@api.behaves(*_each("DELETE", "/{name}"))
def delete(call: Call) -> None:
    """Remove an endpoint or matcher; what is built in goes back to what it was."""
    kind, name = _kind(call), call.p["name"]
    _find(call)
    original: Row | None = _BUILT_IN.get(kind, {}).get(name)
    users = [one for one, row in _sections(call, "matchers").rows.items() if kind != "matchers" and name in row.get("target", ())]
    if users and original is None:
        raise RefusedError(400, f"cannot delete '{name}', referenced by: {', '.join(users)}")
    rows = _sections(call, kind).rows
    if original is None:
        del rows[name]
    else:
        rows[name] = original | {}


@api.reads(f"GET {_BASE}/targets")
def targets(call: Call) -> list[dict[str, Any]]:
    """Everything that matchers can name."""
    found: list[dict[str, Any]] = []
    for name, kind in sorted(_targets(call).items()):
        row = _sections(call, kind).rows[name]
        shown: Row = {key: row[key] for key in ("comment", "disable") if key in row}
        found.append({"name": name, "type": kind, "origin": _origin(kind, name, row), **shown})
    return found


@api.behaves(f"POST {_BASE}/targets/{{name}}/test")
def test(call: Call) -> None:
    """Send a test message."""
    if call.p["name"] not in _targets(call):
        raise RefusedError(404, f"target '{call.p['name']}' not found")


@api.reads(f"GET {_BASE}/matcher-fields")
def fields(call: Call) -> list[dict[str, str]]:
    """What matchers can look at."""
    return [{"name": name} for name in ("type", "hostname", "job-id")]


@api.reads(f"GET {_BASE}/matcher-field-values")
def values(call: Call) -> list[dict[str, Any]]:
    """Values that these have."""
    found: list[dict[str, Any]] = [{"field": "type", "value": name} for name in _TYPES]
    if call.may("/", "Sys.Audit"):
        jobs = [job for job in call.cluster.backup_jobs.values() if job.options is not None]
        found += [{"field": "job-id", "value": job.name, "comment": (job.options or {}).get("comment")} for job in jobs]
    return found + [{"field": "hostname", "value": name} for name in call.cluster.nodes]
