"""One producer for all who look: reads the cluster every 10 s while somebody watches, and hands each page its blocks."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol

from pveops.base.clock import Clock, SystemClock
from pveops.base.errors import PveopsError
from pveops.clients.executor import ExecutorClient
from pveops.model.messages import Event
from pveops.present.controller import CardController
from pveops.present.feed import Feed
from pveops.present.leads import settled
from pveops.present.ports import Decider, Redraft
from pveops.surfaces.dash import blocks, lists
from pveops.surfaces.dash.gate import guarded
from pveops.surfaces.dash.look import REFRESH_S, Seen, Watcher
from pveops.surfaces.dash.lookonly import LookOnly

_LOG = logging.getLogger("pveops.page")
_KEPT_EVENTS = 80
_KEEP_SETTLED = timedelta(minutes=10)
_UNFOLDED = 3
_SOON_S = 0.4
"""News of the executor are waited together for so long."""


class Session(Protocol):
    """One open page."""

    query: Mapping[str, Any]
    """What its guest table asks for."""

    def put(self, name: str, block: Mapping[str, Any]) -> None:
        """Show a block. May be called from any thread."""
        ...


class Hub:
    """The shared state of all pages of one server."""

    def __init__(self, watcher: Watcher, *, clock: Clock | None = None, refresh_s: float = REFRESH_S) -> None:
        self._watcher = watcher
        self._clock = clock or SystemClock()
        self._refresh_s = refresh_s
        self._sessions: dict[str, Session] = {}
        self._sent: dict[tuple[str, str], int] = {}
        self._seen: Seen | None = None
        self._fault: PveopsError | None = None
        self._events: list[Event] = []
        self._cards: dict[str, Any] = {"view": {"v": 1, "now_ms": 0, "cards": []}, "acks": []}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._nudge: asyncio.Event | None = None
        self.desk: CardController | None = None
        self.principal = ""

    # -- pages come and go ----------------------------------------------------------------------------------------------

    def join(self, key: str, session: Session) -> None:
        """A page has opened. Call it on the server's event loop."""
        self._sessions[key] = session
        self._loop = asyncio.get_running_loop()
        if self._task is None or self._task.done():
            self._nudge = asyncio.Event()
            self._task = self._loop.create_task(self._run())
        elif self._nudge is not None and self._stale():
            self._nudge.set()
        self._hand_out()

    def leave(self, key: str) -> None:
        """A page has closed."""
        self._sessions.pop(key, None)
        self._sent = {pair: mark for pair, mark in self._sent.items() if pair[0] != key}

    def guests(self, session: Session) -> blocks.Block:
        """One page of the guest table, for one open page."""
        return lists.guests_block(self._seen, self._fault, session.query)

    def _stale(self) -> bool:
        return self._seen is None or (self._clock.now() - self._seen.at).total_seconds() > self._refresh_s

    # -- reading --------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Read and hand out, as long as somebody looks."""
        nudge = self._nudge or asyncio.Event()
        while self._sessions:
            nudge.clear()
            reading = asyncio.create_task(asyncio.to_thread(self._read))
            while not (await asyncio.wait({reading}, timeout=self._refresh_s))[0]:
                self._hand_out()  # the cluster takes its time: what is shown grows old, and says so
            self._hand_out()
            try:
                await asyncio.wait_for(nudge.wait(), self._refresh_s)
                await asyncio.sleep(_SOON_S)
            except TimeoutError:
                continue

    def _read(self) -> None:
        try:
            self._seen, self._fault = self._watcher.look(), None
        except PveopsError as err:
            _LOG.warning("the cluster cannot be read", extra={"error": err.kind})
            self._fault = err
        try:
            self._read_proposals()
        except PveopsError as err:
            _LOG.info("no proposals can be read", extra={"error": err.kind})

    def _read_proposals(self) -> None:
        """Put every open proposal on the desk."""
        if self.desk is None:
            client = self._watcher.client()
            self._open_desk(client)
        desk = self.desk
        if desk is None:
            return
        for view in reversed(self._watcher.client().proposals(only_open=True)):
            if not settled(view) and not desk.shows(view.proposal.id):
                desk.open(view)
        desk.clear(self._clock.now() - _KEEP_SETTLED)

    def _open_desk(self, client: ExecutorClient) -> None:
        may_confirm = guarded()
        decider: Decider = client if may_confirm else LookOnly(client)
        feed = Feed(decider)
        self.principal = client.principal
        ops = self._watcher.ops
        again: Redraft | None = (lambda proposal: ops.again(proposal).propose().view()) if may_confirm else None
        undo: Redraft | None = (lambda proposal: ops.undo(proposal).propose().view()) if may_confirm else None
        rehearse: Redraft | None = (lambda proposal: ops.executors.rehearse(ops.proposal(proposal).view())) if may_confirm else None
        self.desk = CardController(
            decider, self._show_cards, feed, channel="dashboard", again=again, undo=undo, rehearse=rehearse, unfolded=_UNFOLDED
        )
        feed.listen(self._heard)

    def _heard(self, rows: Sequence[Event]) -> None:
        known = {event.seq for event in self._events}
        fresh = [row for row in rows if row.seq not in known]
        self._events = [*self._events, *fresh][-_KEPT_EVENTS:]
        if self._loop is not None and fresh and any(not row.kind.startswith("step.") for row in fresh):
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self._nudge is not None:
            self._nudge.set()

    # -- handing out ----------------------------------------------------------------------------------------------------

    def _show_cards(self, payload: dict[str, Any], acks: list[str]) -> None:
        self._cards = {"view": payload or self._cards["view"], "acks": acks}
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._hand_cards)

    def _hand_cards(self) -> None:
        text = _as_text(self._cards)
        for key, session in list(self._sessions.items()):
            self._put(key, session, "cards", self._cards, text)

    def _hand_out(self) -> None:
        """Make every block once for all pages; only the guest table depends on what a page asks for."""
        shared = {name: (block, _as_text(block)) for name, block in self._blocks().items()}
        tables: dict[str, tuple[Mapping[str, Any], str]] = {}
        for key, session in list(self._sessions.items()):
            asked = _as_text(session.query)
            if asked not in tables:
                table = self.guests(session)
                tables[asked] = (table, _as_text(table))
            for name, (block, text) in {**shared, "guests": tables[asked]}.items():
                self._put(key, session, name, block, text)

    def _put(self, key: str, session: Session, name: str, block: Mapping[str, Any], text: str) -> None:
        mark = hash(text)
        if self._sent.get((key, name)) != mark:
            self._sent[key, name] = mark
            session.put(name, block)

    def _blocks(self) -> dict[str, Mapping[str, Any]]:
        seen, fault, now = self._seen, self._fault, self._clock.now()
        read_at = seen.at if seen else None
        waiting = sum(card["state"] == "waiting" for card in self._cards["view"].get("cards", ()))
        stale = fault is not None or blocks.is_old(read_at, now, self._refresh_s)
        bar = blocks.bar_block(
            seen, now=now, read_at=read_at, fault=fault, principal=self.principal, can_confirm=guarded(), refresh_s=self._refresh_s
        )
        return {
            "bar": bar,
            "nav": blocks.nav_block(seen, waiting=waiting, stale=stale),
            "top": blocks.top_block(seen, fault, now=now, read_at=read_at),
            "nodes": blocks.nodes_block(seen, fault),
            "storage": blocks.storage_block(seen, fault),
            "work": lists.work_block(seen, fault, now),
            "feed": lists.feed_block(seen, self._events, now),
            "cards": self._cards,
        }


def _as_text(block: Mapping[str, Any]) -> str:
    return json.dumps(block, sort_keys=True, default=str)
