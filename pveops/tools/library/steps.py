"""One step each: the exact wire call, what it assumes, what must be so afterwards, and its inverse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pveops.model.plan import Change, Fact, Need, Step, WireCall
from pveops.model.refs import GuestRef
from pveops.tools.library.look import Look

_QUORUM = Need(kind="quorum")
_SETTLE_S = 30
_SETTLE_HA_S = 600
_START_S, _SHUTDOWN_S = 5, 20
_UNDO_S = 180
_LINE_BYTES_PER_S = 1 << 30
"""A guess for durations: what a 10 Gbit/s migration network carries."""


def keyed(step: Step, key: str) -> Step:
    """The same step under another key."""
    return replace(step, key=key, undo=replace(step.undo, key=f"{key}-undo") if step.undo is not None else None)


def start(look: Look, key: str) -> Step:
    """Start a stopped guest."""
    ref = look.guest.ref
    return replace(
        _verb(look, key, "start", f"Start {look.guest.label}", (_is(ref, "status", "running"),)),
        note=_boots(look),
        assumes=_assumed(look),
        needs=(_QUORUM, _memory(look, ref.node)),
        expected_s=_START_S,
        undo=replace(
            _verb(look, f"{key}-undo", "shutdown", f"Shut down {look.guest.label}", (_is(ref, "status", "stopped"),), timeout=_UNDO_S),
            note=_asks(_UNDO_S),
            expected_s=_SHUTDOWN_S,
        ),
    )


def shutdown(look: Look, key: str, timeout_s: int) -> Step:
    """Ask a guest to shut down."""
    ref = look.guest.ref
    return replace(
        _verb(look, key, "shutdown", f"Shut down {look.guest.label}", (_is(ref, "status", "stopped"),), timeout=timeout_s),
        note=_asks(timeout_s),
        assumes=_assumed(look),
        expected_s=_SHUTDOWN_S,
        undo=replace(
            _verb(look, f"{key}-undo", "start", f"Start {look.guest.label}", (_is(ref, "status", "running"),)),
            note=_boots(look),
            expected_s=_START_S,
        ),
    )


def reboot(look: Look, key: str, timeout_s: int) -> Step:
    """Ask a guest to restart."""
    ref = look.guest.ref
    after = (_is(ref, "status", "running"), Fact(subject=ref.subject, field="booted_s", op="restarted"))
    return replace(
        _verb(look, key, "reboot", f"Reboot {look.guest.label}", after, timeout=timeout_s),
        note="down while it restarts",
        assumes=_assumed(look),
        expected_s=30,
        no_undo="a restart cannot be taken back",
    )


def snapshot(look: Look, key: str, name: str, description: str, *, memory: bool) -> Step:
    """Keep the present state under a name."""
    ref = look.guest.ref
    with_memory = memory and ref.kind == "qemu" and look.status == "running"
    params: dict[str, str | int] = {"snapname": name}
    if description:
        params["description"] = description
    if with_memory:
        params["vmstate"] = 1
    undo = Step(
        key=f"{key}-undo", text=f"Delete snapshot {name} of {look.guest.label}", subject=ref.subject,
        call=WireCall(method="DELETE", path=f"{ref.path}/snapshot/{name}"), task_types=(_type(ref, "delsnapshot"),),
        expects=(Fact(subject=ref.subject, field="snapshots", op="lacks", value=name),), needs=(_QUORUM,), touches=("digest", "snapshots"),
        note="the present state stays", expected_s=2,
    )  # fmt: skip
    seconds = 2 + (look.guest.maxmem_bytes or 0) // _LINE_BYTES_PER_S * 2 if with_memory else 2
    return Step(
        key=key, text=f"Snapshot {look.guest.label} as {name}", note="with memory" if with_memory else "disks only" if ref.kind == "qemu" else "",
        subject=ref.subject, call=WireCall(method="POST", path=f"{ref.path}/snapshot", params=tuple(params.items())), task_types=(_type(ref, "snapshot"),),
        assumes=look.assume("node", "kind", "lock", "template", "digest", "snapshots"),
        expects=(Fact(subject=ref.subject, field="snapshots", op="has", value=name),),
        needs=(_QUORUM, Need(kind="snapshot", subject=ref.subject)), touches=("digest", "snapshots"), expected_s=seconds, settle_s=_SETTLE_S, undo=undo,
    )  # fmt: skip


def migrate(look: Look, key: str, target: str, shared: Mapping[str, bool]) -> Step:
    """Move a guest to another node: a running virtual machine live, a running container with a restart."""
    ref, running = look.guest.ref, look.status not in ("stopped", "unknown")
    local = local_volumes(look, shared)
    back = migration_call(ref.on(target), ref.node, running=running, local=bool(local))
    after = (_is(ref, "node", target), _is(ref, "status", look.status))
    memory = (look.guest.mem_bytes or look.guest.maxmem_bytes or 0) if running else 0
    seconds = 8 + memory // _LINE_BYTES_PER_S + (look.guest.maxdisk_bytes or 0) // (_LINE_BYTES_PER_S // 4) * bool(local)
    if not running:
        note = "does not run"
    elif ref.kind == "lxc":
        note = "container, restarts, about 12 s down"
    else:
        note = "live, no downtime"
    if local:
        note += f", copies {len(local)} local disk{'s' if len(local) > 1 else ''}"
    return Step(
        key=key, text=f"Migrate {look.guest.label} to {target}", note=note, subject=ref.subject,
        call=migration_call(ref, target, running=running, local=bool(local)),
        task_types=("hamigrate", _type(ref, "migrate")) if look.ha else (_type(ref, "migrate"),),
        assumes=(*_assumed(look), Fact(subject=f"node/{target}", field="status", value="online")),
        expects=after, needs=(_QUORUM, Need(kind="migrate", subject=ref.subject, target=target), *((_memory(look, target),) if running else ())),
        touches=("node", "status"), expected_s=seconds, settle_s=_SETTLE_HA_S if look.ha else _SETTLE_S,
        undo=Step(
            key=f"{key}-undo", text=f"Migrate {look.guest.label} back to {ref.node}", note=note, subject=ref.subject, call=back, expected_s=seconds,
            task_types=("hamigrate", _type(ref, "migrate")) if look.ha else (_type(ref, "migrate"),),
            expects=(_is(ref, "node", ref.node), _is(ref, "status", look.status)),
            needs=(_QUORUM, Need(kind="migrate", subject=ref.subject, target=ref.node)), touches=("node", "status"),
            settle_s=_SETTLE_HA_S if look.ha else _SETTLE_S,
        ),
    )  # fmt: skip


def migration_call(ref: GuestRef, target: str, *, running: bool, local: bool) -> WireCall:
    """The call that moves a guest."""
    params: list[tuple[str, str | int]] = [("target", target)]
    if running:
        params.append(("online" if ref.kind == "qemu" else "restart", 1))
    if local and ref.kind == "qemu":
        params.append(("with-local-disks", 1))
    return WireCall(method="POST", path=f"{ref.path}/migrate", params=tuple(params))


def local_volumes(look: Look, shared: Mapping[str, bool]) -> list[str]:
    """Volumes of a guest that lie in a storage which not all nodes share (CD drives do not count)."""
    raw = look.value("volumes")
    found = []
    for volume in raw if isinstance(raw, tuple) else ():
        storage = volume.partition(":")[0]
        if not shared.get(storage, True):
            found.append(volume)
    return found


def node_change(look: Look, target: str) -> Change:
    """Where a guest is."""
    return Change(what=f"{look.guest.label}, node", before=look.guest.node, after=target)


def snapshot_change(look: Look, name: str) -> Change:
    """How many snapshots a guest has."""
    count = len(look.snapshots)
    return Change(what=f"{look.guest.label}, snapshots", before=str(count), after=f"{count + 1}, with {name}")


def _assumed(look: Look) -> tuple[Fact, ...]:
    return look.assume("node", "kind", "status", "lock", "template", "digest", "hastate")


def _verb(look: Look, key: str, verb: str, text: str, expects: tuple[Fact, ...], **params: int) -> Step:
    """A step of the power verbs. As an inverse it assumes nothing yet: that is read when somebody asks for it."""
    ref = look.guest.ref
    return Step(
        key=key,
        text=text,
        subject=ref.subject,
        call=WireCall(method="POST", path=f"{ref.path}/status/{verb}", params=tuple(params.items())),
        task_types=_power_types(look, verb),
        expects=expects,
        needs=(_QUORUM,),
        touches=("status", "digest"),
        settle_s=_SETTLE_HA_S if look.ha else _SETTLE_S,
    )


def _asks(timeout_s: int) -> str:
    return f"asks the guest, waits up to {timeout_s} s"


def _boots(look: Look) -> str:
    return "boots from its disks" if look.guest.kind == "qemu" else ""


def _power_types(look: Look, verb: str) -> tuple[str, ...]:
    direct = _type(look.guest.ref, verb)
    if look.ha and verb in ("start", "shutdown"):
        return ("hastart" if verb == "start" else "hastop", direct)
    return (direct,)


def _type(ref: GuestRef, verb: str) -> str:
    if verb == "migrate":
        return "qmigrate" if ref.kind == "qemu" else "vzmigrate"
    return f"{'qm' if ref.kind == 'qemu' else 'vz'}{verb}"


def _is(ref: GuestRef, name: str, value: str) -> Fact:
    return Fact(subject=ref.subject, field=name, value=value)


def _memory(look: Look, node: str) -> Need:
    amount = look.guest.maxmem_bytes or 0 if look.status == "stopped" else look.guest.mem_bytes or look.guest.maxmem_bytes or 0
    return Need(kind="memory", target=node, amount_bytes=amount)
