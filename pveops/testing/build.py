"""Small plans, proposals and facts for tests."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pveops.base.ids import new_id
from pveops.model.facts import Facts, fingerprint
from pveops.model.plan import Change, Fact, FieldValue, Need, Plan, Step, WireCall
from pveops.model.proposal import Origin, Preview, Proposal, Tier, Verdict

NOW = datetime(2026, 11, 21, 14, 32, 7, tzinfo=UTC)
GUEST: Mapping[str, FieldValue] = {
    "node": "pve1", "kind": "qemu", "name": "web-1", "status": "running", "lock": None, "template": False, "protection": False,
    "digest": "a" * 40, "snapshots": (), "hastate": None, "tags": ("prod",), "pool": None, "volumes": (), "booted_s": 1_700_000_000,
}  # fmt: skip


def step(vmid: int = 101, key: str = "s1", *, node: str = "pve1", target: str = "pve2", **more: Any) -> Step:
    """A step that migrates a guest."""
    subject = f"guest/{vmid}"
    fields: dict[str, Any] = {
        "key": key,
        "text": f"Migrate {vmid} web-{vmid - 100} to {target}",
        "note": "live, no downtime",
        "subject": subject,
        "call": WireCall(method="POST", path=f"/nodes/{node}/qemu/{vmid}/migrate", params=(("target", target), ("online", 1))),
        "task_types": ("qmigrate",),
        "assumes": tuple(Fact(subject=subject, field=name, value=GUEST[name]) for name in ("node", "status", "lock", "digest")),
        "expects": (Fact(subject=subject, field="node", value=target),),
        "needs": (Need(kind="quorum"),),
        "touches": ("node",),
        "expected_s": 40,
        "settle_s": 1,
        "undo": Step(
            key=f"{key}-undo",
            text=f"Migrate {vmid} back to {node}",
            subject=subject,
            call=WireCall(method="POST", path=f"/nodes/{target}/qemu/{vmid}/migrate", params=(("target", node), ("online", 1))),
            expects=(Fact(subject=subject, field="node", value=node),),
        ),
    }
    return Step(**{**fields, **more})


def plan(*steps: Step, **more: Any) -> Plan:
    """A plan that migrates one guest, or of the steps given."""
    chosen = steps or (step(),)
    fields: dict[str, Any] = {
        "cluster": "lab",
        "tool": "guest.migrate",
        "args": (("guest", "101"), ("target", "pve2")),
        "summary": "Migrate 101 web-1 to pve2" if len(chosen) == 1 else f"Migrate {len(chosen)} guests to pve2",
        "action": "migration" if len(chosen) == 1 else f"{len(chosen)} migrations",
        "steps": chosen,
        "changes": (
            Change(what="101 web-1, node", before="pve1", after="pve2"),
            Change(what="pve1 memory", before="96\u00a0%", after="87\u00a0%", by="−45\u00a0GiB"),
        ),
        "undo_text": "Migrate back",
    }
    return Plan(**{**fields, **more})


def facts(*vmids: int, quorate: bool = True, **changed: FieldValue) -> Facts:
    """Facts of guests as the plans above assume them; ``changed`` replaces fields of all of them."""
    values: dict[str, FieldValue] = {"cluster.quorate": quorate, "node/pve1.status": "online", "node/pve2.status": "online"}
    for vmid in vmids or (101,):
        values.update({f"guest/{vmid}.{name}": value for name, value in {**GUEST, **changed}.items()})
    return Facts(values=values, read_at=NOW)


def proposal(of: Plan | None = None, **more: Any) -> Proposal:
    """A waiting proposal."""
    chosen = of or plan()
    fields: dict[str, Any] = {
        "id": new_id("p"),
        "plan": chosen,
        "digest": chosen.digest,
        "fingerprint": fingerprint(chosen.assumed),
        "policy_hash": "0" * 64,
        "audience": "x-0000000000000001",
        "approval_id": new_id("a"),
        "tier": Tier.YELLOW,
        "targets": len(chosen.subjects),
        "verdict": Verdict(decision="confirm", rule="operators-act", text="Needs one approval."),
        "preview": Preview(checks=(), read_at=NOW, by="executor"),
        "requester": "operator",
        "author": "person",
        "origin": Origin(surface="test"),
        "correlation": "c-51f09a2e",
        "created": NOW,
        "expires": NOW + timedelta(minutes=15),
        "simulated": True,
    }
    return Proposal(**{**fields, **more})
