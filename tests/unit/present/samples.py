"""Proposals in every state of the card, as the mock-ups show them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pveops.model.plan import Change, Fact, Plan, Step, WireCall
from pveops.model.proposal import Check, Origin, Preview, Proposal, ProposalStatus, Tier, Verdict
from pveops.model.rehearsal import Capacity, Rehearsal, RehearsedStep
from pveops.model.run import ProposalView, Run, RunStatus, StepPhase, StepState

NOW = datetime(2026, 11, 21, 14, 32, 7, tzinfo=UTC)
MADE = NOW - timedelta(seconds=9)


def step(number, vmid, name, target, *, kind="qemu", note="live, no downtime", expected_s=40, undo=True):
    path = f"/nodes/pve03/{kind}/{vmid}"
    call = WireCall(method="POST", path=f"{path}/migrate", params=(("target", target), ("online" if kind == "qemu" else "restart", 1)))
    inverse = Step(key=f"s{number}-undo", text=f"Migrate {vmid} {name} back to pve03", subject=f"guest/{vmid}",
                   call=WireCall(method="POST", path=f"/nodes/{target}/{kind}/{vmid}/migrate", params=(("target", "pve03"),)))  # fmt: skip
    return Step(
        key=f"s{number}", text=f"Migrate {vmid} {name} to {target}", note=note, subject=f"guest/{vmid}", call=call,
        task_types=("qmigrate" if kind == "qemu" else "vzmigrate",), expects=(Fact(subject=f"guest/{vmid}", field="node", value=target),),
        expected_s=expected_s, undo=inverse if undo else None, no_undo="" if undo else "it cannot be taken back",
    )  # fmt: skip


MIGRATE = Plan(
    cluster="berg-prod",
    tool="guest.migrate",
    args=(("guest", "231,238,305"), ("target", "pve07")),
    summary="Migrate 3 guests off pve03",
    action="3 migrations",
    steps=(
        step(1, 231, "web-12", "pve07"),
        step(2, 238, "api-04", "pve07", expected_s=25),
        step(3, 305, "ci-runner-3", "pve05", kind="lxc", note="container, restarts, about 12 s down", expected_s=30),
    ),
    changes=(
        Change(what="pve03 memory", before="96\u00a0%", after="87\u00a0%", by="\u221245\u00a0GiB"),
        Change(what="pve07 memory", before="54\u00a0%", after="58\u00a0%", by="+23\u00a0GiB"),
        Change(what="pve05 memory", before="58\u00a0%", after="62\u00a0%", by="+22\u00a0GiB"),
    ),
    undo_text="Migrate back, in reverse order",
)


def one_step(verb, past, vmid, name, *, path, task, method="POST", action="", undo_text="", tier=Tier.YELLOW):
    only = Step(key="s1", text=f"{verb} {vmid} {name}", subject=f"guest/{vmid}", call=WireCall(method=method, path=path), task_types=(task,),
                expects=(Fact(subject=f"guest/{vmid}", field="status", value=past),), expected_s=30, no_undo="it cannot be taken back")  # fmt: skip
    return Plan(
        cluster="berg-prod", tool=f"guest.{action}", summary=f"{verb} {vmid} {name}", action=action, steps=(only,), undo_text=undo_text
    )


REBOOT = one_step("Reboot", "running", 219, "erp-app", path="/nodes/pve09/qemu/219/status/reboot", task="qmreboot", action="reboot",
                  undo_text="A restart cannot be taken back")  # fmt: skip
STOP = one_step("Stop", "stopped", 100, "fw-edge", path="/nodes/pve01/qemu/100/status/stop", task="qmstop", action="stop")
ROLLBACK = one_step("Roll back", "running", 214, "db-analytics-2", path="/nodes/pve03/qemu/214/snapshot/before/rollback", task="qmrollback",
                    action="roll back", undo_text="Step 1 keeps the present state")  # fmt: skip


def preview(*extra):
    checks = (
        Check(name="guest/231", result="ok", text="guest 231: is where the plan expects it"),
        Check(name="quorum", result="ok", text="the cluster has quorum"),
    )
    return Preview(checks=(*checks, *extra), read_at=NOW - timedelta(seconds=10), by="executor")


def proposal(plan=MIGRATE, **changes):
    first = Proposal(
        id="p-8c41d2", plan=plan, digest=plan.digest, fingerprint="f" * 64, policy_hash="h" * 64, audience="x-0123456789abcdef",
        approval_id="a-" + "0" * 32, tier=Tier.YELLOW, targets=len(plan.subjects), verdict=Verdict(decision="confirm", rule="operators-act", text="Needs one approval."),
        preview=preview(), requester="anna", author="model:offline-grammar", origin=Origin(surface="lab", place="02-change.ipynb"),
        correlation="c-51f09a2e", created=MADE, expires=MADE + timedelta(minutes=15), simulated=False,
    )  # fmt: skip
    return replace(first, **changes)


def states(plan, *phases, **changes):
    found = []
    for number, (item, phase) in enumerate(zip(plan.steps, phases, strict=True), start=1):
        begun = NOW + timedelta(seconds=60 + 40 * (number - 1))
        started = None if phase in (StepPhase.PENDING, StepPhase.SKIPPED, StepPhase.CHECKING) else begun
        ended = (
            begun + timedelta(seconds=38 - 5 * number) if phase.settled and phase not in (StepPhase.SKIPPED, StepPhase.UNKNOWN) else None
        )
        upid = (
            f"UPID:pve03:0001C2F{number}:0A1B2C3D:656D2F10:qmigrate:{item.subject[6:]}:pveops@pve!act:"
            if started and phase is not StepPhase.UNKNOWN
            else ""
        )
        found.append(StepState(key=item.key, phase=phase, started=started, ended=ended, upid=upid))
    return tuple(found)


def view(
    plan=MIGRATE, *, run=None, run_status=None, steps=(), at=NOW, live_log=(), progress=None, audit=(4409,), run_changes=None, **changes
):
    made = proposal(plan, **changes)
    if run_status is not None:
        made = replace(made, status=ProposalStatus.APPROVED, decided_by="jonas", decided_at=NOW + timedelta(seconds=58), run_id="r-123456")
        ended = None if run_status in (RunStatus.RUNNING, RunStatus.UNKNOWN) else NOW + timedelta(seconds=159)
        run = Run(
            id="r-123456",
            proposal_id=made.id,
            status=run_status,
            steps=steps,
            approved_by="jonas",
            started=NOW + timedelta(seconds=63),
            ended=ended,
        )
        run = replace(run, **(run_changes or {}))
    return ProposalView(proposal=made, run=run, audit=audit, live_log=live_log, progress_fraction=progress, server_time=at)


P = StepPhase
LATER = NOW + timedelta(seconds=117)
END = NOW + timedelta(seconds=200)


def every():
    """Name to (view, mode, now): one for each state of the card, some twice."""
    done = states(MIGRATE, P.DONE, P.DONE, P.DONE)
    warned = states(MIGRATE, P.DONE, P.WARNED, P.WARNED)
    warned = tuple(
        replace(one, exit_text="WARNINGS: 1", log_tail=("WARN: guest agent did not answer, files may be inconsistent",))
        if one.phase is P.WARNED
        else one
        for one in warned
    )
    failed = states(MIGRATE, P.DONE, P.FAILED, P.SKIPPED)
    failed = (failed[0], replace(failed[1], reason="rbd: error: image create: (28) No space left on device", exit_text="migration aborted",
                                 log_tail=("rbd: error: image create: (28) No space left on device",)), failed[2])  # fmt: skip
    lost = replace(states(REBOOT, P.UNKNOWN)[0], started=NOW - timedelta(seconds=237), retry_look=True,
                   reason="pve09 took the request but never answered. We did not send it again.", looked=("task list of pve09: not reachable",))  # fmt: skip
    waiting = preview(Check(name="memory", result="warn", text="pve07 has 25 GiB free for 23 GiB, which leaves it nearly full"),
                      Check(name="backups", result="unknown", text="backups could not be checked: no right to list them"))  # fmt: skip
    policy = Verdict(decision="deny", rule="never-own-path", text="Nobody can approve this here.")
    return {
        "waiting": (view(), "fresh", NOW),
        "waiting-checks": (view(preview=waiting, simulated=True), "fresh", NOW),
        "waiting-red": (view(ROLLBACK, tier=Tier.RED, simulated=True, verdict=Verdict(decision="confirm", rule="operators-act", text="Needs one approval.")), "fresh", NOW),
        "refused": (view(STOP, tier=Tier.BLACK, status=ProposalStatus.REFUSED, decided_by="policy", decided_at=MADE, verdict=policy, author="person",
                         reason="Nobody can approve this here. 100 fw-edge carries the only route to the executor, so stopping it would cut us off."), "fresh", NOW),
        "refused-preview": (view(status=ProposalStatus.REFUSED, decided_by="preview", decided_at=MADE, reason="231 cannot move to pve07: it uses local devices.",
                                 preview=preview(Check(name="migrate", result="fail", text="231 cannot move to pve07: it uses local devices"))), "fresh", NOW),
        "expired": (view(status=ProposalStatus.EXPIRED, decided_at=MADE + timedelta(minutes=15)), "fresh", NOW + timedelta(hours=1)),
        "denied": (view(status=ProposalStatus.DENIED, decided_by="jonas", decided_at=NOW, reason="release freeze"), "fresh", NOW),
        "withdrawn": (view(status=ProposalStatus.WITHDRAWN, decided_by="anna", decided_at=NOW), "fresh", NOW),
        "running": (view(run_status=RunStatus.RUNNING, steps=states(MIGRATE, P.DONE, P.FOLLOWING, P.PENDING), progress=0.61, at=LATER,
                         live_log=("14:33:58 transferred 9.8 GiB of 16.0 GiB, 1.1 GiB/s", "14:34:01 migration status: active, dirty 214 MiB")), "fresh", LATER),
        "done": (view(run_status=RunStatus.DONE, steps=done, audit=(4417, 4431)), "fresh", END),
        "warned": (view(run_status=RunStatus.WARNED, steps=warned, audit=(4380, 4406)), "fresh", END),
        "failed": (view(run_status=RunStatus.FAILED, steps=failed, audit=(4301, 4322)), "fresh", END),
        "unknown": (view(REBOOT, run_status=RunStatus.UNKNOWN, steps=(lost,), audit=(4412,), author="person"), "fresh", NOW),
        "stopped": (view(run_status=RunStatus.STOPPED, steps=states(MIGRATE, P.DONE, P.SKIPPED, P.SKIPPED), run_changes={"stop_asked_by": "jonas"}), "fresh", END),
        "closed": (view(REBOOT, run_status=RunStatus.CLOSED, steps=(lost,), run_changes={"reason": "closed by jonas"}), "fresh", END),
        "used": (view(run_status=RunStatus.DONE, steps=done, audit=(4417, 4431)), "rerun", END),
    }  # fmt: skip


REHEARSAL = Rehearsal(
    plan_digest=MIGRATE.digest,
    outcome=RunStatus.DONE,
    text="3 of 3 in the simulated copy",
    took_s=96.0,
    steps=tuple(RehearsedStep(key=f"s{number}", phase=StepPhase.DONE, took_s=30.0) for number in (1, 2, 3)),
    capacity=(
        Capacity(kind="memory", where="pve03", before=0.96, after=0.87, total=500 << 30),
        Capacity(kind="cpu", where="pve07", before=0.31, after=0.36, total=48),
        Capacity(kind="memory", where="pve05", before=0.58, after=0.95, total=500 << 30),
    ),
    warnings=("pve05 would be 95\u00a0% full (memory, 500\u00a0GiB).",),
    not_known=(
        "How fast 305 would move: no past migration tells; 1.1\u00a0GiB/s is assumed, as for 4 other guests.",
        "What programs inside the guests make of it.",
    ),
    looked_at=NOW - timedelta(seconds=8),
    reads=31,
    by="anna",
    at=NOW - timedelta(seconds=4),
)
