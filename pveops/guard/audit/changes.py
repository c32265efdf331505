"""Writes down what changes beside the executor's own doing: policy, register of principals, kill switch, whoever edited them."""

from __future__ import annotations

from typing import Any

from pveops.base.canon import digest
from pveops.base.errors import ConfigError
from pveops.guard.audit.ledger import Ledger
from pveops.guard.audit.query import Query
from pveops.guard.killswitch import KillSwitch
from pveops.guard.policy import Policy
from pveops.guard.principals import Principals, row_of


class Changes:
    """Compares with what the ledger knows. Call ``look`` now and then; it writes only what differs."""

    def __init__(self, ledger: Ledger, policy: Policy, principals: Principals, kill: KillSwitch) -> None:
        self._ledger = ledger
        self._policy = policy
        self._principals = principals
        self._kill = kill
        self._known: dict[str, Any] | None = None

    def look(self) -> list[str]:
        """Write down what has changed; returns the kinds of the records made.

        Raises:
            AuditError: it cannot be written down.
        """
        known = self._known if self._known is not None else self._recorded()
        now = self._now()
        made = []
        for subject, state in now.items():
            if known.get(subject) == state:
                continue
            if subject == "kill" and self._said_by_itself(state):
                continue
            before = known.get(subject)
            kind = {"policy": "policy.changed", "principals": "principals.changed", "kill": "kill.found"}[subject]
            self._ledger.append(
                kind, actor="executor", data={**state, "before": _brief(before), "what": _difference(subject, before, state)}
            )
            made.append(kind)
        self._known = now
        return made

    def _now(self) -> dict[str, Any]:
        kill = self._kill.state()
        try:
            register = {one.name: digest(row_of(one)) for one in self._principals.all()}
            people: dict[str, Any] = {"names": register, "fault": ""}
        except ConfigError as err:
            people = {"names": {}, "fault": err.message}
        return {
            "policy": {"hash": self._policy.hash, "files": self._policy.name, "fault": self._policy.fault},
            "principals": people,
            "kill": {"on": kill.on, "why": kill.why, "by": kill.by},
        }

    def _recorded(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for subject, kind, keys in (
            ("policy", "policy.changed", ("hash", "files", "fault")), ("principals", "principals.changed", ("names", "fault")),
        ):  # fmt: skip
            for record in self._ledger.find(Query(kind=kind, limit=1)):
                found[subject] = {key: record["data"].get(key) for key in keys}
        return found

    def _said_by_itself(self, state: dict[str, Any]) -> bool:
        """Whether the last word on the switch in the ledger is the state it is in."""
        last = self._ledger.find(Query(kind="kill", limit=20))
        words = [record["kind"] == "kill.on" or record["data"].get("on") is True for record in last if record["kind"] != "kill.refused"]
        return bool(words) and words[-1] == state["on"]


def _brief(state: Any) -> Any:
    return state.get("hash", state.get("fault", "")) if isinstance(state, dict) else ""


def _difference(subject: str, before: Any, now: dict[str, Any]) -> str:
    if now.get("fault"):
        return f"not usable: {now['fault']}"
    if subject == "policy":
        return f"policy {now['hash'][:8]} of {now['files']}"
    if subject == "kill":
        return f"the kill switch was found {'on' if now['on'] else 'off'}"
    old = before.get("names", {}) if isinstance(before, dict) else {}
    names = now["names"]
    parts = [
        f"{word} {', '.join(found)}"
        for word, found in (
            ("new:", sorted(set(names) - set(old))), ("gone:", sorted(set(old) - set(names))),
            ("changed:", sorted(name for name in names if name in old and names[name] != old[name])),
        ) if found
    ]  # fmt: skip
    return "; ".join(parts) or "mended"
