"""Wires a rehearsal: a look with the read token, a private simulated cluster from it, the plan on it, the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pveops.app.cluster import FactReader
from pveops.app.stage import PrivateStage
from pveops.base.clock import Clock, SystemClock
from pveops.base.errors import InputError
from pveops.model.plan import Plan
from pveops.model.rehearsal import Rehearsal
from pveops.twin.drive import drive
from pveops.twin.look import Seen, look
from pveops.twin.paces import Paces
from pveops.twin.report import Played, report
from pveops.twin.seed import seed_of

_BROADCAST_S = 10.0
"""The view of the cluster is as old as the last broadcast."""


class _Gets:
    """The live cluster as the twin gets it: nothing but GET."""

    def __init__(self, reader: FactReader) -> None:
        self._wire = reader.wire

    def get(self, path: str, params: Mapping[str, str | int] | None = None) -> Any:
        """The data of one GET."""
        return self._wire.get(path, params).data


def take_seed(reader: FactReader, *, vmids: Iterable[int] | None = None, clock: Clock | None = None) -> tuple[dict[str, Any], Seen, Paces]:
    """Look at a cluster and make a seed of it; with ``vmids`` only these guests are looked at closely.

    Raises:
        TransportError: no endpoint answers.
        ApiError: the view of the cluster cannot be read.
        ConfigError: what was seen makes no seed.
    """
    seen = look(_Gets(reader), clock or SystemClock(), vmids=vmids)
    kinds = {int(row["vmid"]): str(row["type"]) for row in seen.rows("qemu", "lxc")}
    paces = Paces(seen.tasks, kinds, seen.logs)
    return seed_of(seen, paces), seen, paces


def rehearse(plan: Plan, reader: FactReader, *, clock: Clock | None = None) -> Rehearsal:
    """Try a plan on a simulated copy of the cluster. The cluster itself is only read.

    Raises:
        TransportError: the cluster, or the copy, does not answer.
        ConfigError: the copy cannot be made or started; with what it said.
        InputError: the plan has nothing to do.
    """
    if not plan.steps:
        raise InputError("The plan has no steps, so there is nothing to rehearse.")
    clock = clock or SystemClock()
    looked_at = clock.now()
    guests = [subject.partition("/")[2] for subject in plan.subjects if subject.startswith("guest/")]
    seed, seen, paces = take_seed(reader, vmids=[int(vmid) for vmid in guests], clock=clock)
    with PrivateStage(seed, plan.cluster) as stage:
        before = stage.used_bytes()
        run = drive(plan, stage, request_s=seen.latency_s)
        stage.clock.sleep_s(_BROADCAST_S)
        played = Played(run=run, facts=stage.cluster.reader.facts(plan.subjects), before=before, after=stage.used_bytes())
    return report(plan, seen, paces, played, looked_at=looked_at)
