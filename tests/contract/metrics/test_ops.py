"""``ops.metrics`` over a real Prometheus and over the cluster's own RRD: the same question, and it is said who answered."""

import pytest

from pveops.app.metrics import Metrics
from pveops.app.ops import connect
from pveops.base.clock import SystemClock
from pveops.base.errors import AmbiguousName, ConfigError, InputError, UnknownName
from pveops.model.proposal import Origin
from pveops.testing.stack import Stack

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("metrics"), nodes=2, guests=6, speed=1) as stack:
        yield stack


def metrics_of(stack, url):
    ops = stack.ops()
    target = ops._target.model_copy(update={"env": {**ops._target.env, "PVEOPS_PROMETHEUS_URL": url}})
    return Metrics(target, ops.reader, SystemClock())


def test_without_a_prometheus_the_rrd_answers_and_promql_is_refused(stack):
    metrics = stack.ops().metrics
    assert metrics.backend == "PVE RRD"
    frame = metrics.guest(101).cpu("1h")
    assert list(frame.columns) == ["cpu_fraction"]
    assert len(frame) > 30
    assert "PVE RRD" in frame.attrs["source"]
    assert frame.attrs["why_not_prometheus"] == "no Prometheus is set"
    assert list(metrics.node("pve1").mem("24h").columns) == ["memused_bytes"]
    used = metrics.storage("local-lvm", "pve1").used("7d")
    assert list(used.columns) == ["used_bytes"]
    assert len(used) > 300
    assert metrics.storage("ceph-vm").used("1h")["used_bytes"].notna().any()
    with pytest.raises(AmbiguousName, match="another storage on each node"):
        metrics.storage("local-lvm")
    with pytest.raises(UnknownName, match="no storage called nothing"):
        metrics.storage("nothing")
    for ask in (lambda: metrics.query("up"), lambda: metrics.now("up"), lambda: metrics.raw("up"), metrics.names, metrics.targets):
        with pytest.raises(ConfigError, match=r"knows no PromQL.*PVEOPS_PROMETHEUS_URL"):
            ask()


def test_with_one_it_answers_and_the_rrd_fills_in_by_name(stack, prometheus):
    metrics = metrics_of(stack, prometheus.url)
    frame = metrics.guest(101).cpu("20h")
    assert list(frame.columns) == ["cpu_fraction"]
    assert frame.attrs["source"] == f"Prometheus {prometheus.url}"
    assert frame["cpu_fraction"].notna().sum() > 900
    other = metrics.guest(102).cpu("1h")
    assert "PVE RRD" in other.attrs["source"]
    assert other.attrs["why_not_prometheus"] == "Prometheus has no such series"
    assert metrics.query('cpu{id="qemu/100"}', "20h", step="10min").shape[1] == 1
    assert metrics.raw("cpu", "20h")["id"].nunique() == 12
    assert metrics.now("count(cpu)", at=float(prometheus.end_s))["value"].tolist() == [12.0]
    assert metrics.named("guest.cpu", "20h", guest="qemu/101").attrs["unit"] == "fraction"
    assert "cpu" in metrics.names()
    assert metrics.labels("node") == ("pve0", "pve1", "pve2")
    assert metrics.targets().empty


def test_a_dead_prometheus_is_named_and_the_rrd_answers(stack):
    metrics = metrics_of(stack, "http://127.0.0.1:9")
    frame = metrics.guest(101).cpu("1h")
    assert len(frame) > 30
    assert "127.0.0.1:9 gives no connection" in frame.attrs["why_not_prometheus"]


def test_every_query_of_the_library_is_understood(stack, prometheus):
    metrics = metrics_of(stack, prometheus.url)
    for name in metrics.queries()["name"]:
        subject = {"guest": "qemu/101"} if name.startswith("guest.") else {"node": "pve1"} if name.startswith("node.") else {}
        subject = {"storage": "storage/pve1/local"} if name == "storage.bytes" else subject
        metrics.named(name, "1h", **subject)


def test_bad_questions_are_refused_by_name(stack, prometheus):
    metrics = metrics_of(stack, prometheus.url)
    with pytest.raises(UnknownName, match="no query called nothing"):
        metrics.named("nothing")
    with pytest.raises(InputError, match="needs a guest"):
        metrics.named("guest.cpu")
    with pytest.raises(InputError, match="cannot stand in a query"):
        metrics.named("guest.cpu", guest='x"} or up{a="')
    with pytest.raises(InputError, match="no measurement called heat"):
        metrics.guest(101).get("heat")
    with pytest.raises(InputError, match="is empty"):
        metrics.query("up", "now", "1h")
    with pytest.raises(InputError, match="is no time"):
        metrics.query("up", "whenever")
    with pytest.raises(InputError, match="is not a duration"):
        metrics.query("up", "1h", step="often")


def asked(stack, url):
    return connect(env={**stack.env, "PVEOPS_PROMETHEUS_URL": url}, origin=Origin(surface="test")).ask


def test_answers_take_their_history_from_a_prometheus_and_the_rest_from_the_rrd(stack, prometheus):
    frame = asked(stack, prometheus.url).capacity_forecast("20h")
    told = frame.set_index(["storage", frame["node"].fillna("")])
    mine = told.loc[("local-lvm", "pve1")]
    assert mine["from"] == f"Prometheus {prometheus.url}"
    assert mine["verdict"] == "growing"
    assert mine["growth_bytes_per_day"] == pytest.approx(1440 * 1_000_000, rel=0.05)
    assert told.loc[("local-lvm", "pve2")]["from"] == "PVE RRD"
    assert frame.attrs["complete"] is True
    assert f"Prometheus {prometheus.url}" in frame.attrs["source"]
    disks = asked(stack, prometheus.url).disk_health_trend("20h")
    worst = disks.iloc[0]
    assert (worst["node"], worst["path"], worst["verdict"]) == ("pve2", "/dev/sda", "getting worse")
    assert worst["grew_by"] == pytest.approx(19, abs=2)
    assert "(Prometheus)" in worst["grew"]


def test_a_dead_prometheus_is_a_gap_of_the_answer(stack):
    frame = asked(stack, "http://127.0.0.1:9").capacity_forecast("20h")
    assert set(frame["from"]) == {"PVE RRD"}
    assert frame.attrs["complete"] is False
    assert "127.0.0.1:9 gives no connection" in frame.attrs["gaps"][0]["why"]
    assert frame.attrs["simulated"] is True
    assert frame.attrs["units"]["to_full_days"].startswith("days until")


def test_alerts_that_fired_are_in_the_timeline(stack, prometheus):
    env = {**stack.env, "PVEOPS_PRINCIPAL": "operator", "PVEOPS_PROMETHEUS_URL": prometheus.url}
    ops = connect(env=env, origin=Origin(surface="test"))
    frame = ops.timeline(101, "26h", collect=False)
    alerts = frame[frame["kind"] == "alert"]
    assert [time.timestamp() for time in alerts["time"]] == pytest.approx(
        [prometheus.start_s + point * 60 for point in (1000, 1200)], abs=60
    )
    assert set(alerts["severity"]) == {"crit"}
    assert set(alerts["ref"]) == {"GuestIsBusy"}
    assert "alerts" not in {gap["what"] for gap in frame.attrs["gaps"]}
    node = ops.timeline("pve2", "26h", collect=False)
    assert list(node[node["kind"] == "alert"]["ref"]) == ["DiskSlow"]
    ops.close()
