"""Faults of work: tasks that die, replication that lags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pveops.sim.faults import pick
from pveops.sim.faults.nodes import A_NODE
from pveops.sim.faults.spec import Fault, Parameter
from pveops.sim.props import size_text, write_props
from pveops.sim.state.ills import Dying, Lagging
from pveops.sim.state.storage import Storage, Volume
from pveops.sim.tasks.task import Task
from pveops.sim.world import World

_GIB = 1024**3
_DAY_S = 86400.0
_SLOW_RATE = 0.2
_POOL = "tank"


class TaskDies(Fault):
    """Tasks of a node die in the middle of their work."""

    name = "task-dies"
    cause = "The kernel of the node ran out of memory and killed the worker process."
    sees = "The task ends as `unexpected status`; its log has no last line; the guest keeps its lock."
    repair = "Take the lock off if one is left, and start the same work again: the fault is over when it ends well."
    parameters = (
        A_NODE,
        Parameter(name="type", doc="Which type of task, for example vzdump; empty for all.", default="", form="[a-z]*"),
        Parameter(name="after_s", doc="How long after its start.", unit="s", default=1.0, low=0.1, high=86400),
        Parameter(name="count", doc="How many of them die.", unit="tasks", default=1, low=1, high=1000),
    )

    @property
    def component(self) -> str:
        return f"node/{self.values['node']}"

    def begin(self) -> None:
        self._dying = Dying(
            since_s=self.since_s,
            node=self.values["node"],
            kind=self.values["type"],
            after_s=self.values["after_s"],
            left=self.values["count"],
        )
        self.cluster.ills.dying.append(self._dying)

    def _tasks(self) -> list[Task]:
        skew_s = self.cluster.nodes[self.values["node"]].skew_s
        return [task for task in self.world.engine.on(self.values["node"]) if task.start_s - skew_s >= self.since_s]

    def healed(self) -> bool:
        if self._dying.left > 0:
            return False
        tasks = self._tasks()
        dead = [task for task in tasks if task.status == "unexpected status"]
        well = {(task.kind, task.about) for task in tasks if task.verdict in ("ok", "warning")}
        return len(dead) >= self.values["count"] and all((task.kind, task.about) in well for task in dead)

    def undo(self) -> None:
        """Nothing dies any more."""

    def settle(self) -> None:
        self._dying.until_s = min(self._dying.until_s, self.cluster.now_s)


def _replicated(world: World, before: Mapping[str, Any]) -> list[int]:
    """Guests that are replicated or could be."""
    cluster = world.cluster
    lagging = {one.job for one in cluster.ills.lagging if one.at(cluster.now_s)}
    known = [int(name.split("-")[0]) for name in cluster.replication if name not in lagging]
    return known or ([vmid for vmid in pick.guests(world, before) if f"{vmid}-0" not in lagging] if len(cluster.nodes) > 1 else [])


class ReplicationLag(Fault):
    """Replication of a guest falls behind: each run takes much longer than the time between two."""

    name = "replication-lag"
    cause = "Somebody limited the rate of the job far below what the guest writes."
    sees = (
        "/nodes/{node}/replication: last_sync stays far behind, fail_count and error come and go. Where the cluster has no replication, the "
        "fault brings a ZFS storage `tank` and a job of its own."
    )
    repair = "Lift the limit: PUT /cluster/replication/{id} with delete=rate, or a rate of at least 10 (MB/s)."
    parameters = (
        Parameter(name="vmid", doc="Which guest.", pick=_replicated, what="guest that is or can be replicated"),
        Parameter(name="slower", doc="How many intervals one run takes.", unit="intervals", default=6.0, low=1.5, high=1000),
    )

    @property
    def component(self) -> str:
        return f"replication/{self._job}"

    @property
    def _job(self) -> str:
        known = (name for name in self.cluster.replication if name.startswith(f"{self.values['vmid']}-"))
        return next(known, f"{self.values['vmid']}-0")

    def begin(self) -> None:
        if self._job not in self.cluster.replication:
            self._make_job()
        job = self.cluster.replication[self._job]
        self._rate = job.get("rate")
        job["rate"] = _SLOW_RATE
        self._ill = Lagging(since_s=self.since_s, job=self._job, slower=self.values["slower"])
        self.cluster.ills.lagging.append(self._ill)

    def _make_job(self) -> None:
        """A ZFS storage on two nodes, the disk of the guest on it, and a job from one to the other."""
        cluster = self.cluster
        guest = cluster.guests[self.values["vmid"]]
        target = next(name for name in cluster.nodes if name != guest.node)
        storage = cluster.storages.setdefault(
            _POOL, Storage(_POOL, "zfspool", {"pool": _POOL, "content": "images,rootdir"}, 1800 * _GIB, 40 * _GIB)
        )
        root = guest.root_disk()
        key, size = (root.key, root.size) if root is not None else ("scsi0", 8 * _GIB)
        name = f"{_POOL}:{'vm' if guest.kind == 'qemu' else 'subvol'}-{guest.vmid}-disk-0"
        for node in (guest.node, target):
            storage.place(node)[name] = Volume(
                name, "images" if guest.kind == "qemu" else "rootdir", size, "raw", int(cluster.now_s), guest.vmid, 0.4
            )
        if root is not None and root.storage in cluster.storages:
            cluster.storages[root.storage].place(guest.node).pop(root.volid, None)
        cluster.before_change(guest)
        default = "file" if guest.kind == "qemu" else "volume"
        guest.config[key] = write_props({default: name, "size": size_text(size)}, default)
        guest.touch()
        job = {"id": self._job, "type": "local", "source": guest.node, "target": target, "schedule": "*/15"}
        cluster.replication[self._job] = job | {"made_s": cluster.now_s - _DAY_S}

    def healed(self) -> bool:
        job = self.cluster.replication.get(self._ill.job)
        return job is None or float(job.get("rate") or 1e9) >= 10

    def undo(self) -> None:
        job = self.cluster.replication.get(self._ill.job)
        if job is not None:
            job.pop("rate", None)
            if self._rate is not None:
                job["rate"] = self._rate

    def settle(self) -> None:
        self._ill.until_s = min(self._ill.until_s, self.cluster.now_s)


KINDS: tuple[type[Fault], ...] = (TaskDies, ReplicationLag)
