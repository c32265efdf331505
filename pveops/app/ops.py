"""``ops``: what people hold in a notebook. Reads at once; changes become drafts and proposals, never actions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pveops.agent.loop import Turn, converse
from pveops.agent.offline import OfflineGrammar
from pveops.app.ask import Ask
from pveops.app.asked import seconds_of, span_ms
from pveops.app.cluster import FactReader, open_wire
from pveops.app.handles import Draft, Executors, ProposalHandle, status_of
from pveops.app.logs import Logs
from pveops.app.metrics import Metrics
from pveops.app.ssh import Ssh
from pveops.base.clock import Clock, SystemClock, from_epoch_s
from pveops.base.errors import ConfigError, InputError
from pveops.base.moments import Moment
from pveops.frames.columns import BACKUPS, NODES, SNAPSHOTS, STORAGE, TASKS
from pveops.frames.drawing import drawn_by
from pveops.model.proposal import Origin
from pveops.model.resources import Answer, Gap, Guest
from pveops.observe.cost import SPENT
from pveops.settings.home import Home
from pveops.settings.profile import load_config, resolve
from pveops.tools.library import standard
from pveops.tools.ports import Ports
from pveops.tools.registry import Registry, ToolResult
from pveops.tools.resolve import find_guest, find_node
from pveops.tools.undo import undo_plan

if TYPE_CHECKING:
    import pandas as pd

    from pveops.app.inventory import Background, Clusters, Records
    from pveops.settings.profile import Target


class Ops:
    """One cluster, open for reading, with its tools and a way to propose changes.

    Nothing here can approve: a person's click on a card does, or ``pveops proposals approve`` in a terminal.
    """

    def __init__(
        self, *, target: Target, reader: FactReader, executors: Executors, registry: Registry, origin: Origin, clock: Clock
    ) -> None:
        self.name = target.name
        self._target = target
        self._reader = reader
        self._executors = executors
        self._registry = registry
        self._origin = origin
        self._clock = clock
        self._metrics = Metrics(target, reader, clock)
        self._logs = Logs(target, reader, clock)
        self._ssh = Ssh(target, reader)
        self._model = OfflineGrammar()

    @cached_property
    def _records(self) -> Records:
        from pveops.app.inventory import Records  # noqa: PLC0415 - SQL and many connections are loaded when the inventory is asked for

        return Records(self._target, self._reader, self._clock)

    # -- reading --------------------------------------------------------------------------------------------------------

    @property
    def simulated(self) -> bool:
        """Whether the simulated cluster answers."""
        return self._reader.simulated()

    @property
    def ports(self) -> Ports:
        """What tools of this cluster get."""
        try:
            server = self._metrics.server()
        except ConfigError:
            server = None  # who asks for measurements is told; a list of guests needs none
        return Ports(self.name, self._reader, self._clock, server)

    @property
    def tools(self) -> Registry:
        """All tools."""
        return self._registry

    def nodes(self) -> pd.DataFrame:
        """Nodes: ``node status cpu_fraction cpus mem_fraction mem_bytes maxmem_bytes disk_fraction disk_bytes maxdisk_bytes uptime_s``."""
        return self._frame(NODES, self._reader.nodes())

    def guests(self) -> pd.DataFrame:
        """Guests: ``vmid name kind node status cpu_fraction cpus mem_fraction … tags hastate``; docs/frames.md lists all columns."""
        from pveops.frames.bulk import guests_frame  # noqa: PLC0415 - pandas is loaded when the first table is made

        return self._marked(guests_frame(self._reader.guest_columns()))

    def storage(self) -> pd.DataFrame:
        """Storage, one row per node that sees it."""
        return self._frame(STORAGE, self._reader.storages())

    def tasks(self, *, node: str | None = None, guest: str | int | None = None, failed: bool = False, limit: int = 200) -> pd.DataFrame:
        """Tasks, newest first; of all nodes, one node or one guest."""
        name = find_node(node, self._reader.nodes()).name if node else None
        vmid = find_guest(guest, self._reader.guests()).vmid if guest is not None else None
        return self._frame(TASKS, self._reader.tasks(node=name, vmid=vmid, errors=failed, limit=limit))

    def backups(self, *, storage: str | None = None) -> pd.DataFrame:
        """Backup archives, newest first."""
        return self._frame(BACKUPS, self._reader.backups(storage=storage))

    @property
    def ask(self) -> Ask:
        """What operators ask: ``.backup_truth()``, ``.n_plus_one()``, ``.capacity_forecast()`` …; docs/frames.md lists all."""
        return Ask(self._registry, lambda: self.ports, self._marked)

    @property
    def metrics(self) -> Metrics:
        """Measurements: ``.query(promql)``, ``.guest(101).cpu("7d")`` …, from a Prometheus where one is set, else from Proxmox VE's RRD."""
        return self._metrics

    @property
    def logs(self) -> Logs:
        """Log lines: ``.collect()``, ``.search(query)``, ``.histogram(query)``, ``.patterns(query)``, ``.around(event)``, ``.tail()``, ``.files(path)``."""
        return self._logs

    @property
    def ssh(self) -> Ssh:
        """Commands on nodes that only read, where the API has no answer: ``.commands()``, ``.run(node, command)``, ``.read(command)``. Off by default."""
        return self._ssh

    # -- what was, and what changed -------------------------------------------------------------------------------------

    def sync(self, detail: str | Sequence[str] = "config", *, full: bool = False, deadline_s: float = 300.0) -> pd.DataFrame:
        """Look at the cluster and keep what changed: ``cluster what known read changed missed``, one row per kind.

        Nodes, guests, storages and tasks come from two lists; details are read where there is a reason (new, changed, a task, their turn).

        Args:
            detail: ``config``, ``snapshots``, ``addresses``, ``backups``, ``disks``, several of them, ``all`` or ``none``.
            full: read the details of everything.
            deadline_s: what is not read after so many seconds is a gap, and read first at the next look.

        Raises:
            InputError: no such detail.
            TransportError, ApiError: the lists cannot be had.
        """
        from pveops.frames.inventory import report_frame  # noqa: PLC0415 - pandas is loaded when the first table is made

        return self._marked(report_frame(self._records.look(detail, full=full, deadline_s=deadline_s)))

    def sync_every(self, every: str | float = "60s", detail: str | Sequence[str] = "config") -> Background:
        """Look again and again in the background, within the budget of requests per node, until ``.stop()``.

        Raises:
            InputError: no such detail, or more often than every 5 s.
        """
        return self._records.every(every, detail)

    def as_of(self, moment: Moment = "now", what: str = "guests", *, clusters: Clusters = None) -> pd.DataFrame:
        """What the inventory knew at a time: ``guests``, ``nodes``, ``storage``, ``config``, ``snapshots``, ``addresses``, ``backups``, ``disks``.

        Raises:
            InputError: no such time, word or cluster; or nobody had looked by then.
        """
        return self._records.as_of(moment, what, clusters)

    def diff(
        self, since: Moment, until: Moment = "now", *, what: str | Sequence[str] | None = None, clusters: Clusters = None
    ) -> pd.DataFrame:
        """What changed in a span, field by field, oldest first, with the user and the task that did it. Raises as ``as_of``."""
        return self._records.diff(since, until, clusters, what)

    def history(self, guest: str | int, since: Moment | None = None) -> pd.DataFrame:
        """All changes of one guest (by id or name, also of one that is gone): the columns of ``diff``. Raises as ``as_of``."""
        text = str(guest)
        vmid = int(text) if text.isdecimal() else self._records.last_vmid(text, self.name)
        return self._records.history(vmid, since, self.name)

    def looks(self, *, clusters: Clusters = None, limit: int = 20) -> pd.DataFrame:
        """When the cluster was looked at, and what was missing then, newest first."""
        return self._records.looks(clusters, limit)

    def close(self) -> None:
        """Let go of connections and files."""
        if "_records" in vars(self):
            self._records.close()
        self._reader.wire.close()

    def timeline(self, subject: str | int, since: Moment = "6h", until: Moment = "now", *, collect: bool = True) -> pd.DataFrame:
        """What happened to a guest (by id or name) or a node, oldest first: ``time kind source severity subject text ref``.

        Tasks, configuration changes, unusual measurements, new and bursting log patterns, alerts, proposals, and what is wrong now. What could not be
        asked stands in ``.attrs['gaps']``. ``.pve.plot()`` draws it.

        Args:
            subject: a guest or a node.
            since: from when.
            until: until when.
            collect: read the journals of the nodes concerned first; else the store holds what was collected before.

        Raises:
            UnknownName, AmbiguousName: nothing, or several things, are called that.
            InputError: the span is none.
            TransportError: the cluster does not answer at all.
        """
        from pveops.app.timeline import Sources, Subject, timeline  # noqa: PLC0415 - loads pandas

        start, end = (from_epoch_s(at_ms / 1000) for at_ms in span_ms(since, until, self._clock))
        sources = Sources(self.name, self._reader, self._metrics, self._logs, self._executors, self.diff)
        found = Subject.find(subject, self._reader)
        now = end if until == "now" else self._clock.now()
        return self._marked(timeline(found, sources, start, end, now, collect=collect))

    def guest(self, wanted: str | int) -> GuestHandle:
        """One guest by id or name.

        Raises:
            UnknownName: there is none.
            AmbiguousName: several have that name.
        """
        answer = self._reader.guests()
        return GuestHandle(self, find_guest(wanted, answer), answer.gaps)

    def tool(self, name: str, **args: Any) -> ToolResult | Draft:
        """Run any tool: a read tool gives its result, a plan tool a draft."""
        if self._registry.get(name).kind == "read":
            return self._registry.read(name, args, self.ports)
        return self.draft(name, **args)

    # -- changing -------------------------------------------------------------------------------------------------------

    def draft(self, tool: str, **args: Any) -> Draft:
        """Let a plan tool make a plan. Nothing is put forward yet."""
        return Draft(self._registry.plan(tool, args, self.ports), self._executors, self._origin, self._reader, self._clock)

    def proposal(self, proposal_id: str) -> ProposalHandle:
        """A proposal by its id."""
        return ProposalHandle(self._executors, proposal_id)

    def proposals(self, *, only_open: bool = False, limit: int = 100) -> pd.DataFrame:
        """Proposals, newest first: ``proposal status risk summary asked_by created expires``; ``ops.proposal(id)`` gives the card of one."""
        import pandas as pd  # noqa: PLC0415

        rows = [
            {"proposal": view.proposal.id, "status": status_of(view), "risk": view.proposal.tier.value.upper(), "summary": view.proposal.plan.summary,
             "asked_by": view.proposal.requester, "created": view.proposal.created, "expires": view.proposal.expires}
            for view in self._executors.client().proposals(only_open=only_open, limit=limit)
        ]  # fmt: skip
        frame = pd.DataFrame(rows, columns=["proposal", "status", "risk", "summary", "asked_by", "created", "expires"])
        return frame.assign(created=pd.to_datetime(frame["created"], utc=True), expires=pd.to_datetime(frame["expires"], utc=True))

    def audit(self, proposal: str | ProposalHandle = "", *, limit: int = 100) -> pd.DataFrame:
        """Audit records, newest last: ``seq at kind actor correlation proposal data``."""
        import pandas as pd  # noqa: PLC0415

        records = self._executors.client().audit(proposal=proposal if isinstance(proposal, str) else proposal.id, limit=limit)
        frame = pd.DataFrame(records, columns=["seq", "at", "kind", "actor", "correlation", "proposal", "data"])
        return frame.assign(at=pd.to_datetime(frame["at"], utc=True))

    def undo(self, proposal: str | ProposalHandle) -> Draft:
        """A draft that takes back what a finished proposal did.

        Raises:
            InputError: there is no way back, or the state has moved on.
        """
        view = self._executors.client().proposal(proposal if isinstance(proposal, str) else proposal.id)
        done = [step.key for step in view.run.steps if step.phase.good] if view.run else []
        return Draft(undo_plan(view.proposal.plan, done, self.ports), self._executors, self._origin, self._reader, self._clock)

    def again(self, proposal: str | ProposalHandle) -> Draft:
        """A fresh draft of the same intent, on the state as it is now.

        Raises:
            InputError: the plan was not made by one tool, so it has to be drafted by hand.
        """
        plan = self._executors.client().proposal(proposal if isinstance(proposal, str) else proposal.id).proposal.plan
        if plan.tool not in {tool.name for tool in self._registry}:
            raise InputError(f"{plan.summary} was put together from several tools.", hint="Draft it anew the way you did.")
        return self.draft(plan.tool, **dict(plan.args))

    def chat(self, text: str) -> Turn:
        """Answer a sentence. What only reads is answered; what changes something becomes a proposal."""
        prompt = sha256(text.encode()).hexdigest()
        proposer = self._executors.proposer(Origin(surface="chat", place=self._origin.place, prompt_sha256=prompt))
        return converse(text, model=self._model, registry=self._registry, ports=self.ports, proposer=proposer)

    @property
    def executors(self) -> Executors:
        """The way to the executor."""
        return self._executors

    @property
    def reader(self) -> FactReader:
        """The cluster, for reading."""
        return self._reader

    def _frame(self, table: Any, answer: Answer[Any]) -> pd.DataFrame:
        from pveops.frames.frame import to_frame  # noqa: PLC0415 - pandas is loaded when the first table is made

        return self._marked(to_frame(table, answer))

    def _marked(self, frame: pd.DataFrame) -> pd.DataFrame:
        frame.attrs.update(cluster=self.name, simulated=self.simulated)
        return frame

    def __repr__(self) -> str:
        kind = "simulated cluster" if self.simulated else "cluster"
        return f"pveops: {kind} {self.name}, {len(self._registry)} tools. Try .nodes(), .guests(), .guest(101), .ask, .chat('help')."


class GuestHandle:
    """A guest. Reads ask the node that has it; the verbs return drafts."""

    def __init__(self, ops: Ops, guest: Guest, gaps: Sequence[Gap] = ()) -> None:
        self._ops = ops
        self._guest = guest
        self._gaps = gaps

    @property
    def vmid(self) -> int:
        """Its id."""
        return self._guest.vmid

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """What is not known of it, as of the last look: its state, where its node is offline or silent."""
        return tuple(gap for gap in self._gaps if gap.what.endswith(f" on {self._guest.node}"))

    def _fresh(self) -> Guest:
        """Where it is now: guests move."""
        answer = self._ops.reader.guests()
        self._guest, self._gaps = find_guest(self._guest.vmid, answer), answer.gaps
        return self._guest

    def status(self) -> pd.Series[Any]:
        """Its live status as a labelled row; units as in ``ops.guests()``."""
        import pandas as pd  # noqa: PLC0415

        result = self._ops.tools.read("guest.show", {"guest": str(self.vmid)}, self._ops.ports)
        return pd.Series(dict(result.rows[0]), name=self._guest.label)

    def config(self) -> pd.Series[Any]:
        """Its configuration by key, pending values applied."""
        import pandas as pd  # noqa: PLC0415

        return pd.Series(self._ops.reader.guest_config(self._fresh().ref), name=self._guest.label, dtype="object").sort_index()

    def snapshots(self) -> pd.DataFrame:
        """Its snapshots, oldest first: ``name created with_memory parent description``."""
        from pveops.frames.frame import to_frame  # noqa: PLC0415

        guest = self._fresh()
        answer = Answer(rows=self._ops.reader.snapshots(guest.ref), read_at=SystemClock().now(), source=f"{guest.ref.path}/snapshot")
        return to_frame(SNAPSHOTS, answer)

    def metrics(self, window: str | float = "1h") -> pd.DataFrame:
        """Measurements from Proxmox VE's own RRD over a window (``1h``, ``24h``, ``7d`` …): columns with units, UTC index.

        Raises:
            InputError: no such window.
        """
        return self._ops.metrics.rrd(self._fresh().ref, seconds_of(window))

    def start(self) -> Draft:
        """Draft: start it."""
        return self._ops.draft("guest.start", guest=str(self.vmid))

    def shutdown(self, *, timeout_s: int = 180) -> Draft:
        """Draft: ask it to shut down, waiting up to so many seconds."""
        return self._ops.draft("guest.shutdown", guest=str(self.vmid), timeout_s=timeout_s)

    def reboot(self, *, timeout_s: int = 180) -> Draft:
        """Draft: ask it to restart."""
        return self._ops.draft("guest.reboot", guest=str(self.vmid), timeout_s=timeout_s)

    def snapshot(self, name: str, *, description: str = "", memory: bool = False) -> Draft:
        """Draft: keep its present state under a name."""
        return self._ops.draft("guest.snapshot", guest=str(self.vmid), name=name, description=description, memory=memory)

    def tag(self, add: str = "", *, remove: str = "") -> Draft:
        """Draft: put tags on it, or take them off (several parted by commas)."""
        return self._ops.draft("guest.set-tags", guest=str(self.vmid), add=add, remove=remove)

    def set(self, **settings: int | bool | str) -> Draft:
        """Draft: change settings: ``cores``, ``memory_mib``, ``onboot``, ``description`` … as ``guest.set-config`` names them."""
        return self._ops.draft("guest.set-config", guest=str(self.vmid), **settings)

    def migrate(self, target: str) -> Draft:
        """Draft: move it to another node."""
        return self._ops.draft("guest.migrate", guest=str(self.vmid), target=target)

    def __repr__(self) -> str:
        unsure = "".join(f" ({gap.why})" for gap in self.gaps)
        return f"{self._guest.label} ({self._guest.kind}) on {self._guest.node}: {self._guest.status}{unsure}"


def connect(
    profile: str | None = None,
    *,
    env: Mapping[str, str] | None = None,
    origin: Origin | None = None,
    clock: Clock | None = None,
    check: bool = True,
) -> Ops:
    """Open a cluster.

    Args:
        profile: a profile of ``config.toml``; by default ``PVEOPS_PROFILE``, the default profile, or the only one.
        env: the environment to look into, by default the process's.
        origin: where intents will come from; by default the notebook, or ``python``.
        clock: for tests.
        check: ask the cluster for its version now, so that a wrong address or token is told here.

    Raises:
        ConfigError: no such profile, or its settings are not usable.
        TransportError, ApiError: the cluster cannot be reached, or refuses the token.
    """
    drawn_by(_draw)
    env = os.environ if env is None else env
    clock = clock or SystemClock()
    home = Home.find(env)
    target = resolve(profile, home, env)
    reader = FactReader(open_wire(target, target.read_token(), renew=target.read_token), clock=clock)
    notebook = env.get("JPY_SESSION_NAME", "")
    origin = origin or Origin(surface="lab" if notebook else "python", place=Path(notebook).name)
    SPENT.keep(home.costs, origin.surface)
    if check:
        reader.version()
    executors = Executors(home, load_config(home).operator, env, origin, target.name, reader)
    return Ops(target=target, reader=reader, executors=executors, registry=standard(), origin=origin, clock=clock)


def _draw(frame: pd.DataFrame, **options: Any) -> Any:
    from pveops.present.plots import draw  # noqa: PLC0415 - an extra, and loaded when the first plot is drawn

    return draw(frame, **options)
