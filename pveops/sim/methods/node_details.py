"""What a node is made of: disks, network, services, logs, packages, certificates."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pveops.sim.errors import bad_parameter, failed
from pveops.sim.methods.table import Call, Rows, Table
from pveops.sim.physics import hardware
from pveops.sim.state.digest import sha1_of
from pveops.sim.tasks.engine import Body
from pveops.sim.tasks.task import Task

api = Table()

_LOG_SPAN_S = 6 * 3600.0
_LONGEST_LOG_S = 2 * 86400.0
_DEFAULT_LINES = 500
_SERVICES = {
    "chrony": "chrony, an NTP client/server",
    "corosync": "Corosync Cluster Engine",
    "cron": "Regular background program processing daemon",
    "ksmtuned": "Kernel Samepage Merging (KSM) Tuning Daemon",
    "postfix": "Postfix Mail Transport Agent",
    "proxmox-firewall": "Proxmox nftables firewall",
    "pve-cluster": "The Proxmox VE cluster filesystem",
    "pve-firewall": "Proxmox VE firewall",
    "pve-ha-crm": "PVE Cluster HA Resource Manager Daemon",
    "pve-ha-lrm": "PVE Local HA Resource Manager Daemon",
    "pvedaemon": "PVE API Daemon",
    "pveproxy": "PVE API Proxy Server",
    "pvescheduler": "Proxmox VE scheduler",
    "pvestatd": "PVE Status Daemon",
    "qmeventd": "PVE Qemu Event Daemon",
    "spiceproxy": "PVE SPICE Proxy Server",
    "sshd": "OpenBSD Secure Shell server",
    "systemd-journald": "Journal Service",
}


def _disks(call: Call) -> list[hardware.Disk]:
    """Disks, and ZFS volumes that the kernel lists like disks."""
    return [*hardware.disks(call.cluster.seed, call.node), *hardware.volumes_like_disks(call.cluster, call.node)]


@api.reads("GET /nodes/{node}/disks/list")
def disks(call: Call) -> list[dict[str, Any]]:
    """The physical disks."""
    wanted = call.p.get("type")
    return [
        {
            "devpath": disk.path,
            "by_id_link": f"/dev/disk/by-id/{disk.kind}-{disk.model.replace(' ', '_')}_{disk.serial}",
            "model": disk.model,
            "vendor": "unknown",
            "serial": disk.serial,
            "size": disk.size,
            "type": disk.kind,
            "rpm": 0,
            "gpt": 1,
            "mounted": 0,
            "used": disk.used,
            "health": hardware.health(call.cluster.seed, call.node, disk, call.now_s),
            "wearout": hardware.counters(call.cluster.seed, call.node, disk, call.now_s).wearout if disk.real else "N/A",
            "wwn": f"eui.{disk.serial.lower()}",
            "osdid": -1,
            "osdid-list": None,
        }
        for disk in _disks(call)
        if wanted in (None, "unused") and (wanted is None or not disk.used)
    ]


@api.reads("GET /nodes/{node}/disks/smart")
def smart(call: Call) -> dict[str, Any]:
    """The SMART values of a disk."""
    found = next((disk for disk in _disks(call) if disk.path == call.p["disk"]), None)
    if found is None:
        raise failed(f"failed to get device info for '{call.p['disk']}'")
    if not found.real:
        raise failed(f"{found.path}: Unable to detect device type - smartctl exits with 1")
    values = hardware.smart(call.cluster.seed, call.node, found, call.now_s)
    return {"health": values["health"]} if call.p.get("healthonly") else values


@api.reads("GET /nodes/{node}/network")
def network(call: Call) -> list[dict[str, Any]]:
    """The network interfaces; bridges only to those who may audit the node or use the bridge."""
    wanted = call.p.get("type")
    bridges = wanted in ("bridge", "any_bridge", "any_local_bridge", "include_sdn")
    audit = call.may(f"/nodes/{call.p['node']}", "Sys.Audit")
    rows = []
    for name, facts in hardware.interfaces(call.node, call.now_s).items():
        if wanted is not None and facts["type"] != ("bridge" if bridges else wanted):
            continue
        if audit or (facts["type"] == "bridge" and call.may_any(f"/sdn/zones/localnetwork/{name}", "SDN.Use", "SDN.Audit")):
            rows.append({"iface": name, **facts})
    return rows


@api.reads("GET /nodes/{node}/network/{iface}")
def interface(call: Call) -> dict[str, Any]:
    """One network interface."""
    found = hardware.interfaces(call.node, call.now_s).get(call.p["iface"])
    if found is None:
        raise bad_parameter("iface", "interface does not exist")
    return found


def _service_row(call: Call, name: str) -> dict[str, Any]:
    running = name not in call.world.stopped_services.get(call.p["node"], set())
    return {
        "service": name,
        "name": name,
        "desc": _SERVICES[name],
        "state": "running" if running else "dead",
        "active-state": "active" if running else "inactive",
        "unit-state": "enabled",
    }


@api.reads("GET /nodes/{node}/services")
def services(call: Call) -> list[dict[str, Any]]:
    """The services of the node."""
    return [_service_row(call, name) for name in _SERVICES]


@api.reads("GET /nodes/{node}/services/{service}/state")
def service(call: Call) -> dict[str, Any]:
    """The state of one service."""
    name = call.p["service"]
    return _service_row(call, name) if name in _SERVICES else {"service": name, "state": "unknown", "name": None, "desc": None}


def _service_task(call: Call, verb: str, *, runs: bool) -> str:
    name, node = call.p["service"], call.p["node"]
    if name not in _SERVICES:
        raise failed(f"unknown service '{name}'")

    def work(task: Task) -> Body:
        yield 0.8
        stopped = call.world.stopped_services.setdefault(node, set())
        stopped.discard(name) if runs else stopped.add(name)

    return call.fork(f"srv{verb}", name, work)


@api.behaves("POST /nodes/{node}/services/{service}/start")
def start_service(call: Call) -> str:
    """Start a service."""
    return _service_task(call, "start", runs=True)


@api.behaves("POST /nodes/{node}/services/{service}/stop")
def stop_service(call: Call) -> str:
    """Stop a service."""
    return _service_task(call, "stop", runs=False)


@api.behaves("POST /nodes/{node}/services/{service}/restart", "POST /nodes/{node}/services/{service}/reload")
def restart_service(call: Call) -> str:
    """Restart or reload a service."""
    return _service_task(call, call.path.rsplit("/", 1)[1], runs=True)


def _moment(call: Call, name: str, default_s: float) -> float:
    """A moment that a parameter gives as text; 400 when there is no such day."""
    if name not in call.p:
        return default_s
    text = str(call.p[name])
    form = "%Y-%m-%d %H:%M:%S" if text.count(":") == 2 else "%Y-%m-%d %H:%M" if ":" in text else "%Y-%m-%d"
    try:
        return datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()
    except ValueError as err:
        raise bad_parameter(name, "value does not match the regex pattern") from err


@api.reads("GET /nodes/{node}/syslog")
def syslog(call: Call) -> Rows:
    """The system log of the last hours, or of the span that was asked for (two days at most)."""
    until_s = min(_moment(call, "until", call.now_s), call.now_s)
    since_s = max(_moment(call, "since", until_s - _LOG_SPAN_S), until_s - _LONGEST_LOG_S)
    found = call.world.chronicle.lines(call.node, since_s, until_s)
    if "service" in call.p:
        found = [line for line in found if f" {call.p['service']}[" in line]
    if not found:
        return Rows([{"n": 1, "t": "-- No entries --"}], 1)
    start, limit = call.p.get("start", 0), call.p.get("limit", _DEFAULT_LINES)
    shown = found[start : start + limit] if limit else found[start:]
    return Rows([{"n": start + number, "t": line} for number, line in enumerate(shown, 1)], len(found))


@api.reads("GET /nodes/{node}/journal")
def read_journal(call: Call) -> list[str]:
    """The journal: cursor, lines, cursor."""
    until_s = min(float(call.p.get("until", call.now_s)), call.now_s)
    since_s = max(float(call.p.get("since", until_s - _LOG_SPAN_S)), until_s - _LONGEST_LOG_S)
    found = call.world.chronicle.lines(call.node, since_s, until_s)
    last = call.p.get("lastentries")
    if last is not None:
        found = found[-last:] if last else []
    return [f"s=sim;t={int(since_s)}", *found, f"s=sim;t={int(until_s)}"]


@api.reads("GET /nodes/{node}/apt/update")
def updates(call: Call) -> list[dict[str, Any]]:
    """The packages that could be updated."""
    return hardware.updates(call.cluster.seed, call.node)


@api.behaves("POST /nodes/{node}/apt/update")
def refresh_updates(call: Call) -> str:
    """Fetch the package lists."""

    def work(task: Task) -> Body:
        task.say("starting apt-get update")
        yield 3.5
        if not hardware.resolves(call.node):
            task.say("Err:1 http://deb.debian.org/debian trixie InRelease")
            task.say("  Temporary failure resolving 'deb.debian.org'")
            raise failed("command 'apt-get update' failed: exit code 100")
        task.say("Reading package lists...")

    return call.fork("aptupdate", "", work)


@api.reads("GET /nodes/{node}/apt/versions")
def versions(call: Call) -> list[dict[str, Any]]:
    """The versions of the packages that make up Proxmox VE."""
    return hardware.packages(call.node.kernel, call.node.new_kernel)


@api.reads("GET /nodes/{node}/certificates/info")
def certificates(call: Call) -> list[dict[str, Any]]:
    """The certificates of the node; a custom one is shown instead of its own."""
    own, custom = call.world.certificates.get(call.node.name), call.world.custom_certificate
    files = (("pve-ssl.pem", own), ("pveproxy-ssl.pem", custom))
    return [{"filename": name, **facts} for name, facts in files if facts]


@api.reads("GET /nodes/{node}/dns")
def dns(call: Call) -> dict[str, str]:
    """The resolvers."""
    return dict(call.node.dns)


@api.behaves("PUT /nodes/{node}/dns")
def update_dns(call: Call) -> None:
    """Change the resolvers; those that are not named are gone."""
    call.node.dns = {key: str(call.p[key]) for key in ("search", "dns1", "dns2", "dns3") if key in call.p}


@api.reads("GET /nodes/{node}/hosts")
def hosts(call: Call) -> dict[str, str]:
    """The file of known hosts."""
    lines = ["127.0.0.1 localhost", *(f"{node.ip} {node.name}.example.com {node.name}" for node in call.cluster.nodes.values())]
    text = "\n".join(lines) + "\n"
    return {"data": text, "digest": sha1_of(text)}


@api.reads("GET /nodes/{node}/subscription")
def subscription(call: Call) -> dict[str, Any]:
    """There is no subscription."""
    answer: dict[str, Any] = {
        "status": "notfound",
        "message": "There is no subscription key",
        "url": "https://www.proxmox.com/en/proxmox-virtual-environment/pricing",
    }
    return answer | ({"serverid": None} if call.may(f"/nodes/{call.p['node']}", "Sys.Audit") else {})


@api.reads("GET /nodes/{node}/config")
def config(call: Call) -> dict[str, Any]:
    """The options of the node."""
    options = call.node.options
    shown = {key: f"{str(value).rstrip()}\n" if key == "description" else value for key, value in options.items()}
    if "property" in call.p:
        return {key: value for key, value in shown.items() if key == call.p["property"]}
    return {"digest": sha1_of(sorted(options.items())), **shown}


@api.behaves("PUT /nodes/{node}/config")
def update_config(call: Call) -> None:
    """Change the options of the node."""
    options = call.node.options
    if "digest" in call.p and call.p["digest"] != sha1_of(sorted(options.items())):
        raise failed("detected modified configuration - file changed by other user? Try again.")
    for key in str(call.p.get("delete", "")).split(","):
        options.pop(key, None)
    options.update({key: value for key, value in call.p.items() if key not in ("node", "delete", "digest")})
