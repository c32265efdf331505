"""The hub: one reader for all pages, blocks only when they changed, cards pressed from any page."""

import asyncio
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from pveops.base.errors import ExecutorUnavailable, Unreachable
from pveops.surfaces.dash.hub import Hub

here = Path(__file__).parent
blocks = SimpleNamespace(**runpy.run_path(str(here / "test_blocks.py")))
samples = SimpleNamespace(**runpy.run_path(str(here.parent / "present" / "samples.py")))


class Page:
    def __init__(self):
        self.query = {}
        self.got = []

    def put(self, name, block):
        self.got.append((name, block))

    def last(self, name):
        return [block for which, block in self.got if which == name][-1]


class Client:
    principal = "operator"
    can_sign = True

    def __init__(self, *views):
        self.views = {view.proposal.id: view for view in views}

    def proposals(self, *, only_open=False, limit=100):
        return list(self.views.values())

    def proposal(self, proposal_id):
        return self.views[proposal_id]

    def events(self, *, after, wait_s=20.0):
        if after < 0:
            return [blocks.Event(seq=1, at=blocks.NOW, kind="proposal.waiting", proposal_id="p-8c41d2", actor="anna", text="x")]
        import time

        time.sleep(0.05)
        return []


class Watcher:
    def __init__(self, client=None, fault=None):
        self.held, self.fault, self.looks = client, fault, 0
        self.ops = SimpleNamespace()

    def client(self):
        if self.held is None:
            raise ExecutorUnavailable("nobody")
        return self.held

    def look(self):
        self.looks += 1
        if self.fault:
            raise self.fault
        return blocks.seen()


class Clock:
    def now(self):
        return blocks.NOW

    def monotonic_s(self):
        return 0.0

    def sleep_s(self, seconds):
        pass


def run(watcher, story, **options):
    async def go():
        hub = Hub(watcher, clock=Clock(), refresh_s=0.05, **options)
        await story(hub)
        for key in list(hub._sessions):
            hub.leave(key)
        if hub._task is not None:
            await asyncio.wait_for(hub._task, 5)

    asyncio.run(go())


async def until(condition):
    for _ in range(300):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("did not happen in time")


def test_all_pages_share_one_reader_and_nothing_is_sent_twice():
    watcher, pages = Watcher(), [Page(), Page(), Page()]

    async def story(hub):
        for number, page in enumerate(pages):
            hub.join(str(number), page)
        await until(
            lambda: (
                watcher.looks >= 4 and all(("nodes", "ok") in [(name, block.get("state")) for name, block in page.got] for page in pages)
            )
        )

    run(watcher, story)
    for page in pages:
        assert [block["state"] for name, block in page.got if name == "nodes"] == ["loading", "ok"]
    assert watcher.looks < 40


def test_reading_stops_when_nobody_looks():
    watcher, page = Watcher(), Page()

    async def story(hub):
        hub.join("a", page)
        await until(lambda: watcher.looks >= 1)
        hub.leave("a")
        await asyncio.wait_for(hub._task, 5)
        looks = watcher.looks
        await asyncio.sleep(0.2)
        assert watcher.looks == looks
        hub.join("b", Page())
        await until(lambda: watcher.looks > looks)

    run(watcher, story)


def test_a_fault_is_handed_out_and_forgotten():
    watcher, page = Watcher(fault=Unreachable("No endpoint answers.")), Page()

    async def story(hub):
        hub.join("a", page)
        await until(lambda: any(name == "nodes" and block["state"] == "error" for name, block in page.got))
        watcher.fault = None
        await until(lambda: page.last("nodes")["state"] == "ok")

    run(watcher, story)


def test_open_proposals_become_cards_and_events_reach_the_feed():
    watcher, page = Watcher(Client(samples.view())), Page()

    async def story(hub):
        hub.join("a", page)
        await until(lambda: page.got and page.last("cards")["view"]["cards"])
        await until(lambda: any("asks: x" in item["text"] for item in page.last("feed").get("items", ())))
        assert page.last("nav")["waiting"] == 1
        assert hub.principal == "operator"
        card = page.last("cards")["view"]["cards"][0]
        hub.desk.close()
        assert card["state"] == "waiting"
        assert [action["type"] for action in card["actions"]] == ["dry_run"], "no gate, no confirm"

    run(watcher, story)


@pytest.mark.parametrize("query", [{"q": "web"}, {"state": "stopped"}])
def test_each_page_gets_the_guests_it_asks_for(query):
    watcher, asking, other = Watcher(), Page(), Page()
    asking.query = query

    async def story(hub):
        hub.join("a", asking)
        hub.join("b", other)
        await until(lambda: all(page.got and page.last("guests")["state"] == "ok" for page in (asking, other)))

    run(watcher, story)
    assert len(asking.last("guests")["rows"]) == 1
    assert len(other.last("guests")["rows"]) == 2
