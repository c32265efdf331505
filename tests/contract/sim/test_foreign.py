"""Programs that nobody here wrote, unmodified, from PyPI: an exporter, Ansible modules and inventory, an MCP server.

They live in an environment of their own, made once and kept outside the checkout (``PVEOPS_FOREIGN`` names another place).
"""

import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from pveops.testing.ports import free_port

HERE = Path(__file__).parent
WANTED = HERE / "foreign.txt"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]


def _install(folder):
    uv = Path(sys.executable).with_name("uv")
    for command in (
        ["venv", "-q", "--python", sys.executable, str(folder)],
        ["pip", "install", "-q", "--python", f"{folder}/bin/python", "-r", str(WANTED)],
    ):
        ran = subprocess.run([str(uv), *command], capture_output=True, text=True, check=False, timeout=240)
        if ran.returncode:
            return ran.stderr.strip().splitlines()[-1:]
    (folder / "complete").touch()
    return []


@pytest.fixture(scope="session")
def foreign():
    """The folder of the programs; who cannot get them skips, by name."""
    stamp = hashlib.sha256(WANTED.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = Path(os.environ.get("PVEOPS_FOREIGN") or Path.home() / ".cache" / "pveops-foreign") / stamp
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        why = [] if (folder / "complete").exists() else _install(folder)
    if why:
        names = ", ".join(re.findall(r"^[\w-]+", WANTED.read_text(), re.MULTILINE))
        pytest.skip(f"{names} cannot be had: {' '.join(why)}")
    return folder / "bin"


@pytest.fixture(scope="module")
def lab(tmp_path_factory, start_sim):
    running = start_sim(tmp_path_factory.mktemp("foreign"), "--speed", "60", "--guests", "15", "--ha-guests", "1")
    running.data("POST", "/cluster/replication", id="101-0", target="pve2", type="local")
    yield running
    running.stop()


def credentials(sim, name="admin"):
    """User, token id and secret."""
    token, secret = sim.info["tokens"][name].split("=")
    return *token.split("!"), secret


def environment(sim, folder, **more):
    """A clean environment that trusts the certificate of the cluster."""
    kept = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(folder), "NO_PROXY": "*", "no_proxy": "*"}
    return kept | {"REQUESTS_CA_BUNDLE": sim.info["ca"], "SSL_CERT_FILE": sim.info["ca"]} | more


COLLECTORS = ["status", "version", "node", "cluster", "resources", "backup-info", "qdevice", "config", "replication", "subscription"]


def test_the_exporter_scrapes_with_all_collectors(foreign, lab, tmp_path):
    user, token, secret = credentials(lab, "reader")
    config = tmp_path / "pve.yml"
    config.write_text(f"default:\n  user: {user}\n  token_name: {token}\n  token_value: {secret}\n  verify_ssl: {lab.info['ca']}\n")
    port = free_port()
    command = [str(foreign / "pve_exporter"), "--config.file", str(config), "--web.listen-address", f"127.0.0.1:{port}"]
    command += [f"--collector.{name}" for name in COLLECTORS]
    with (tmp_path / "log").open("wb") as log:
        exporter = subprocess.Popen(command, env=environment(lab, tmp_path), stderr=log, stdout=log)
    try:
        text = scrape(f"http://127.0.0.1:{port}/pve", {"target": lab.info["url"].removeprefix("https://"), "cluster": 1, "node": 1})
    finally:
        exporter.terminate()
        exporter.wait(timeout=15)
    wanted = {
        'pve_up{id="qemu/101"} 1.0',
        'pve_node_info{id="node/pve1"',
        'pve_cluster_info{id="cluster/simulated",nodes="3",quorate="1"',
        'pve_version_info{release="9.2",repoid="simulated",version="9.2.11+sim"} 1.0',
        'pve_guest_info{id="qemu/101",name="web-1",node="pve1"',
        'storage="ceph-vm"',
        'pve_cpu_usage_ratio{id="qemu/101"}',
        "pve_ha_state{",
        "pve_not_backed_up_total{",
        'pve_onboot_status{id="qemu/101",node="pve1",type="qemu"} 1.0',
        "pve_replication_failed_syncs{",
        'pve_subscription_info{id="node/pve1"',
    }
    assert {name for name in wanted if name not in text} == set()
    sizes = dict(re.findall(r'pve_memory_size_bytes\{id="([^"]+)"\} (\S+)', text))
    rows = {row["id"]: row["maxmem"] for row in lab.data("GET", "/cluster/resources") if row["type"] in ("node", "qemu", "lxc")}
    assert {name: float(size) for name, size in sizes.items() if not name.startswith("/pool/")} == rows


def scrape(url, parameters):
    until = time.monotonic() + 60
    while True:
        try:
            answer = requests.get(url, params=parameters, timeout=60, proxies={"http": ""})
        except requests.ConnectionError:
            assert time.monotonic() < until, "the exporter does not listen"
            time.sleep(0.3)
            continue
        assert answer.status_code == 200, answer.text[-2000:]
        return answer.text


PLAYS = """
- hosts: localhost
  gather_facts: false
  module_defaults:
    group/community.proxmox.proxmox: &api
      api_host: "{{ lookup('env', 'SIM_HOST') }}"
      api_port: "{{ lookup('env', 'SIM_PORT') | int }}"
      api_user: "{{ lookup('env', 'SIM_USER') }}"
      api_token_id: "{{ lookup('env', 'SIM_TOKEN_ID') }}"
      api_token_secret: "{{ lookup('env', 'SIM_TOKEN_SECRET') }}"
      validate_certs: true
  tasks:
"""
MADE = """
    - community.proxmox.proxmox_kvm:
        {node: pve1, vmid: 910, name: made-by-ansible, cores: 2, memory: 1024, scsihw: virtio-scsi-pci, scsi: {scsi0: 'ceph-vm:4'},
         net: {net0: 'virtio,bridge=vmbr0'}, tags: [ansible]}
    - community.proxmox.proxmox_kvm: {vmid: 910, state: started, timeout: 60}
    - community.proxmox.proxmox_snap: {vmid: 910, state: present, snapname: first, timeout: 60}
    - community.proxmox.proxmox_pool: {poolid: from-ansible, comment: x}
    - community.proxmox.proxmox_vm_info: {vmid: 910, config: current}
      register: facts
    - assert:
        that:
          - facts.proxmox_vms[0].status == 'running'
          - facts.proxmox_vms[0].config.memory == '1024'
"""
MOVED = """
    - community.proxmox.proxmox_kvm: {vmid: 910, node: pve2, migrate: true, timeout: 60}
"""
GONE = """
    - community.proxmox.proxmox_snap: {vmid: 910, state: absent, snapname: first, timeout: 60}
    - community.proxmox.proxmox_kvm: {vmid: 910, state: stopped, force: true, timeout: 60}
    - community.proxmox.proxmox_kvm: {vmid: 910, state: absent, timeout: 60}
"""


class Ansible:
    def __init__(self, foreign, lab, folder):
        host, port = lab.info["url"].removeprefix("https://").split(":")
        user, token, secret = credentials(lab)
        self.foreign, self.folder = foreign, folder
        self.env = environment(lab, folder, SIM_HOST=host, SIM_PORT=port, SIM_USER=user, SIM_TOKEN_ID=token, SIM_TOKEN_SECRET=secret)
        self.env |= {"ANSIBLE_HOME": str(folder / "ansible"), "ANSIBLE_LOCALHOST_WARNING": "0", "ANSIBLE_STDOUT_CALLBACK": "minimal"}

    def run(self, name, *arguments):
        command = [str(self.foreign / name), *arguments]
        ran = subprocess.run(command, env=self.env, cwd=self.folder, capture_output=True, text=True, check=False, timeout=200)
        assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-2000:]
        return ran.stdout

    def play(self, tasks):
        """Run some tasks; how each of them ended: ``CHANGED``, ``SUCCESS``."""
        file = self.folder / "play.yml"
        file.write_text(PLAYS + tasks)
        python = f"ansible_python_interpreter={self.foreign / 'python'}"
        output = self.run("ansible-playbook", "-i", "localhost,", "-c", "local", "-e", python, str(file))
        return re.findall(r"^localhost \| (\w+)", output, re.MULTILINE)


def test_ansible_makes_moves_and_destroys_and_a_second_run_changes_nothing(foreign, lab, tmp_path):
    ansible = Ansible(foreign, lab, tmp_path)
    assert ansible.play(MADE) == ["CHANGED"] * 4 + ["SUCCESS"] * 2
    assert ansible.play(MADE) == ["SUCCESS"] * 6
    assert ansible.play(MOVED) == ["CHANGED"]
    assert lab.data("GET", "/nodes/pve2/qemu/910/status/current")["status"] == "running"
    assert [row["name"] for row in lab.data("GET", "/nodes/pve2/qemu/910/snapshot")] == ["first", "current"]
    assert ansible.play(GONE) == ["CHANGED"] * 3
    assert lab.api("GET", "/nodes/pve2/qemu/910/config").status_code == 500


def test_the_inventory_of_ansible_is_the_cluster(foreign, lab, tmp_path):
    ansible = Ansible(foreign, lab, tmp_path)
    user, token, secret = credentials(lab, "reader")
    lines = [
        "plugin: community.proxmox.proxmox",
        f"url: {lab.info['url']}",
        f"user: {user}",
        f"token_id: {token}",
        f"token_secret: {secret}",
    ]
    (tmp_path / "sim.proxmox.yml").write_text("\n".join([*lines, "validate_certs: true", "want_facts: true", ""]))
    found = json.loads(ansible.run("ansible-inventory", "-i", str(tmp_path / "sim.proxmox.yml"), "--list"))
    rows = {row["name"]: row for row in lab.data("GET", "/cluster/resources", type="vm") if not row["template"]}
    facts = found["_meta"]["hostvars"]
    assert rows.keys() <= facts.keys()
    assert {name: facts[name]["proxmox_vmid"] for name in rows} == {name: row["vmid"] for name, row in rows.items()}
    assert "running" in str(facts["web-1"]["proxmox_status"])
    assert "web-1" in found["proxmox_pool_production"]["hosts"]


class Mcp:
    """An MCP server that is talked to by lines of JSON on its standard streams."""

    def __init__(self, command, env):
        self.process = subprocess.Popen(
            [command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, text=True
        )
        self.number = 0

    def tell(self, method, **parameters):
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", "method": method, **parameters}) + "\n")
        self.process.stdin.flush()

    def ask(self, method, **parameters):
        self.number += 1
        self.tell(method, id=self.number, params=parameters)
        while True:
            answer = json.loads(self.process.stdout.readline())
            if answer.get("id") == self.number:
                return answer["result"]

    def tool(self, tool, **arguments):
        result = self.ask("tools/call", name=tool, arguments=arguments)
        assert not result.get("isError"), result
        return json.loads(result["content"][0]["text"])

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(timeout=10)


def test_an_mcp_server_reads_and_acts(foreign, lab, tmp_path):
    user, token, secret = credentials(lab)
    host, port = lab.info["url"].removeprefix("https://").split(":")
    more = {"PROXMOX_HOST": host, "PROXMOX_PORT": port, "PROXMOX_TOKEN_ID": f"{user}!{token}", "PROXMOX_TOKEN_SECRET": secret}
    server = Mcp(str(foreign / "mcp-proxmox"), environment(lab, tmp_path, PROXMOX_VERIFY_SSL="true", **more))
    try:
        server.ask("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo={"name": "test", "version": "1"})
        server.tell("notifications/initialized")
        assert len(server.ask("tools/list")["tools"]) > 30
        assert [row["node"] for row in server.tool("list_nodes")] == ["pve1", "pve2", "pve3"]
        assert {row["vmid"] for row in server.tool("list_vms")} >= {100, 101}
        assert server.tool("get_guest_status", vmid=101)["name"] == "web-1"
        assert server.tool("list_storages")["total"] == 12
        assert "current" in server.tool("get_guest_metrics", vmid=101)
        made = server.tool("create_snapshot", vmid=101, name="by-mcp")
        assert lab.task_end(made["task_id"]) == "OK"
        assert "by-mcp" in json.dumps(server.tool("list_snapshots", vmid=101))
        ran = server.tool("exec_command", vmid=101, command="hostname")
        assert "web-1" in json.dumps(ran)
        moved = server.tool("migrate_guest", vmid=101, target_node="pve2", confirm=True)
        assert lab.task_end(moved["task_id"]) == "OK"
        lab.advance(15)
        assert server.tool("get_guest_status", vmid=101)["node"] == "pve2"
    finally:
        server.close()
