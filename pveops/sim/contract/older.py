"""The schema of Proxmox VE 8.4, where clients see a difference: derived from the one of 9.2, because only that one is known whole."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from typing import Any

from pveops.sim.contract.schema import Method, Schema, load
from pveops.sim.release import NINE, Release

_SINCE_NINE = re.compile(
    r"/cluster/(ha/rules|ha/status/(dis)?arm-ha|bulk-action|qemu|sdn/(fabrics|prefix-lists|route-maps|lock|rollback))(/.*)?"
    r"|/nodes/\{node\}/(sdn/fabrics(/.*)?|query-oci-repo-tags|storage/\{storage\}/oci-registry-pull)"
    r"|/nodes/\{node\}/qemu/\{vmid\}/dbus-vmstate"
)
_NEW_PARAMETERS = {"/cluster/ha/resources": ("auto-rebalance", "failback"), "/cluster/ha/resources/{sid}": ("auto-rebalance", "failback")}


def _old_privileges(expression: Any) -> Any:
    """The same expression with the privileges of the time: one for everything that the guest agent can do."""
    if isinstance(expression, list):
        names = [_old_privileges(part) for part in expression]
        return list({repr(name): name for name in names}.values()) if all(isinstance(name, str) for name in names) else names
    return "VM.Monitor" if isinstance(expression, str) and expression.startswith("VM.GuestAgent.") else expression


def _old_parameters(method: Method) -> dict[str, Any]:
    gone = _NEW_PARAMETERS.get(method.path, ())
    found = {name: dict(spec) for name, spec in method.parameters.items() if name not in gone}
    for spec in found.values():
        if spec.get("format") == "pve-priv-list":
            spec["format"] = "pve-old-priv-list"
        if "decade" in (spec.get("enum") or ()):
            spec["enum"] = [name for name in spec["enum"] if name != "decade"]
    return found


def _older(method: Method) -> Method:
    permissions = dict(method.permissions) if method.permissions else None
    if permissions and "check" in permissions:
        permissions["check"] = _old_privileges(permissions["check"])
    return replace(method, parameters=_old_parameters(method), permissions=permissions)


@cache
def schema_of(release: Release) -> Schema:
    """The schema of a version."""
    newest = load()
    if release is NINE:
        return newest
    return Schema(release.name, {key: _older(method) for key, method in newest.methods.items() if not _SINCE_NINE.fullmatch(key[1])})
