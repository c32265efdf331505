"""The Python side of cards, for both shells: hears presses, asks the executor, and says what the cards show."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pveops.base.clock import Clock, SystemClock
from pveops.base.errors import Expired, Forged, InputError, PveopsError, Used
from pveops.base.units import fmt_duration
from pveops.model.messages import ResolveRequest
from pveops.model.plan import Plan
from pveops.model.proposal import Preview, Tier
from pveops.model.run import ProposalView
from pveops.observe.context import correlated
from pveops.present.actions import Offer
from pveops.present.card import VERSION, card_view, draft_view, dry_run_message, error_message, message_of, phrase
from pveops.present.feed import Feed
from pveops.present.leads import settled, settled_at
from pveops.present.ports import Decider, Redraft, Show
from pveops.present.states import Mode

LATE_S = 60.0
SLOW_S = 3.0
"""After so long without an answer a card says so; a front end that hears nothing for four seconds thinks that Python is gone."""
"""A confirmation that arrives later than this after the click is not taken: the person may have changed their mind."""
_MANY_ACKS = 40
_RECORDS = 200
_LOG = logging.getLogger("pveops.cards")

Propose = Callable[[], ProposalView]
Look = Callable[[], Preview]


@dataclass(slots=True)
class _Card:
    """One card on the desk: a draft, or a proposal."""

    key: str
    view: ProposalView | None = None
    mode: Mode = "fresh"
    plan: Plan | None = None
    propose: Propose | None = None
    look: Look | None = None
    seen: Preview | None = None
    record: list[Mapping[str, Any]] = field(default_factory=list)
    message: dict[str, Any] | None = None
    undone_by: str = ""
    lag: timedelta = timedelta()
    """Executor's clock minus ours."""
    busy: bool = False
    rehearsing: bool = False
    silent: bool = False
    slow: dict[str, Any] | None = None
    """What is said while a press waits for its answer for long."""
    stop: Callable[[], None] | None = None

    @property
    def digest(self) -> str:
        """The digest of the plan on the screen."""
        if self.view is not None:
            return self.view.proposal.digest
        return self.plan.digest if self.plan is not None else ""


class CardController:
    """A desk with one card, and those that follow from it (the same again, an undo).

    ``receive`` takes what a front end sent; it never blocks and never raises. Every message is answered by an acknowledgement.

    Args:
        decider: the executor under the viewer's name.
        show: puts payload and acknowledgements on the screen.
        feed: follows the executor.
        channel: what approvals say about where the click was: ``card`` or ``dashboard``.
        again: drafts the same again and proposes it; None where this place cannot.
        undo: drafts the inverse and proposes it; None where this place cannot.
        rehearse: tries a proposal on a simulated copy and puts the report beside it; None where this place cannot.
        unfolded: so many cards stand open, a line stands for each of the others; 0 for all.
        clock: for tests.
    """

    def __init__(
        self,
        decider: Decider,
        show: Show,
        feed: Feed,
        *,
        channel: str = "card",
        again: Redraft | None = None,
        undo: Redraft | None = None,
        rehearse: Redraft | None = None,
        unfolded: int = 0,
        clock: Clock | None = None,
    ) -> None:
        self._decider = decider
        self._show = show
        self._feed = feed
        self._channel = channel
        self._redrafts: dict[str, Redraft] = {name: call for name, call in (("again", again), ("undo", undo)) if call is not None}
        self._rehearse_on = rehearse
        self._unfolded = unfolded
        self._clock = clock or SystemClock()
        self._lock = threading.RLock()
        self._cards: dict[str, _Card] = {}
        self._made = 0
        self._acks: list[str] = []
        self._clients: set[str] = set()

    # -- what is shown --------------------------------------------------------------------------------------------------

    def open(self, view: ProposalView, *, follow: bool = True) -> None:
        """Show a proposal. One whose story is over is shown as such: looking at it again confirms nothing."""
        with self._lock:
            card = self._add(_Card(key=self._key(), mode="rerun" if settled(view) else "fresh"))
            self._take(card, view)
            self._push()
        if follow and not settled(view):
            self._follow(card)

    def open_draft(self, plan: Plan, *, propose: Propose | None, look: Look | None) -> None:
        """Show a plan that nobody has put forward yet."""
        with self._lock:
            self._add(_Card(key=self._key(), plan=plan, propose=propose, look=look))
            self._push()

    def shows(self, proposal_id: str) -> bool:
        """Whether a proposal is on the desk."""
        with self._lock:
            return any(card.view is not None and card.view.proposal.id == proposal_id for card in self._cards.values())

    def clear(self, older_than: datetime) -> None:
        """Take away what was settled before a time (by the executor's clock)."""
        with self._lock:
            gone = [
                card for card in self._cards.values() if card.view is not None and settled(card.view) and settled_at(card.view) < older_than
            ]
            for card in gone:
                del self._cards[card.key]
            if gone:
                self._push()

    def payload(self) -> dict[str, Any]:
        """Everything the front end draws."""
        with self._lock:
            return {
                "v": VERSION,
                "now_ms": round(self._now(self._latest()).timestamp() * 1000),
                "cards": [self._draw(card) for card in self._cards.values()],
                "unfolded": self._unfolded,
            }

    def close(self) -> None:
        """Follow nothing any more."""
        with self._lock:
            stops = [card.stop for card in self._cards.values() if card.stop]
        for stop in stops:
            stop()

    def _key(self) -> str:
        self._made += 1
        return f"c{self._made}"

    def _add(self, card: _Card) -> _Card:
        self._cards[card.key] = card
        return card

    def _latest(self) -> _Card | None:
        return next(reversed(self._cards.values()), None)

    def _now(self, card: _Card | None) -> datetime:
        return self._clock.now() + (card.lag if card else timedelta())

    def _draw(self, card: _Card) -> dict[str, Any]:
        now = self._now(card)
        if card.view is None:
            plan = card.plan
            if plan is None:
                raise ValueError("a card without a plan")
            drawn = draft_view(plan, now=now, seen=card.seen, can_propose=card.propose is not None, message=card.message)
        else:
            offers: list[Offer] = ["record", *(name for name in ("again", "undo") if name in self._redrafts)]
            if self._rehearse_on is not None and not card.rehearsing:
                offers.append("rehearse")
            drawn = card_view(
                card.view, viewer=self._decider.principal, can_sign=self._decider.can_sign, mode=card.mode, now=now, offers=offers, seen=card.seen,
                undone=self._undone(card), record=card.record, message=card.message,
            )  # fmt: skip
        if card.slow is not None:
            drawn = {**drawn, "actions": [{**action, "off": "No answer yet."} for action in drawn["actions"]]}
        return {"key": card.key, **drawn}

    def _undone(self, card: _Card) -> bool:
        other = self._cards.get(card.undone_by)
        run = other.view.run if other is not None and other.view is not None else None
        return run is not None and bool(run.steps) and all(step.phase.good for step in run.steps)

    def _push(self) -> None:
        self._show(self.payload(), list(self._acks))

    def _take(self, card: _Card, view: ProposalView) -> None:
        old = card.view
        if old is not None and (old.proposal.version, old.server_time) > (view.proposal.version, view.server_time):
            return
        card.view = view
        card.lag = view.server_time - self._clock.now()
        if old is not None and old.proposal.status is not view.proposal.status:
            card.message, card.seen = None, None

    def _follow(self, card: _Card) -> None:
        view = card.view
        if view is None:
            return

        def heard(news: ProposalView | PveopsError) -> None:
            with self._lock:
                if isinstance(news, PveopsError):
                    card.message, card.silent = error_message(news, self._now(card)), True
                else:
                    if card.silent:  # only what we said about the silence itself is over
                        card.message, card.silent = None, False
                    self._take(card, news)
                self._push()
            if not isinstance(news, PveopsError) and settled(news) and card.stop is not None:
                card.stop()

        card.stop = self._feed.watch(view.proposal.id, heard)
        self._feed.saw(view)

    # -- what is pressed ------------------------------------------------------------------------------------------------

    def receive(self, message: object) -> None:
        """Take what a front end sent. Work is done on a thread of its own, so that a busy cell or page holds nothing up."""
        if not isinstance(message, Mapping) or not isinstance(message.get("type"), str):
            return
        ack = f"{message.get('client', '')}:{message.get('seq', '')}"
        if message["type"] == "hello":
            self._hello(str(message.get("client", "")), ack)
            return
        with self._lock:
            card = self._cards.get(str(message.get("card", "")))
            taken = card is not None and not card.busy
            if card is not None and taken:
                card.busy = True
        if card is None or not taken:
            self._acknowledge(ack)
            return
        threading.Thread(target=self._work, args=(card, dict(message), ack), name="pveops-card", daemon=True).start()

    def _hello(self, client: str, ack: str) -> None:
        with self._lock:
            fresh = client not in self._clients
            self._clients.add(client)
            self._remember(ack)
            if fresh:
                self._push()
            else:
                self._show({}, list(self._acks))

    def _acknowledge(self, ack: str) -> None:
        with self._lock:
            self._remember(ack)
            self._push()

    def _remember(self, ack: str) -> None:
        self._acks = [*self._acks[-_MANY_ACKS:], ack]

    def _work(self, card: _Card, message: dict[str, Any], ack: str) -> None:
        with self._lock:
            view = card.view
        patience = threading.Timer(SLOW_S, self._slow, (card, ack))
        patience.daemon = True
        patience.start()
        try:
            with correlated(view.proposal.correlation if view else ""):
                self._act(card, message)
        except PveopsError as err:
            _LOG.info("a press was refused", extra={"press": message["type"], "error": err.kind})
            with self._lock:
                err.correlation = err.correlation or (view.proposal.correlation if view else "")
                card.message, card.silent = error_message(err, self._now(card)), err.kind == "ExecutorUnavailable"
            self._refresh(card)
        finally:
            patience.cancel()
            with self._lock:
                if card.message is card.slow:
                    card.message = None
                card.busy, card.slow = False, None
            self._acknowledge(ack)

    def _slow(self, card: _Card, ack: str) -> None:
        """We are here and the executor is silent: say so before the front end thinks that it is us."""
        with self._lock:
            if not card.busy:
                return
            text = f"No answer for {SLOW_S:.0f} s: the executor, or the cluster that it asks, is busy or stopped. What became of this is told as soon as it answers."
            card.slow = card.message = message_of(text, self._now(card))
        self._acknowledge(ack)

    def _refresh(self, card: _Card) -> None:
        """After a refusal: show how it really stands."""
        if card.view is None:
            return
        try:
            view = self._decider.proposal(card.view.proposal.id)
        except PveopsError:
            return  # the line about the refusal is there already
        with self._lock:
            message = card.message
            self._take(card, view)
            card.message = message

    def _act(self, card: _Card, message: Mapping[str, Any]) -> None:
        press = message["type"]
        with self._lock:
            offered = {action["type"] for action in self._draw(card)["actions"] if not action["off"]}
        if press not in offered:
            raise Used("That cannot be done with this proposal any more. Nothing ran.", hint="Look at it again.")
        if press == "propose":
            self._propose(card)
        elif press == "dry_run":
            self._dry_run(card)
        elif press == "rehearse" and card.view is not None:
            self._rehearse(card, card.view.proposal.id)
        elif card.view is not None:
            self._decide(card, card.view, press, message)

    def _decide(self, card: _Card, view: ProposalView, press: str, message: Mapping[str, Any]) -> None:
        proposal_id = view.proposal.id
        if press == "approve":
            self._check(card, view, message)
            self._took(card, self._decider.approve(view, channel=self._channel))
        elif press == "deny":
            self._took(card, self._decider.deny(proposal_id, str(message.get("reason") or "")))
        elif press == "withdraw":
            self._took(card, self._decider.withdraw(proposal_id, ""))
        elif press == "stop":
            self._took(card, self._decider.stop(proposal_id, ""))
        elif press == "pause":
            self._took(card, self._decider.pause(proposal_id, ""))
        elif press == "resume":
            self._took(card, self._decider.resume(proposal_id, ""))
        elif press in ("look", "happened", "not_happened", "close"):
            self._took(card, self._decider.resolve(proposal_id, ResolveRequest(what=press)))  # type: ignore[arg-type]
            self._follow_again(card)
        elif press in self._redrafts:
            self._redraft(card, press, proposal_id)
        elif press == "record":
            rows = list(self._decider.audit(proposal=proposal_id, limit=_RECORDS))
            with self._lock:
                card.record = rows

    def _check(self, card: _Card, view: ProposalView, message: Mapping[str, Any]) -> None:
        """Return if this press confirms exactly what is on the screen, now.

        Raises:
            Forged: it carries the digest of another plan.
            Expired: it comes too late after the click.
            InputError: the phrase is missing.
        """
        proposal = view.proposal.intact()
        if message.get("digest") != proposal.digest:
            raise Forged("The click was for another plan than the one shown here. Nothing ran.", hint="Look again, then confirm.")
        clicked = message.get("at_ms")
        late_s = self._now(card).timestamp() - clicked / 1000 if isinstance(clicked, (int, float)) else LATE_S + 1
        if late_s > LATE_S:
            raise Expired(
                f"The click arrived {fmt_duration(round(late_s))} late, so it was not taken. Nothing ran.", hint="Look again, then confirm."
            )
        if proposal.tier is Tier.RED and message.get("phrase") != phrase(proposal):
            raise InputError("The words to type do not match. Nothing ran.", hint=f"Type: {phrase(proposal)}")

    def _took(self, card: _Card, view: ProposalView) -> None:
        with self._lock:
            card.message = None
            self._take(card, view)
        self._feed.saw(view)

    def _follow_again(self, card: _Card) -> None:
        if card.stop is None:
            self._follow(card)

    def _propose(self, card: _Card) -> None:
        if card.propose is None or card.view is not None:
            return
        view = card.propose()
        with self._lock:
            card.message, card.seen = None, None
            self._take(card, view)
        self._follow(card)

    def _dry_run(self, card: _Card) -> None:
        if card.view is not None:
            seen = self._decider.preview(card.view.proposal.plan)
        elif card.look is not None:
            seen = card.look()
        else:
            return
        with self._lock:
            card.seen = seen
            card.message = dry_run_message(seen, self._now(card))

    def _rehearse(self, card: _Card, proposal_id: str) -> None:
        """Begin; it goes on beside the card, which can be decided meanwhile."""
        rehearse = self._rehearse_on
        if rehearse is None:
            return
        with self._lock:
            card.rehearsing = True
            card.message = message_of("Rehearsing on a simulated copy of the cluster. You need not wait for it.", self._now(card))
        threading.Thread(target=self._rehearsed, args=(card, proposal_id, rehearse), name="pveops-rehearsal", daemon=True).start()

    def _rehearsed(self, card: _Card, proposal_id: str, rehearse: Redraft) -> None:
        message: dict[str, Any] | None = None
        try:
            with correlated(card.view.proposal.correlation if card.view else ""):
                view = rehearse(proposal_id)
            with self._lock:
                self._take(card, view)
        except PveopsError as err:
            message = error_message(err, self._now(card))
        finally:
            with self._lock:
                card.rehearsing = False
                card.message = message
                self._push()

    def _redraft(self, card: _Card, press: str, proposal_id: str) -> None:
        view = self._redrafts[press](proposal_id)
        self.open(view)
        with self._lock:
            made = self._latest()
            if press == "undo" and made is not None:
                card.undone_by = made.key
            card.message = message_of(f"Proposed as {view.proposal.id}, below.", self._now(card), tone="ok")
