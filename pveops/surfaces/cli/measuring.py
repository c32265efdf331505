"""``pveops up`` measures: prometheus-pve-exporter asks the cluster, the Prometheus of the machine keeps it. Both on loopback, both optional."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pveops.app.processes import Child
from pveops.app.setup import add_profile
from pveops.app.simulated import PROFILE, read_info
from pveops.base.files import write_whole
from pveops.surfaces.cli.services import child_env, http_ok, pick_port

if TYPE_CHECKING:
    from pveops.settings.home import Home
    from pveops.settings.profile import Target
    from pveops.surfaces.cli.running import Running

_SCRAPE_S = 15
_KEPT = ("--storage.tsdb.retention.time=90d", "--storage.tsdb.retention.size=2GB")
_EXPORTER = "from pve_exporter.cli import main; main()"


def start_measuring(running: Running, home: Home, target: Target, *, pages_port: int) -> None:
    """Start exporter and Prometheus, unless the profile names a Prometheus or something is missing; people are told which.

    Raises:
        ConfigError: one of them does not start; with what it said.
    """
    why_not = _why_not(target)
    if why_not:
        running.told["Measurements"] = why_not
        return
    folder = home.root / "metrics"
    folder.mkdir(mode=0o700, exist_ok=True)
    port = pick_port(0, 9221)
    exporter = Child("The exporter", [
        sys.executable, "-c", _EXPORTER, "--config.file", str(_token_file(folder, target)), "--web.listen-address", f"127.0.0.1:{port}",
    ], env=child_env(home, None), log=home.root / "logs" / "exporter.out")  # fmt: skip
    running.children["exporter"] = exporter.start()
    url = _start_prometheus(running, home, folder, _jobs(home, target, port, pages_port))
    exporter.wait_ready(lambda: http_ok(f"http://127.0.0.1:{port}/"), seconds=30)
    running.told["Measurements"] = f"Prometheus {url} (every {_SCRAPE_S} s, kept 90 days or 2 GB)"
    running.env["PVEOPS_PROMETHEUS_URL"] = url
    if target.name == PROFILE:
        add_profile(home, PROFILE, {**_as_written(target), "prometheus_url": url}, default=True)


def _start_prometheus(running: Running, home: Home, folder: Path, jobs: list[dict[str, Any]]) -> str:
    port = pick_port(0, 9090)
    config = {"global": {"scrape_interval": f"{_SCRAPE_S}s"}, "scrape_configs": jobs}
    write_whole(folder / "prometheus.yml", json.dumps(config, indent=1).encode())  # JSON is YAML
    command = [
        shutil.which("prometheus") or "prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn", *_KEPT,
    ]  # fmt: skip
    child = Child("Prometheus", command, env=child_env(home, None), log=home.root / "logs" / "prometheus.out", cwd=folder)
    running.children["prometheus"] = child.start()
    url = f"http://127.0.0.1:{port}"
    child.wait_ready(lambda: http_ok(f"{url}/-/ready"), seconds=60)
    return url


def _why_not(target: Target) -> str:
    if target.prometheus_url:
        return f"Prometheus {target.prometheus_url} (of the profile)"
    if shutil.which("prometheus") is None:
        return "Proxmox VE's RRD; for history and PromQL: apt install prometheus"
    if importlib.util.find_spec("pve_exporter") is None:
        return "Proxmox VE's RRD; for history and PromQL: pip install 'pveops[monitor]'"
    if target.profile.fingerprints:
        return "Proxmox VE's RRD; the exporter cannot pin a certificate: give the profile a ca for history and PromQL"
    return ""


def _token_file(folder: Path, target: Target) -> Path:
    """What the exporter reads; private, as the token in it is."""
    who, _, value = target.read_token().reveal().partition("=")
    user, _, name = who.partition("!")
    file = folder / "pve.yml"
    told = {"default": {"user": user, "token_name": name, "token_value": value, "verify_ssl": str(target.ca) if target.ca else True}}
    write_whole(file, json.dumps(told).encode())
    return file


def _jobs(home: Home, target: Target, exporter_port: int, pages_port: int) -> list[dict[str, Any]]:
    """What is scraped: the cluster through the exporter, pveops' own cost, and nodes of a simulated cluster."""
    asked = target.profile.urls[0].removeprefix("https://")
    jobs: list[dict[str, Any]] = [
        {
            "job_name": "pve", "metrics_path": "/pve", "params": {"target": [asked], "cluster": ["1"], "node": ["0"]},
            "static_configs": [{"targets": [f"127.0.0.1:{exporter_port}"], "labels": {"cluster": target.name}}],
        }
    ]  # fmt: skip
    if pages_port:
        token = {"type": "Bearer", "credentials_file": str(home.root / "page.token")}
        jobs.append({"job_name": "pveops", "authorization": token, "static_configs": [{"targets": [f"127.0.0.1:{pages_port}"]}]})
    nodes = (read_info(home.root / "sim" / "info.json") or {}).get("metrics") if target.name == PROFILE else None
    if nodes:
        relabel = {"source_labels": ["job"], "regex": "pve", "action": "drop"}
        jobs.append({"job_name": "node", "http_sd_configs": [{"url": f"{nodes}/sd"}], "relabel_configs": [relabel]})
    return jobs


def _as_written(target: Target) -> Mapping[str, Any]:
    return {
        key: list(value) if isinstance(value, tuple) else value for key, value in target.profile.model_dump(exclude_defaults=True).items()
    }
