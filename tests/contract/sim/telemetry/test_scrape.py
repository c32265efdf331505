"""Scraping a simulated cluster: a real Prometheus, and the real exporter beside ours."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).resolve().parents[4]
pytestmark = pytest.mark.slow


def page(sim, path):
    return requests.get(f"{sim.info['metrics']}{path}", timeout=30)


def flat(text):
    families = text_string_to_metric_families(text)
    return {(one.name, tuple(sorted(one.labels.items()))): (family.type, one.value) for family in families for one in family.samples}


@pytest.fixture(scope="module")
def scraped(start_sim, tmp_path_factory):
    """A cluster in which hardly any time passes."""
    running = start_sim(tmp_path_factory.mktemp("scraped"), "--metrics-port", "0", "--speed", "0.001", "--ha-guests", "3")
    yield running
    running.stop()


def test_the_cluster_page_is_what_the_real_exporter_makes_of_the_api(scraped):
    from pve_exporter.collector import CollectorsOptions, collect_pve

    name, secret = scraped.info["tokens"]["admin"].split("=")
    user, token = name.split("!")
    access = {"user": user, "token_name": token, "token_value": secret, "verify_ssl": scraped.info["ca"]}
    everything = CollectorsOptions(*[True] * len(CollectorsOptions._fields))
    theirs = flat(collect_pve(access, scraped.info["url"].removeprefix("https://"), True, True, everything).decode())
    ours = flat(page(scraped, "/pve").text)
    assert len(theirs) > 1500
    assert ours.keys() == theirs.keys()
    assert {key: (ours[key], theirs[key]) for key in theirs if ours[key] != theirs[key]} == {}


def test_each_page_has_its_part(scraped):
    cluster, alone = flat(page(scraped, "/pve").text), flat(page(scraped, "/node/pve2/metrics").text)
    whole = flat(page(scraped, "/metrics").text)
    assert {name for name, _ in page_parts(scraped, "/pve?node=0")} < {name for name, _ in cluster}
    assert cluster.keys() <= whole.keys()
    for (name, labels), value in alone.items():
        assert whole[name, tuple(sorted((*labels, ("instance", "pve2:9100"))))][0] == value[0]
    assert page(scraped, "/node/pve9/metrics").status_code == 404
    assert page(scraped, "/").status_code == 404


def page_parts(sim, path):
    return flat(page(sim, path).text)


def test_a_real_prometheus_finds_and_reads_all_nodes_and_sees_one_go(start_sim, tmp_path, start_prometheus):
    (tmp_path / "sim").mkdir()
    sim = start_sim(tmp_path / "sim", "--metrics-port", "0")
    try:
        host = sim.info["metrics"].removeprefix("http://")
        jobs = [{"job_name": "sim", "http_sd_configs": [{"url": f"http://{host}/sd"}], "honor_labels": True}]
        server = start_prometheus({"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": jobs})
        until = time.monotonic() + 30
        while len(server.query("up == 1")) < 4 and time.monotonic() < until:
            time.sleep(0.2)
        assert {row["metric"]["instance"] for row in server.query("up == 1")} == {"simulated", "pve1:9100", "pve2:9100", "pve3:9100"}
        guests = {row["metric"]["name"] for row in server.query("pve_guest_info")}
        assert guests == {row["name"] for row in sim.data("GET", "/cluster/resources", type="vm")}
        drift_s = server.value('node_time_seconds{instance="pve1:9100"} - timestamp(node_time_seconds{instance="pve1:9100"})')
        assert abs(drift_s) < 1.5
        sim.data("POST", "/nodes/pve3/status", command="shutdown")
        sim.advance(120)
        until = time.monotonic() + 20
        while not server.query('up{instance="pve3:9100"} + on() pve_up{id="node/pve3"} == 0') and time.monotonic() < until:
            time.sleep(0.2)
        assert server.value('up{instance="pve3:9100"}') == 0
        assert server.value('up{instance="pve2:9100"}') == 1
        assert server.value('pve_up{id="node/pve3"}') == 0
        with pytest.raises(requests.ConnectionError):
            page(sim, "/node/pve3/metrics")
        assert b'instance="pve3:9100"' not in page(sim, "/metrics").content
    finally:
        sim.stop()


def test_a_port_that_is_taken_is_a_clear_error(scraped, tmp_path):
    port = scraped.info["metrics"].rpartition(":")[2]
    command = [sys.executable, "-m", "pveops.sim", "serve", "--port", "0", "--info", str(tmp_path / "i.json"), "--metrics-port", port]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 3
    assert (
        ended.stderr
        == f"Port {port} on 127.0.0.1 is taken. Stop what listens there, or choose another with --metrics-port (0 takes any free one).\n"
    )
    assert not (tmp_path / "i.json").exists()


def test_the_info_file_says_where(scraped):
    found = json.loads((scraped.request_log.parent / "info.json").read_text())
    assert found["metrics"].startswith("http://127.0.0.1:")
    assert requests.get(f"{found['metrics']}/sd", timeout=10).json()[0]["labels"]["__metrics_path__"] == "/pve"
