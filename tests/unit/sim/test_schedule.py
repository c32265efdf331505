"""Scheduled backups: a past that looks lived in, and that nobody can change afterwards."""

START_S = 1_795_262_400.0
DAY_S = 86400


def test_a_fresh_cluster_has_a_past(make_lab):
    lab = make_lab(guests=40)
    verdicts = {}
    for node in lab.cluster.nodes:
        for row in lab.data("GET", f"/nodes/{node}/tasks", limit=500):
            verdicts.setdefault(row["type"], set()).add(
                "ok" if row["status"] == "OK" else "warn" if row["status"].startswith("WARNINGS") else "bad"
            )
    assert verdicts["vzdump"] == {"ok", "warn", "bad"}
    assert {"aptupdate", "vncproxy", "qmstart"} <= set(verdicts)
    backups = lab.data("GET", "/nodes/pve1/storage/pbs-01/content", content="backup", vmid=101)
    assert len(backups) >= 10
    assert all(row["ctime"] < START_S and row["notes"] == "web-1" for row in backups)
    assert lab.data("GET", "/cluster/log")


def test_the_same_seed_and_time_give_the_same_past(make_lab):
    def past(lab):
        return (
            lab.data("GET", "/nodes/pve2/tasks", limit=200),
            lab.data("GET", "/nodes/pve1/storage/pbs-01/content"),
            lab.data("GET", "/cluster/resources"),
        )

    one, other = make_lab(), make_lab()
    other.data("GET", "/cluster/tasks")
    assert past(one) == past(other)


def next_run(lab):
    return min(row["next-run"] for row in lab.data("GET", "/cluster/backup"))


def test_a_guest_is_locked_exactly_while_it_is_backed_up(lab):
    lab.world.advance(next_run(lab) + 2)
    row = next(row for row in lab.data("GET", "/cluster/resources", type="vm") if row["vmid"] == 100)
    assert row["lock"] == "backup"
    assert lab.ask("PUT", "/nodes/pve1/qemu/100/config", description="x").reason == "VM is locked (backup)"
    running = [row for row in lab.data("GET", "/nodes/pve1/tasks", source="active") if row["type"] == "vzdump"]
    assert [row["status"] for row in running] == ["RUNNING"]
    assert lab.data("GET", f"/nodes/pve1/tasks/{running[0]['upid']}/log", limit=0)[0]["t"].startswith("INFO: starting new backup job")
    lab.wait(3600)
    assert "lock" not in lab.data("GET", "/nodes/pve1/qemu/100/status/current")
    assert lab.data("GET", f"/nodes/pve1/tasks/{running[0]['upid']}/status")["status"] == "stopped"


def test_each_night_adds_a_backup_and_takes_an_old_one(lab):
    def times():
        return {row["ctime"] for row in lab.data("GET", "/nodes/pve1/storage/pbs-01/content", vmid=101)}

    before = times()
    lab.wait(DAY_S)
    after = times()
    assert len(after) == len(before)
    assert max(after) > max(before)


def test_changing_a_job_changes_nothing_that_was(lab):
    nightly = next(row for row in lab.data("GET", "/cluster/backup") if row.get("all"))
    before = lab.data("GET", "/nodes/pve1/tasks", typefilter="vzdump", limit=500)
    lab.data("PUT", f"/cluster/backup/{nightly['id']}", schedule="12:30", vmid="100")
    assert lab.data("GET", "/nodes/pve1/tasks", typefilter="vzdump", limit=500) == before
    lab.wait(2 * 3600)
    newest = lab.data("GET", "/nodes/pve1/tasks", typefilter="vzdump", limit=1)[0]
    assert (newest["id"], newest["starttime"]) == ("100", START_S + 1800)
    lab.data("DELETE", f"/cluster/backup/{nightly['id']}")
    lab.wait(2 * DAY_S)
    assert [row["id"] for row in lab.data("GET", "/nodes/pve1/tasks", typefilter="vzdump", since=int(START_S + 7200))] == [""], (
        "only the weekly job"
    )


def test_scheduled_backups_can_be_described_protected_and_deleted(lab):
    volid = lab.data("GET", "/nodes/pve1/storage/pbs-01/content", vmid=101)[-1]["volid"]
    path = f"/nodes/pve1/storage/pbs-01/content/{volid}"
    lab.data("PUT", path, notes="first line\nsecond", protected=1)
    row = next(row for row in lab.data("GET", "/nodes/pve1/storage/pbs-01/content", vmid=101) if row["volid"] == volid)
    assert (row["notes"], row["protected"]) == ("first line", 1)
    assert lab.data("GET", path)["notes"] == "first line\nsecond"
    assert lab.run("DELETE", path).startswith("cannot remove protected volume")
    lab.data("PUT", path, protected=0)
    assert lab.run("DELETE", path) == "OK"
    assert volid not in {row["volid"] for row in lab.data("GET", "/nodes/pve1/storage/pbs-01/content", vmid=101)}
