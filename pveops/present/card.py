"""The confirm card as plain JSON, complete in every state: what card.js draws, text shows and the export keeps."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from pveops.base.errors import PveopsError
from pveops.base.units import grouped
from pveops.guard.tiers import rate_call, rate_plan
from pveops.model.plan import Plan
from pveops.model.proposal import Check, Preview, Proposal, Tier
from pveops.model.run import ProposalView, Run
from pveops.present import leads, steps
from pveops.present.actions import Offer, actions, barred, draft_actions
from pveops.present.rehearsed import rehearsal_view
from pveops.present.states import LOOKS, LOUD, Mode, State, called, current_step, risk, state_of
from pveops.present.words import clock, count, digest_short, kv, listed, node_of, plain, reach, sentence, small, span, took
from pveops.settings.profile import ExecutorOptions

VERSION = 1
_CHECK_LOOKS = {"ok": ("ok", "ok"), "warn": ("warn", "warn"), "fail": ("error", "error"), "unknown": ("unknown", "unknown")}
_BEFORE: frozenset[State] = frozenset({"draft", "waiting", "refused"})


def card_view(
    view: ProposalView,
    *,
    viewer: str,
    can_sign: bool,
    mode: Mode,
    now: datetime,
    offers: Collection[Offer] = (),
    seen: Preview | None = None,
    undone: bool = False,
    record: Sequence[Mapping[str, Any]] = (),
    message: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The whole card of a proposal.

    Args:
        view: the proposal with its run, as the executor tells it.
        viewer: the principal whose click would count.
        can_sign: whether the viewer has a key to sign an approval with.
        mode: ``rerun`` where a cell merely shows a proposal whose story is over.
        now: the executor's time as far as we know it.
        offers: what else this place can do: ``again``, ``undo``, ``record``.
        seen: a newer look at the cluster than the proposal's own, from a dry run.
        undone: whether another proposal has taken back what this one did.
        record: audit records to show.
        message: a line about the last thing that was tried, from ``message_of`` or ``error_message``.
    """
    proposal = view.proposal
    state = state_of(view, mode=mode, now=now, undone=undone)
    word = called(view, state, viewer=viewer, can_sign=can_sign)
    preview = seen or proposal.preview
    card = {
        **_frame(proposal.plan, state, word),
        "id": proposal.id,
        "digest": proposal.digest,
        "correlation": proposal.correlation,
        "simulated": proposal.simulated,
        "risk": risk(proposal.tier, many=many(proposal.plan, proposal.tier)),
        "right": _right(view, state, now),
        "lead": leads.lead(view, state, now),
        "lead_icon": leads.origin_icon(view) if state in _BEFORE else "",
        "note": leads.note(view, state),
        "steps": [] if state in ("used", "expired", "denied", "withdrawn") else steps.rows(view, state, now),
        "steps_title": steps.heading(proposal.plan) if state in _BEFORE else "",
        "changes": _changes(proposal.plan) if state == "waiting" else [],
        "facts": _facts(view, state, now, viewer=viewer, can_sign=can_sign),
        **_checks(preview, state, now, again=seen is not None),
        "rehearsal": rehearsal_view(proposal.rehearsal, now) if state == "waiting" else None,
        "phrase": phrase(proposal) if state == "waiting" and proposal.tier is Tier.RED and can_sign and not barred(view, viewer) else "",
        **actions(view, state, viewer=viewer, can_sign=can_sign, offers=offers),
        "foot": _foot(view, state, preview, now, again=seen is not None),
        "record": [_record_row(row, now) for row in record],
        "message": dict(message) if message else None,
    }
    return card | {"says": _says(view, state, card["title"], word), "text_lead": plain(card["lead"])}


def draft_view(plan: Plan, *, now: datetime, tier: Tier | None = None, seen: Preview | None = None, can_propose: bool = False,
               message: Mapping[str, Any] | None = None) -> dict[str, Any]:  # fmt: skip
    """The card of a plan that nobody has put forward yet. Its risk is the table's; the executor rates it again when it is proposed."""
    tier = tier or rate_plan(plan, bulk_targets=ExecutorOptions().bulk_targets).tier
    lead = [span("Nothing is proposed yet, so nobody can approve it.")]
    state: State = "draft"
    return {
        **_frame(plan, state, LOOKS[state].word),
        "id": "", "digest": plan.digest, "correlation": "", "simulated": False, "risk": risk(tier, many=many(plan, tier)), "right": {"text": "Not proposed"},
        "lead": lead, "lead_icon": "", "note": None, "steps": steps.planned(plan, state), "steps_title": steps.heading(plan),
        "changes": _changes(plan), "facts": [kv("Reach", reach(plan)), kv("Undo", plan.undo_text or "none")],
        **(_checks(seen, state, now, again=True) if seen else {"checks": [], "checks_title": ""}),
        "rehearsal": None, "phrase": "", **draft_actions(can_propose=can_propose),
        "foot": [[span("Plan "), span(digest_short(plan.digest), "m")], *([[span(_state_read(seen, now, again=True))]] if seen else []), _zone()],
        "record": [], "message": dict(message) if message else None, "says": f"Draft: {plan.summary}", "text_lead": plain(lead),
    }  # fmt: skip


def many(plan: Plan, tier: Tier) -> bool:
    """Whether a plan is RED for the number of its guests alone: none of its calls is."""
    return tier is Tier.RED and all(rate_call(step.call).tier.rank < Tier.RED.rank for step in plan.steps)


def phrase(proposal: Proposal) -> str:
    """What a person types to confirm a RED plan: ``10 shutdowns``, ``undo 214``."""
    plan = proposal.plan
    only = plan.subjects[0].rpartition("/")[2] if len(plan.subjects) == 1 else ""
    return f"{plan.action} {only}".strip()


def error_message(err: PveopsError, now: datetime) -> dict[str, str]:
    """The line that tells of an error: kind, message, hint, correlation id."""
    return {
        "tone": "error",
        "kind": err.kind,
        "text": sentence(err.message),
        "hint": err.hint,
        "correlation": err.correlation,
        "at": clock(now, now),
    }


def message_of(text: str, now: datetime, *, tone: str = "info", hint: str = "") -> dict[str, str]:
    """A line about something that was done or found."""
    return {"tone": tone, "kind": "", "text": text, "hint": hint, "correlation": "", "at": clock(now, now)}


def dry_run_message(seen: Preview, now: datetime) -> dict[str, str]:
    """What a dry run found."""
    bad, unsure = seen.failed, [check for check in seen.checks if check.result == "unknown"]
    ok = sum(check.result == "ok" for check in seen.checks)
    if bad:
        return message_of(f"Dry run at {clock(seen.read_at, now)}: it would not work now. Nothing was written.", now, tone="error")
    told = f"{count(ok, 'check')} ok" + (f", {count(len(unsure), 'check')} could not be made" if unsure else "")
    return message_of(f"Dry run at {clock(seen.read_at, now)}: {told}. Nothing was written.", now, tone="warn" if unsure else "ok")


def _frame(plan: Plan, state: State, word: str) -> dict[str, Any]:
    look = LOOKS[state]
    return {
        "v": VERSION,
        "state": state,
        "word": word,
        "tone": look.tone,
        "glyph": look.glyph,
        "title": plan.summary,
        "cluster": plan.cluster,
    }


def _changes(plan: Plan) -> list[dict[str, str]]:
    return [{"what": change.what, "before": change.before, "after": change.after, "by": change.by} for change in plan.changes]


def _right(view: ProposalView, state: State, now: datetime) -> dict[str, Any]:
    """What stands at the right of the head."""
    proposal, run = view.proposal, view.run
    if state == "waiting":
        left_s = max(0.0, (proposal.expires - now).total_seconds())
        return {"text": "Expires in", "countdown_s": left_s, "at": clock(proposal.expires, now)}
    if state == "refused":
        return {"text": "Not run"}
    if state == "expired":
        return {"text": clock(proposal.expires, now)}
    if run is None or state in ("denied", "withdrawn"):
        return {"text": clock(proposal.decided_at, now)}
    if state == "running":
        return {"text": "", "elapsed_s": max(0.0, (now - (run.started or now)).total_seconds())}
    if state == "unknown":
        step = run.current
        return {"text": f"since {clock(step.started or run.started, now) if step else clock(run.started, now)}"}
    if state in ("done", "warned"):
        return {"text": f"{clock(run.started, now)}, took {took(run.started, run.ended) or 'an unknown time'}"}
    return {"text": clock(run.ended, now)}


def _facts(view: ProposalView, state: State, now: datetime, *, viewer: str, can_sign: bool) -> list[dict[str, Any]]:
    proposal, run = view.proposal, view.run
    if state == "waiting":
        return [
            kv("Policy", _policy(view, viewer=viewer, can_sign=can_sign)),
            kv("Reach", reach(proposal.plan)),
            *_rehearsed(proposal, now),
            kv("Undo", proposal.plan.undo_text or "none"),
        ]
    if state in ("done", "warned", "stopped") and run is not None:
        why = no_way_back(proposal.plan, run)
        return [kv("Undo", f"none: {why}")] if why else []
    if state == "refused":
        return [kv("Rule", span(proposal.verdict.rule, "m"))] if proposal.decided_by == "policy" else []
    if state == "unknown" and run is not None and run.current is not None:
        step = run.current
        planned = next(item for item in proposal.plan.steps if item.key == step.key)
        task = step.upid or "no task number came back"
        looked = "; ".join(step.looked) or f"nowhere yet; {node_of(planned)} does not answer"
        return [
            kv("Sent", f"{clock(step.started, now)}, one request, {task}"),
            kv("Looked in", sentence(looked)[:-1]),
            kv("Next look", f"by itself when {node_of(planned)} answers again" if step.retry_look else "only when you ask for it"),
        ]
    return []


def no_way_back(plan: Plan, run: Run) -> str:
    """Why what was done cannot be taken back; empty where it can, or where nothing was done."""
    good = {step.key for step in run.steps if step.phase.good}
    return "; ".join(dict.fromkeys(step.no_undo or "no inverse is known" for step in plan.steps if step.key in good and step.undo is None))


def _rehearsed(proposal: Proposal, now: datetime) -> list[dict[str, Any]]:
    report = rehearsal_view(proposal.rehearsal, now)
    return [] if report is None else [kv("Rehearsed", report["short"], tone=report["tone"], glyph=report["glyph"])]


def _policy(view: ProposalView, *, viewer: str, can_sign: bool) -> str:
    said = approvals(view.proposal) or view.proposal.verdict.text.rstrip(". ") or "Needs one approval"
    if barred(view, viewer):
        return f"{said}, but not yours"
    return f"{said}; you may give it" if can_sign else f"{said}; you cannot give it"


def approvals(proposal: Proposal) -> str:
    """``1 of 2 approvals given, by anna``; empty where one is enough."""
    if proposal.needs < 2:
        return ""
    given = [vote.person for vote in proposal.votes]
    if not given:
        return f"Needs {small(proposal.needs)} approvals"
    return f"{len(given)} of {proposal.needs} approvals given, by {listed(given)}"


def _checks(preview: Preview, state: State, now: datetime, *, again: bool) -> dict[str, Any]:
    """Checks that are not plainly ok are shown; the others are one line in the foot."""
    if state not in _BEFORE:
        return {"checks": [], "checks_title": ""}
    shown = [_check(check) for check in preview.checks if check.result != "ok"]
    title = f"{'Checked again' if again else 'Checked'} without writing at {clock(preview.read_at, now)}"
    return {"checks": shown, "checks_title": title if shown else ""}


def _check(check: Check) -> dict[str, str]:
    tone, glyph = _CHECK_LOOKS[check.result]
    return {"tone": tone, "glyph": glyph, "word": check.result, "text": sentence(check.text)[:-1]}


def _state_read(preview: Preview, now: datetime, *, again: bool) -> str:
    all_ok = all(check.result == "ok" for check in preview.checks)
    return f"State read {'again ' if again else ''}{clock(preview.read_at, now)}{', unchanged' if all_ok else ''}"


def _foot(view: ProposalView, state: State, preview: Preview, now: datetime, *, again: bool) -> list[list[dict[str, str]]]:
    """Small facts at the bottom: plan or record, task, correlation id, time zone."""
    proposal, run = view.proposal, view.run
    foot = []
    if state in ("waiting", "refused"):
        foot += [[span("Plan "), span(digest_short(proposal.digest), "m")], [span(_state_read(preview, now, again=again))]]
    if run is not None and state not in ("unknown", "running"):
        foot.append([span(f"Approved by {_approvers(proposal) or run.approved_by or proposal.decided_by}")])
    if view.audit:
        first, last = view.audit[0], view.audit[-1]
        foot.append([span(f"Audit {grouped(first)}" + (f" to {grouped(last)}" if last != first else ""))])
    if state == "unknown":
        guests = [subject.partition("/")[2] for subject in proposal.plan.subjects]
        foot.append([span(f"{', '.join(guests[:5])} {'is' if len(guests) == 1 else 'are'} locked for new proposals")])
    upid = _upid(run) if run is not None and state in ("running", "failed") else ""
    if upid:
        foot.append([span(upid, "m")])
    return [*foot, [span(proposal.correlation, "m")], _zone()]


def _approvers(proposal: Proposal) -> str:
    """Who approved, where that is more than one person's click."""
    if proposal.standing:
        return f"the standing rule {proposal.standing} of {proposal.decided_by}"
    names = [f"{vote.approver} with the glass broken" if vote.glass else vote.approver for vote in proposal.votes]
    return listed(names)


def _upid(run: Run) -> str:
    """The task of the step being worked on, else of the last one."""
    step = run.current or (run.steps[-1] if run.steps else None)
    return step.upid if step is not None else ""


def _zone() -> list[dict[str, str]]:
    return [span("times in UTC")]


def _record_row(row: Mapping[str, Any], now: datetime) -> dict[str, str]:
    at, data = str(row.get("at", "")), row.get("data")
    return {
        "seq": grouped(int(row.get("seq", 0))),
        "at": clock(datetime.fromisoformat(at), now) if at else "",
        "kind": str(row.get("kind", "")),
        "actor": str(row.get("actor", "")),
        "text": _detail(data) if isinstance(data, Mapping) else "",
    }


def _detail(data: Mapping[str, Any]) -> str:
    """The part of a record that says most."""
    plan = data.get("plan")
    if isinstance(plan, Mapping):
        return str(plan.get("summary", ""))
    found = next((str(data[key]) for key in ("text", "reason", "status", "upid") if data.get(key)), "")
    return found or (f"by {data['channel']}" if data.get("channel") else "")


def _says(view: ProposalView, state: State, title: str, word: str) -> str:
    """What the live region speaks."""
    if state == "running":
        number, of = current_step(view)
        return f"Step {number} of {of} running"
    if state in LOUD:
        return f"{word}: {title}. {plain(leads.lead(view, state, view.server_time))}"
    return f"{word}: {title}"
