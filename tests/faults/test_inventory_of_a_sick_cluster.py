"""Looking at a cluster while something is wrong: what can be read is read, the rest is named, and the next look reads it."""

import json
import threading

import pytest
import requests

from pveops.base.errors import ApiError, AuthFailed
from pveops.base.secret import Secret
from pveops.clients.cluster.crowd import Ask, Crowd
from pveops.clients.cluster.wire import Endpoint
from pveops.testing.ports import free_port
from pveops.testing.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
GUESTS = 30


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    running = Stack(tmp_path_factory.mktemp("sick"), guests=GUESTS, nodes=3, speed=1.0, profile={"timeout_s": 5.0})
    running.start_sim()
    yield running
    running.close()


@pytest.fixture
def ops(stack, tmp_path):
    """With an inventory of its own."""
    (stack.home.root / "inventory.db").unlink(missing_ok=True)
    made = stack.ops()
    yield made
    made.close()
    for name in ("", "-wal", "-shm"):
        (stack.home.root / f"inventory.db{name}").unlink(missing_ok=True)


def gaps(frame):
    return {gap["what"]: gap["why"] for gap in frame.attrs["gaps"]}


def table(frame):
    return frame.set_index("what")


def test_a_storage_that_hangs_holds_nothing_else_and_is_read_when_it_is_back(ops, door):
    door.add("storage-hanging", {"storage": "pbs-01", "wait_s": 600})
    looked = table(ops.sync("all", deadline_s=4))
    assert not looked.attrs["complete"]
    assert list(gaps(looked)) == ["backups on pbs-01 on pve1"]
    assert looked.loc["config", "read"] == looked.loc["snapshots", "read"] == GUESTS
    assert looked.loc["disks", "read"] == 3
    assert looked.loc["backups", ["read", "missed"]].tolist() == [looked.loc["backups", "known"] - 1, 1]
    kept = ops.as_of(what="backups")
    assert not kept.attrs["complete"]
    assert set(kept["storage"]) == {"local"} or kept.empty
    door.clear("all")
    again = table(ops.sync("all"))
    assert again.attrs["complete"], gaps(again)
    assert again.loc["backups", "read"] >= 1
    assert "pbs-01" in set(ops.as_of(what="backups")["storage"])
    assert ops.looks()["complete"].tolist() == [True, False]


def test_a_node_that_just_died_is_given_up_after_two_requests_and_the_others_are_read(ops, door, stack):
    here = ops.guests().groupby("node").size()
    before = len(stack.requests())
    door.add("node-down", {"node": "pve2"})
    looked = table(ops.sync("config"))
    asked = [row for row in stack.requests()[before:] if row["path"].startswith("/nodes/pve2/")]
    assert len(asked) <= 3
    assert looked.loc["config", "read"] == GUESTS - here["pve2"]
    assert looked.loc["config", "missed"] == here["pve2"]
    assert "config on pve2" in " ".join(gaps(looked))
    door.advance(30)
    later = ops.sync("config")
    assert gaps(later)[f"config of {here['pve2']} guests on pve2"] == "the node is offline"
    assert gaps(ops.as_of())["state of the guests on pve2"]
    door.clear("all")
    door.advance(200)
    back = table(ops.sync("config"))
    assert back.attrs["complete"], gaps(back)
    assert ops.as_of(what="config")["vmid"].nunique() == GUESTS
    status = ops.diff("1h", what=("node", "guest", "storage"))
    assert set(status["field"]) == {"status"}, "what is not known does not change"
    assert set(status["node"]) == {"pve2"}
    assert [(row.before, row.after) for row in status[status["what"] == "node"].itertuples()] == [
        ("online", "offline"),
        ("offline", "online"),
    ]


def test_a_burst_of_503_slows_the_look_down_and_ends_nothing(ops, door, stack):
    door.add("api-errors", {"node": "pve1", "status": "503", "fraction": 0.25, "path": "/nodes/[^/]+/(qemu|lxc)"})
    looked = table(ops.sync("config", deadline_s=30))
    assert looked.loc["config", "read"] + looked.loc["config", "missed"] == GUESTS
    assert looked.loc["config", "read"] > 0
    assert all("503" in why for why in gaps(looked).values())
    door.clear("all")
    before = len(stack.requests())
    again = table(ops.sync("config"))
    assert again.attrs["complete"]
    asked = [row for row in stack.requests()[before:] if row["path"].endswith("/config")]
    assert len(asked) <= looked.loc["config", "missed"] + 2, "only what is due is read again, and whose turn came"
    assert ops.as_of(what="config")["vmid"].nunique() == GUESTS


def test_when_even_the_lists_fail_nothing_is_lost_and_the_inventory_knows_it_was_blind(ops, door):
    ops.sync("config")
    door.add("api-errors", {"node": "pve1", "status": "503", "fraction": 1.0})
    with pytest.raises(ApiError, match="too much to do"):
        ops.sync("config", deadline_s=1)
    assert gaps(ops.as_of())["everything"]
    assert len(ops.as_of()) == GUESTS
    door.clear("all")
    assert ops.sync("config").attrs["complete"]
    assert ops.as_of().attrs["complete"]


def test_guests_that_are_hidden_from_the_token_do_not_count_as_gone(ops, stack):
    with requests.Session() as session:
        session.trust_env = False
        session.verify = stack.info["ca"]
        session.headers["Authorization"] = f"PVEAPIToken={stack.info['tokens']['admin']}"
        url = f"{stack.info['url']}/api2/json/access/acl"
        whom = stack.info["tokens"]["reader"].partition("=")[0]
        mine = [row for row in session.get(url, timeout=10).json()["data"] if row["ugid"] in (whom, whom.partition("!")[0])]

        def set_rights(rows, **more):
            for row in rows:
                who = {"tokens" if row["type"] == "token" else "users": row["ugid"]}
                answer = session.put(url, data={"path": row["path"], "roles": row["roleid"], **who, **more}, timeout=10)
                assert answer.status_code == 200, answer.text

        ops.sync("none")
        some = [row | {"path": "/vms/101"} for row in mine if row["path"] == "/"]
        try:
            set_rights(mine, delete=1)
            set_rights(some)
            looked = table(ops.sync("none"))
            assert looked.loc["guests", "read"] == 1
            told = gaps(looked)
            assert told[f"{GUESTS - 1} guests that were there before"] == "they are gone, or hidden from the token"
            assert len(ops.as_of()) == GUESTS
            assert not ops.as_of().attrs["complete"]
            assert not (ops.diff("1h")["change"] == "gone").any()
        finally:
            set_rights(some, delete=1)
            set_rights(mine)
    assert ops.sync("none").attrs["complete"]


def when_some_were_read(stack, act):
    """Do something once a few details were asked for."""
    before = len(stack.requests())

    def watch():
        while sum(row["path"].endswith("/config") for row in stack.requests()[before:]) < 4 and not over.wait(0.01):
            pass
        act()

    over = threading.Event()
    thread = threading.Thread(target=watch)
    thread.start()
    return thread, over


def test_a_token_that_ends_in_the_middle_leaves_a_partial_look_that_the_next_one_fills(ops, door, stack):
    door.add("slow-api", {"node": "pve1", "delay_ms": 120})
    token = stack.info["tokens"]["reader"].partition("=")[0]
    thread, over = when_some_were_read(stack, lambda: door.add("token-expired", {"token": token}))
    looked = table(ops.sync("config"))
    over.set()
    thread.join()
    assert 0 < looked.loc["config", "read"] < GUESTS
    assert looked.loc["config", "read"] + looked.loc["config", "missed"] == GUESTS
    assert any("401" in why for why in gaps(looked).values())
    with pytest.raises(AuthFailed):
        ops.sync("config")
    door.clear("all")
    again = table(ops.sync("config"))
    assert again.attrs["complete"]
    assert ops.as_of(what="config")["vmid"].nunique() == GUESTS


def test_a_token_that_was_renewed_in_the_middle_is_read_again_and_nothing_is_missing(ops, door, stack):
    door.add("slow-api", {"node": "pve1", "delay_ms": 120})
    file = stack.home.root / "sim-read.token"
    old, new = file.read_text(), stack.info["tokens"]["admin"]

    def renewed():
        file.write_text(new)
        door.add("token-expired", {"token": old.strip().partition("=")[0]})

    thread, over = when_some_were_read(stack, renewed)
    try:
        looked = table(ops.sync("config"))
        over.set()
        thread.join()
        assert looked.attrs["complete"], gaps(looked)
        assert looked.loc["config", "read"] == GUESTS
        assert ops.sync("config").attrs["complete"], "the lists use the new one too"
    finally:
        file.write_text(old)


def test_a_silent_address_is_left_for_the_next_one(stack):
    live = Endpoint(stack.info["url"], stack.info["fingerprint"])
    dead = Endpoint(f"https://127.0.0.1:{free_port()}", stack.info["fingerprint"])
    crowd = Crowd([dead, live], lambda: Secret(stack.info["tokens"]["reader"]))
    asks = [Ask(number, f"/nodes/pve{number % 3 + 1}/disks/list", f"pve{number % 3 + 1}") for number in range(9)]
    got = [one for batch in crowd.each(asks, deadline_s=30) for one in batch]
    assert sorted(one.ask.key for one in got if one.error is None) == list(range(9))
    assert crowd.sent < 9 + 4, "the dead one is not asked again and again"
    crowd.close()


def test_a_strangers_certificate_gets_no_token(stack):
    wrong = Endpoint(stack.info["url"], "00" * 32)
    crowd = Crowd([wrong], lambda: Secret(stack.info["tokens"]["reader"]))
    before = len(stack.requests())
    got = [one for batch in crowd.each([Ask(1, "/version", "x"), Ask(2, "/version", "y")], deadline_s=10) for one in batch]
    assert [type(one.error).__name__ for one in got] == ["CertificateMismatch"] * 2
    assert len(stack.requests()) == before
    crowd.close()


def test_the_background_keeps_the_budget_at_every_node_and_gets_through_in_the_end(ops, stack):
    """Everything is due at once: the cluster's own log tells how many requests each node saw, by the node in the path."""
    ops.sync(("config", "snapshots"))
    ops.close()
    store = ops._records.store()
    from pveops.model.inventory import Look

    due = {(kind, str(vmid)) for vmid in ops.guests()["vmid"] for kind in ("config", "snapshots")}
    store.noticed(Look(cluster=ops.name, first_ms=1, last_ms=1, looks=1, requests=0, changes=0), due=due)
    ops.close()
    before = len(stack.requests())
    with ops.sync_every(5.0, ("config", "snapshots")) as background:
        while background.looks < 3:
            background.wait(0.1)
        assert background.error is None
    rows = stack.requests()[before:]
    seen = {}
    for row in rows:
        node = row["path"].split("/")[2] if row["path"].startswith("/nodes/") else ""
        seen.setdefault(node, []).append(row["t"])
    budget = 60 - 24 - 1
    counts = {node: len(times) for node, times in seen.items() if node}
    assert counts, "something was read"
    assert max(counts.values()) < 2 * GUESTS / 3, "not all at once"
    spans = {node: json.dumps(times[:1] + times[-1:]) for node, times in seen.items()}
    assert all(count <= budget for count in counts.values()), spans
    assert len(seen[""]) <= 3 * background.looks
    assert any("35 requests a minute" in look.missing for look in ops.looks().itertuples() if isinstance(look.missing, str))
