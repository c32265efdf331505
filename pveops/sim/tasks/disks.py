"""Moving disks: to another storage, or to another guest."""

from __future__ import annotations

from dataclasses import dataclass

from pveops.sim.errors import RefusedError, failed
from pveops.sim.physics import transfer
from pveops.sim.props import read_props, size_text, write_props
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.guest import Guest, read_disk
from pveops.sim.state.storage import Volume
from pveops.sim.state.volumes import allocate, find_volume, free, usable_storage
from pveops.sim.tasks.engine import Body, Work
from pveops.sim.tasks.power import refuse_lock, set_lock
from pveops.sim.tasks.task import Task

_STEP_S = 2.0
_QUICK_S = 0.3


@dataclass(frozen=True, slots=True)
class Move:
    """A disk and where it goes. ``form`` is empty for the form that it has; ``delete`` removes the source afterwards."""

    key: str
    storage: str
    form: str = ""
    delete: bool = False


def no_mount_point() -> RefusedError:
    """What the API says about a mount point that a container does not have."""
    missing = "property is missing and it is not optional"
    return RefusedError(500, "format error", errors={"mp": missing, "volume": missing})


def copy(cluster: Cluster, node: str, source: Volume, made: Volume, task: Task) -> Body:
    """Copy what is in one volume to another."""
    seconds = transfer.copy_seconds(int(source.size * source.used_fraction), cluster.nodes[node].network_bytes_s)
    total, done_s = transfer.human(source.size), 0.0
    while done_s < seconds:
        task.say(f"transferred {transfer.human(source.size * done_s / seconds)} of {total} ({done_s / seconds:.2%})")
        step_s = min(_STEP_S, seconds - done_s)
        yield step_s
        done_s += step_s
    task.say(f"transferred {total} of {total} (100.00%)")
    made.used_fraction = source.used_fraction


def _default(guest: Guest) -> str:
    return "file" if guest.kind == "qemu" else "volume"


def _keep_as_unused(guest: Guest, volid: str, task: Task) -> None:
    number = 0
    while f"unused{number}" in guest.config:
        number += 1
    task.say(f"adding source volume '{volid}' as 'unused{number}' to config")
    guest.config[f"unused{number}"] = volid


def to_storage(cluster: Cluster, guest: Guest, move: Move) -> Work:
    """Copy a disk to another storage (or into another form) and use the copy."""

    def work(task: Task) -> Body:
        refuse_lock(guest)
        storage = usable_storage(cluster, move.storage, guest.node)
        default = _default(guest)
        props = read_props(str(guest.config[move.key]), default)
        old = props[default]
        source = find_volume(cluster, old, guest.node)
        if source is None:
            raise failed(f"volume '{old}' does not exist")
        was = guest.lock
        set_lock(cluster, guest, "disk" if guest.kind == "lxc" else was)
        made = None
        try:
            task.say(f"create full clone of drive {move.key} ({old})")
            made = allocate(cluster, guest.node, storage, guest.vmid, source.size, form=move.form or source.form, content=source.content)
            task.say(f"allocated target volume '{made.volid}'")
            yield _QUICK_S
            yield from copy(cluster, guest.node, source, made, task)
        except BaseException:
            if made is not None:
                free(cluster, made.volid, guest.node)
            raise
        finally:
            set_lock(cluster, guest, was)
        cluster.before_change(guest)
        guest.config[move.key] = write_props(props | {default: made.volid, "size": size_text(source.size)}, default)
        if move.delete:
            free(cluster, old, guest.node)
        else:
            _keep_as_unused(guest, old, task)
        guest.touch()

    return work


def to_guest(cluster: Cluster, guest: Guest, key: str, target: Guest, target_key: str) -> Work:
    """Hand a disk over to another guest on the same node: the volume gets the name of its new owner."""

    def work(task: Task) -> Body:
        refuse_lock(guest)
        refuse_lock(target)
        task.say(f"moving disk '{key}' from {guest.noun} '{guest.vmid}' to '{target.vmid}'")
        yield _QUICK_S
        default = _default(guest)
        props = read_props(str(guest.config[key]), default)
        storage = usable_storage(cluster, read_disk(key, str(guest.config[key])).storage, guest.node)
        source = find_volume(cluster, props[default], guest.node)
        if source is None:
            raise failed(f"volume '{props[default]}' does not exist")
        made = allocate(cluster, guest.node, storage, target.vmid, source.size, form=source.form, content=source.content)
        made.used_fraction = source.used_fraction
        free(cluster, source.volid, guest.node)
        for one in (guest, target):
            cluster.before_change(one)
        del guest.config[key]
        target.config[target_key] = write_props(props | {default: made.volid, "size": size_text(source.size)}, default)
        task.say(f"removing disk '{key}' from {guest.noun} '{guest.vmid}' config")
        for one in (guest, target):
            one.touch()

    return work
