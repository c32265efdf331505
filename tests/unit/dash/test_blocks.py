"""What the page shows is made of what was seen: numbers, banners, gaps, and never a bare hole."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pveops.base.errors import ExecutorUnavailable, Forbidden, Unreachable
from pveops.model.messages import Event, ExecutorInfo, KillState
from pveops.model.resources import Answer, Backup, ClusterStatus, Gap, Guest, Node, Storage
from pveops.model.tasks import Outcome, Task, Upid
from pveops.surfaces.dash import blocks, lists
from pveops.surfaces.dash.look import Seen

NOW = datetime(2026, 11, 21, 14, 32, 7, tzinfo=UTC)
GIB = 1 << 30


def answer(rows, *gaps):
    return Answer(rows=tuple(rows), gaps=gaps, read_at=NOW, source="https://a /cluster/resources")


def node(name, *, cpu=0.4, mem=0.5, status="online"):
    return Node(
        name=name,
        status=status,
        cpu_fraction=cpu,
        cpus=32,
        mem_bytes=int(mem * 64 * GIB),
        maxmem_bytes=64 * GIB,
        disk_bytes=20 * GIB,
        maxdisk_bytes=100 * GIB,
        uptime_s=86400 * 41,
    )


def guest(vmid, name, on="pve1", **more):
    return Guest(
        **(
            {
                "vmid": vmid,
                "kind": "qemu",
                "node": on,
                "name": name,
                "status": "running",
                "cpu_fraction": 0.1,
                "mem_bytes": GIB,
                "maxmem_bytes": 2 * GIB,
                "uptime_s": 3600,
            }
            | more
        )
    )


def task(kind="failed", text="migration aborted", *, at=NOW, vmid="101"):
    upid = Upid.parse(f"UPID:pve1:0001C2F8:0A2B3C4D:{int(at.timestamp()):08X}:qmigrate:{vmid}:root@pam:")
    return Task(
        upid=upid,
        node="pve1",
        type="qmigrate",
        id=vmid,
        user="root@pam",
        token=None,
        started=at,
        ended=at + timedelta(seconds=8),
        outcome=Outcome(kind, text),
    )


INFO = ExecutorInfo(executor="x-1", version="0", pid=1, cluster="berg", cluster_version="9.2", simulated=True, boundary="", policy_hash="", policy_name="homelab", principal="operator",
                    principal_kind="person", kill=KillState(on=False), waiting=0, running=0, unknown=0, started=NOW)  # fmt: skip


def seen(**changes):
    parts = {
        "at": NOW, "cluster": "berg", "simulated": True, "nodes": answer([node("pve1"), node("pve2")]), "guests": answer([guest(101, "web-1"), guest(102, "db-1", "pve2", status="stopped")]),
        "storages": answer([Storage(name="local", node=name, type="dir", status="available", used_bytes=10 * GIB, total_bytes=100 * GIB) for name in ("pve1", "pve2")]),
        "status": ClusterStatus(name="berg", quorate=True, nodes=(("pve1", True), ("pve2", True))), "tasks": answer([]), "failed": answer([]), "backups": answer([]), "executor": INFO,
    }  # fmt: skip
    return Seen(**(parts | changes))


def banners(view, fault=None):
    return [one["title"] for one in blocks.top_block(view, fault, now=NOW, read_at=view.at if view else None)["banners"]]


def test_facts_are_counted_from_what_was_seen():
    facts = {fact["k"]: (fact["v"], fact["of"]) for fact in blocks.top_block(seen(), None, now=NOW, read_at=NOW)["facts"]}
    assert facts["Nodes"] == ("2 of 2", "")
    assert facts["Guests"] == ("1 running", "of 2")
    assert facts["Quorum"] == ("2 of 2 votes", "")
    assert facts["CPU"] == ("40\u00a0%", "of 64")
    assert facts["Memory"] == ("50\u00a0%", "of 128\u00a0GiB")
    assert "HA" not in facts


def test_a_quiet_cluster_has_no_banner():
    assert banners(seen()) == []


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({"nodes": answer([node("pve1"), node("pve2", status="offline")])}, "pve2 is offline"),
        ({"status": ClusterStatus(name="berg", quorate=False, nodes=(("pve1", True),))}, "The cluster has no quorum"),
        ({"executor": ExecutorUnavailable("nobody")}, "The executor does not answer"),
        ({"executor": replace(INFO, kill=KillState(on=True, why="drill", since=NOW))}, "The kill switch is on since 14:32:07"),
        ({"executor": replace(INFO, unknown=1)}, "1 run with an unknown outcome"),
        ({"storages": answer([Storage(name="nfs", node="pve1", type="nfs", status="available", shared=True, used_bytes=91, total_bytes=100)])}, "Storage nfs is 91\u00a0% full"),
        ({"guests": answer([guest(101, "a")], Gap(what="some guests", why="the token may not see all of them", needs="VM.Audit on /vms"))}, "Some of the cluster was not readable"),
    ],
)  # fmt: skip
def test_banners_come_from_real_trouble(changes, title):
    assert title in banners(seen(**changes))


def test_a_fault_is_told_with_what_is_still_shown():
    fault = Unreachable("No endpoint answers.", hint="Look at the network.", correlation="c-12345678")
    block = blocks.top_block(seen(), fault, now=NOW, read_at=NOW - timedelta(seconds=60))
    assert block["banners"][0]["title"] == "The cluster cannot be read"
    assert "as of 14:31:07" in block["banners"][0]["text"]
    assert block["banners"][0]["correlation"] == "c-12345678"
    assert blocks.top_block(None, fault, now=NOW, read_at=None)["state"] == "error"
    assert blocks.top_block(None, None, now=NOW, read_at=None)["state"] == "loading"


def bar(view, **more):
    given = {"now": NOW, "read_at": NOW, "fault": None, "principal": "operator", "can_confirm": True, "refresh_s": 10.0} | more
    return blocks.bar_block(view, **given)


def test_live_stale_and_not_reachable():
    assert bar(seen())["live"]["text"] == "Live, 14:32:07\u00a0UTC"
    assert bar(seen(), read_at=NOW - timedelta(seconds=31))["live"]["tone"] == "stale"
    assert bar(None, read_at=None)["live"]["text"] == "Reading"
    assert bar(None, read_at=None, fault=Unreachable("x"))["live"]["text"] == "Not reachable"


def test_actions_are_allowed_only_where_they_are():
    assert bar(seen())["actions"]["text"] == "Actions allowed"
    assert bar(seen(), can_confirm=False)["actions"]["text"] == "Look only"
    assert bar(seen(executor=ExecutorUnavailable("x")))["actions"]["text"] == "No executor"
    assert bar(seen(executor=replace(INFO, kill=KillState(on=True))))["actions"]["text"] == "Kill switch on"
    assert bar(None)["actions"]["text"] == "Executor not asked yet"


@pytest.mark.parametrize(("mem", "tone"), [(0.5, "ok"), (0.86, "warn"), (0.96, "error")])
def test_a_meter_is_grey_until_a_limit_is_crossed(mem, tone):
    item = blocks.nodes_block(seen(nodes=answer([node("pve1", mem=mem)]), cpu_hour={"pve1": (0.1, None, 0.2)}), None)["items"][0]
    assert item["tone"] == tone
    assert item["mem"]["tone"] == ("" if tone == "ok" else tone)
    assert item["spark"] == [0.1, None, 0.2]
    assert item["guests"] == "1 guest"


def test_a_node_that_is_away_is_unknown_not_zero():
    item = blocks.nodes_block(seen(nodes=answer([Node(name="pve9", status="unknown")])), None)["items"][0]
    assert (item["tone"], item["word"]) == ("unknown", "unknown")
    assert "Nothing newer is known." in item["note"]


def test_a_local_storage_shows_its_fullest_node():
    rows = blocks.storage_rows(seen(storages=answer([
        Storage(name="local", node="pve1", type="dir", status="available", used_bytes=10, total_bytes=100), Storage(name="local", node="pve2", type="dir", status="available", used_bytes=85, total_bytes=100),
        Storage(name="gone", node="pve1", type="nfs", shared=True, status="unknown"),
    ])))  # fmt: skip
    assert rows[0]["type"] == "dir, 2 nodes, fullest pve2"
    assert rows[0]["used"]["tone"] == "warn"
    assert rows[1]["capacity"] == "not known"
    assert rows[1]["glyph"] == "unknown"


@pytest.mark.parametrize("make", [blocks.nodes_block, blocks.storage_block])
def test_nothing_is_said_in_words(make):
    assert make(None, None)["state"] == "loading"
    failed = make(None, Forbidden("no", hint="Ask.", correlation="c-1"))
    assert failed["state"] == "error"
    assert failed["title"].startswith("Cannot read")
    empty = make(seen(nodes=answer([]), storages=answer([])), None)
    assert empty["state"] == "empty"
    assert empty["title"]


MANY = answer(
    [
        guest(
            100 + number,
            f"g-{number}",
            f"pve{number % 3}",
            status="running" if number % 2 else "stopped",
            tags=("prod",) if number % 5 == 0 else (),
        )
        for number in range(60)
    ]
)


def test_guests_are_paged_and_searched_on_the_server():
    first = lists.guests_block(seen(guests=MANY), None, {})
    assert (first["found"], first["pages"], len(first["rows"])) == (60, 3, 25)
    assert first["counts"] == {"all": 60, "running": 30, "stopped": 30, "other": 0}
    last = lists.guests_block(seen(guests=MANY), None, {"page": 99})
    assert (last["page"], len(last["rows"])) == (2, 10)
    found = lists.guests_block(seen(guests=MANY), None, {"q": "PROD pve0", "state": "running"})
    assert {row["node"] for row in found["rows"]} == {"pve0"}
    none = lists.guests_block(seen(guests=MANY), None, {"q": "nowhere"})
    assert (none["state"], none["title"]) == ("no_match", "None of 60 guests match")
    assert lists.guests_block(seen(guests=answer([])), None, {})["state"] == "empty"
    assert lists.guests_block(None, None, {})["state"] == "loading"


@pytest.mark.parametrize(
    "query", [{"page": "x"}, {"page": -3}, {"state": "<b>"}, {"sort": "__class__"}, {"q": None}, {"q": ["a"]}, {"junk": 1}]
)
def test_a_strange_query_is_answered_like_none(query):
    block = lists.guests_block(seen(guests=MANY), None, query)
    assert block["page"] == 0
    assert json.dumps(block)


@pytest.mark.parametrize("sort", ["vmid", "name", "node", "status", "cpu", "mem"])
def test_every_sort_works_with_missing_values(sort):
    rows = answer([guest(101, None, cpu_fraction=None, mem_bytes=None, maxmem_bytes=None), guest(100, "a")])
    assert len(lists.guests_block(seen(guests=rows), None, {"sort": sort})["rows"]) == 2


def test_failed_tasks_and_missing_backups():
    backups = answer([Backup(volid="v", storage="s", vmid=101, kind="qemu", created=NOW - timedelta(days=9), size_bytes=1)])
    work = lists.work_block(seen(failed=answer([task()]), backups=backups), None, NOW)
    assert work["failed"]["rows"][0]["what"] == "qmigrate 101 web-1"
    assert work["failed"]["rows"][0]["why"] == "migration aborted"
    assert [(row["guest"], row["last"]) for row in work["backups"]["rows"]] == [("102 db-1", "never"), ("101 web-1", "9\u00a0d ago")]


def test_a_partial_list_of_backups_never_says_never():
    gap = Gap(what="backups in pbs", why="the token may not see all of them", needs="Datastore.AllocateSpace")
    work = lists.work_block(seen(backups=answer([], gap)), None, NOW)["backups"]
    assert work["partial"] is True
    assert {row["last"] for row in work["rows"]} == {"none seen"}
    assert "needs Datastore.AllocateSpace" in work["sub"]


def test_no_failed_task_and_fresh_backups_are_told():
    fresh = answer(
        [
            Backup(volid=str(vmid), storage="s", vmid=vmid, kind="qemu", created=NOW - timedelta(hours=3), size_bytes=1)
            for vmid in (101, 102)
        ]
    )
    work = lists.work_block(seen(backups=fresh), None, NOW)
    assert work["failed"]["title"] == "No task failed"
    assert work["backups"]["title"] == "2 backups, every guest has one of the last 7 d"
    broken = lists.work_block(seen(failed=Forbidden("no"), backups=Unreachable("gone")), None, NOW)
    assert broken["failed"]["state"] == broken["backups"]["state"] == "error"
    assert lists.work_block(None, None, NOW)["failed"]["state"] == "loading"


def test_the_feed_mixes_news_and_tasks_newest_first():
    events = [Event(seq=1, at=NOW - timedelta(minutes=1), kind="proposal.waiting", proposal_id="p-1", actor="anna", text="Migrate {x}"),
              Event(seq=2, at=NOW, kind="step.checked", proposal_id="p-1"), Event(seq=3, at=NOW, kind="run.ended", proposal_id="p-1", text="done")]  # fmt: skip
    block = lists.feed_block(seen(tasks=answer([task("done", "OK", at=NOW - timedelta(days=2))])), events, NOW)
    assert [(item["who"] + item["text"], item["day"]) for item in block["items"]] == [
        ("p-1 ended: done", ""), ("anna asks: Migrate {x}", ""), ("qmigrate 101 web-1 on pve1", "2026-11-19"),
    ]  # fmt: skip
    assert block["items"][1]["sub"] == "p-1, waiting for approval"
    decided = [*events, Event(seq=4, at=NOW, kind="proposal.denied", proposal_id="p-1", actor="jonas")]
    assert [item["sub"] for item in lists.feed_block(seen(), decided, NOW)["items"] if "asks" in item["text"]] == ["p-1"]
    assert lists.feed_block(None, [], NOW)["state"] == "loading"
    assert lists.feed_block(seen(), [], NOW)["state"] == "empty"


def test_navigation_tells_how_the_connections_are():
    links = {one["name"]: one["text"] for one in blocks.nav_block(seen(), waiting=2)["links"]}
    assert links == {"Proxmox VE": "2 of 2", "Executor": "idle"}
    assert blocks.nav_block(seen(executor=ExecutorUnavailable("x")), waiting=0)["links"][1]["text"] == "not running"
    assert blocks.nav_block(None, waiting=0)["links"][0]["text"] == "…"
