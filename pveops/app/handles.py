"""Drafts and proposals as people hold them. They put forward, look and wait; none of them can approve."""

from __future__ import annotations

import subprocess
import sys
import time
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pveops.base.errors import ConfigError, Denied, ExecutorUnavailable, PveopsError, Used
from pveops.clients.executor import ExecutorClient
from pveops.guard.preview import preview
from pveops.model.plan import Plan, then
from pveops.model.proposal import Origin, Preview, ProposalStatus
from pveops.model.rehearsal import Rehearsal
from pveops.model.run import ProposalView, RunStatus
from pveops.settings.credentials import own_credential

if TYPE_CHECKING:
    from pveops.app.cluster import FactReader
    from pveops.base.clock import Clock
    from pveops.settings.home import Home

_START_S = 20.0


class Executors:
    """The way to the executor of a home, under one principal's name."""

    def __init__(self, home: Home, operator: str, env: Mapping[str, str], origin: Origin, cluster: str, reader: FactReader) -> None:
        self._home = home
        self._operator = operator
        self._env = dict(env)
        self._origin = origin
        self._cluster = cluster
        self._reader = reader
        self._client: ExecutorClient | None = None
        self._started: subprocess.Popen[bytes] | None = None

    def client(self, *, start: bool = True) -> ExecutorClient:
        """The client; with the simulated cluster alone an executor is started where none runs, and that is said.

        Raises:
            ConfigError: we have no credential.
            ExecutorUnavailable: nobody answers.
        """
        if self._client is None:
            credential = own_credential(self._home, self._operator, self._env)
            client = ExecutorClient(self._home.socket, credential.principal, credential.token, credential.private_key)
            try:
                client.info()
            except ExecutorUnavailable:
                if not start or not self._reader.simulated():
                    raise
                self._start(client)
            self._client = client
        return self._client

    @property
    def origin(self) -> Origin:
        """Where our proposals come from."""
        return self._origin

    def proposer(self, origin: Origin) -> Executors:
        """The same, with proposals that come from somewhere else."""
        other = Executors(self._home, self._operator, self._env, origin, self._cluster, self._reader)
        other._client = self._client
        return other

    def propose(self, plan: Plan, *, author: str) -> ProposalView:
        """Put a plan forward under our name."""
        return self.client().propose(plan, author=author, origin=self._origin)

    def rehearse(self, view: ProposalView) -> ProposalView:
        """Try a proposal's plan on a simulated copy and put the report beside it.

        Raises:
            Used: it is decided already.
            Denied: we may not; nothing was tried.
        """
        if not view.proposal.status.open:
            raise Used(f"{view.proposal.id} is decided already; there is nothing to rehearse.", hint="Look at its record.")
        if view.may.rehearse:
            raise Denied(view.may.rehearse, details={"proposal": view.proposal.id})
        from pveops.app.rehearse import rehearse  # noqa: PLC0415 - as above

        report = rehearse(view.proposal.intact().plan, self._reader)
        return self.client().attach(view.proposal.id, report)

    def _start(self, client: ExecutorClient) -> None:
        """Start an executor for the simulated cluster, as a process of its own that outlives this one."""
        command = [sys.executable, "-m", "pveops", "executor", "run", "--profile", self._cluster]
        env = {**self._env, "PVEOPS_HOME": str(self._home.root)}
        said_to = self._home.log("executor").with_suffix(".stderr")
        said_to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with said_to.open("wb") as stderr:
            process = subprocess.Popen(
                command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True
            )
        self._started = process
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if process.poll() is not None:
                said = said_to.read_text(encoding="utf-8", errors="replace").strip()
                raise ExecutorUnavailable(f"An executor could not be started: {said}")
            try:
                client.info()
            except ExecutorUnavailable:
                time.sleep(0.1)
                continue
            warnings.warn(
                "Started an executor for the simulated cluster under your own user. That is no boundary: on a real cluster it runs as its own user.",
                stacklevel=4,
            )
            return
        raise ExecutorUnavailable(
            f"The executor that was started did not answer within {_START_S:.0f} s.", hint=f"See {self._home.log('executor')}."
        )


class Draft:
    """A plan that nobody has put forward yet."""

    def __init__(
        self, plan: Plan, executors: Executors, origin: Origin, reader: FactReader, clock: Clock, *, author: str = "person"
    ) -> None:
        self.plan = plan
        self.author = author
        self._executors = executors
        self._origin = origin
        self._reader = reader
        self._clock = clock

    def preview(self) -> Preview:
        """Look at the cluster: would it work now? Nothing is written.

        The executor looks where one answers, because its token sees what the change needs; else the read token does, and says what it cannot see.
        """
        try:
            return self._executors.client(start=False).preview(self.plan)
        except (ExecutorUnavailable, ConfigError):
            return preview(self.plan, self._reader, clock=self._clock, by="reader")

    def rehearse(self) -> Rehearsal:
        """Try it on a simulated copy of the cluster; the cluster itself is only read.

        Raises:
            TransportError: the cluster does not answer.
            ConfigError: the copy cannot be started.
        """
        from pveops.app.rehearse import rehearse  # noqa: PLC0415 - what plays a cluster is loaded when somebody rehearses

        return rehearse(self.plan, self._reader, clock=self._clock)

    def propose(self) -> ProposalHandle:
        """Put it forward. It waits until a person decides, or expires."""
        return ProposalHandle(self._executors, self._executors.propose(self.plan, author=self.author).proposal.id)

    def then(self, other: Draft, summary: str = "") -> Draft:
        """Both plans as one proposal, this one first."""
        joined = then(self.plan, other.plan, summary=summary or f"{self.plan.summary}, then {_lower_first(other.plan.summary)}")
        return Draft(joined, self._executors, self._origin, self._reader, self._clock, author=self.author)

    def by(self, author: str) -> Draft:
        """The same draft with another author on record (``runbook:guest-not-answering``)."""
        return Draft(self.plan, self._executors, self._origin, self._reader, self._clock, author=author)

    def __repr__(self) -> str:
        lines = [
            f"Draft: {self.plan.summary}",
            *(f"  {number}  {step.text}  {step.note}".rstrip() for number, step in enumerate(self.plan.steps, start=1)),
        ]
        return "\n".join([*lines, "Nothing is proposed yet: .preview() looks, .propose() puts it forward."])


class ProposalHandle:
    """A proposal. Looks at it anew each time; shows as a card where widgets run."""

    def __init__(self, executors: Executors, proposal_id: str) -> None:
        self.id = proposal_id
        self._executors = executors

    @property
    def executors(self) -> Executors:
        """The way to its executor."""
        return self._executors

    def view(self) -> ProposalView:
        """The proposal as it stands."""
        return self._executors.client().proposal(self.id)

    @property
    def status(self) -> str:
        """``waiting``, ``denied`` …, or once approved how its run stands: ``running``, ``done``, ``warned``, ``failed``, ``unknown`` and so on."""
        return status_of(self.view())

    def wait(self, timeout_s: float = 600.0) -> str:
        """Wait until nothing more happens by itself, or so many seconds; returns the status."""
        deadline = time.monotonic() + timeout_s
        while True:
            status = self.status
            if status not in ("waiting", "running") or time.monotonic() >= deadline:
                return status
            time.sleep(0.3)

    def rehearse(self) -> Rehearsal:
        """Try its plan on a simulated copy of the cluster and put the report beside it, where its card shows it.

        The cluster itself is only read, with the read token; the executor is asked for nothing but to keep the report.

        Raises:
            TransportError: the cluster does not answer.
            ConfigError: the copy cannot be started.
            GuardError: the report may not be put there, or the proposal is decided.
        """
        view = self._executors.rehearse(self.view())
        report = view.proposal.rehearsal
        if report is None:
            raise PveopsError(f"The executor did not keep the report of {self.id}.", hint="Is it of another version?")
        return report

    def deny(self, reason: str = "") -> str:
        """Say no."""
        return status_of(self._executors.client().deny(self.id, reason))

    def withdraw(self, reason: str = "") -> str:
        """Take it back."""
        return status_of(self._executors.client().withdraw(self.id, reason))

    def __repr__(self) -> str:
        return f"{self.id}: {self.view().proposal.plan.summary} ({self.status})"


def status_of(view: ProposalView) -> str:
    """One word for how a proposal stands."""
    if view.proposal.status is ProposalStatus.APPROVED:
        return view.run.status.value if view.run else RunStatus.RUNNING.value
    return view.proposal.status.value


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
