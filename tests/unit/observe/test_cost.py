"""Counting what a process costs, and what others read of it."""

import json
import os
import threading

import pytest
from typer.testing import CliRunner

from pveops.app.cost import cost_frame, exposition, kept_bytes, processes, total_per_minute
from pveops.observe.cost import Cost
from pveops.settings.home import Home
from pveops.surfaces.cli.main import app


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home").make()


def spend(cost, *paths):
    for path in paths:
        cost.request("https://pve1:8006", path, answered_bytes=100)


def test_requests_are_counted_by_node(home):
    cost = Cost()
    cost.keep(home.costs, "lab")
    spend(cost, "/nodes/pve1/qemu/101/config", "/nodes/pve1/status", "/nodes/pve2/status", "/cluster/resources")
    cost.request("https://pve1:8006", "/version", answered_bytes=0, failed=True)
    cost.cache("facts", hit=True)
    cost.cache("facts", hit=False)
    cost._write(now=True)
    (found,) = processes(home)
    assert (found.role, found.pid, found.running) == ("lab", os.getpid(), True)
    assert (found.requests, found.failed, found.answered_bytes) == (5, 1, 400)
    assert found.per_minute == {"pve1": 2.0, "pve2": 1.0, "": 2.0}
    assert found.caches == {"facts": (1, 1)}
    assert found.rss_bytes > 1_000_000
    assert total_per_minute([found, found])["pve1"] == 4.0
    frame = cost_frame([found])
    assert frame["requests_per_min"].tolist() == [5.0]
    assert frame["cache_hit_fraction"].tolist() == [0.5]


def test_the_table_shows_shares_in_percent_and_no_nan(home, monkeypatch):
    cost = Cost()
    cost.keep(home.costs, "quiet")
    spend(cost, "/nodes/pve1/status")
    cost._write(now=True)
    (file,) = home.costs.iterdir()
    file.rename(file.with_stem(f"other-{file.stem}"))
    for hit in (True, True, True, False):
        cost.cache("facts", hit=hit)
    cost._write(now=True)
    monkeypatch.setenv("PVEOPS_HOME", str(home.root))
    shown = CliRunner().invoke(app, ["self"]).stdout.replace("\xa0", " ")
    assert shown.count("quiet") == 2
    assert "  75 %  " in shown
    assert "  not known  " in shown
    assert "nan" not in shown.lower()


def test_what_ended_counts_no_more_and_what_is_broken_is_left_out(home):
    cost = Cost()
    cost.keep(home.costs, "cli")
    spend(cost, "/version")
    told = json.loads(next(home.costs.glob("*.json")).read_text())
    (home.costs / "1.json").write_text(json.dumps(told | {"pid": 1, "began_s": 1.0}))  # process 1 runs, and began later than that
    (home.costs / "2.json").write_text("{")
    (home.costs / "3.json").write_text("{}")
    found = {one.pid: one.running for one in processes(home)}
    assert found == {os.getpid(): True, 1: False}


def test_the_rate_is_that_of_the_last_quarter_of_an_hour(home):
    cost = Cost()
    cost.keep(home.costs, "cli")
    spend(cost, *["/version"] * 30)
    told = json.loads(next(home.costs.glob("*.json")).read_text())
    told |= {
        "began_s": told["at_s"] - 3600,
        "minutes": [[int(told["at_s"] // 60) - 20, {"": 900}], [int(told["at_s"] // 60) - 5, {"": 30}]],
    }
    next(home.costs.glob("*.json")).write_text(json.dumps(told))
    (found,) = processes(home)
    assert found.per_minute == {"": pytest.approx(2.0)}


def test_nothing_is_written_where_there_is_no_home(tmp_path):
    cost = Cost()
    cost.keep(Home(tmp_path / "none").costs, "cli")
    spend(cost, "/version")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_ends_the_writing_and_not_the_reading(home):
    (home.root / "run").write_text("a file where the folder should be")
    cost = Cost()
    cost.keep(home.costs, "cli")
    spend(cost, "/version", "/version")
    assert cost.told()["requests"] == [["https://pve1:8006", "", 2]]


def test_many_threads_lose_no_count():
    cost = Cost()
    threads = [threading.Thread(target=spend, args=(cost, *["/version"] * 500)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(cost.requests.values()) == 2000


def test_a_scraper_gets_every_process_that_runs(home):
    cost = Cost()
    cost.keep(home.costs, 'odd "role"')
    spend(cost, "/nodes/pve1/status")
    text = exposition(home)
    assert f'pveops_requests_total{{pid="{os.getpid()}",role="odd \\"role\\""}} 1.0' in text
    assert 'pveops_requests_per_minute{node="pve1"} 1.0' in text
    assert 'pveops_home_bytes{part="run"}' in text
    assert kept_bytes(home)["run"] > 0


def test_long_figures_are_written_more_rarely(home):
    cost = Cost()
    spend(cost, *(f"/nodes/node{number}/status" for number in range(3000)))
    cost.keep(home.costs, "test")
    cost._written_s = -1.0
    spend(cost, "/version")
    (file,) = home.costs.iterdir()
    assert cost._wait_s == file.stat().st_size / 600 > 100
