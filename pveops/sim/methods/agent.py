"""The guest agent: what a virtual machine says about itself."""

from __future__ import annotations

from typing import Any

from pveops.sim.errors import failed
from pveops.sim.methods.table import Call, Table
from pveops.sim.physics.live import live_guest
from pveops.sim.state.config import NET
from pveops.sim.state.guest import Guest

api = Table()

_BOOT_S = 18.0
"""From power on until the agent answers."""

COMMANDS = (
    "exec exec-status file-read file-write fsfreeze-freeze fsfreeze-status fsfreeze-thaw fstrim get-fsinfo get-host-name get-memory-block-info "
    "get-memory-blocks get-osinfo get-time get-timezone get-users get-vcpus info network-get-interfaces ping set-user-password shutdown "
    "suspend-disk suspend-hybrid suspend-ram"
)


def answering_guest(call: Call) -> Guest:
    """The guest, if its agent answers."""
    guest = call.guest("qemu")
    if not guest.agent_enabled:
        raise failed("No QEMU guest agent configured")
    if not guest.running:
        raise failed(f"VM {guest.vmid} is not running")
    stalled = guest.paused or call.cluster.ills.stall_of(guest)
    if call.cluster.bare or stalled or not guest.agent_answers or call.now_s - guest.booted_s < _BOOT_S:
        raise failed("QEMU guest agent is not running")
    return guest


@api.reads("GET /nodes/{node}/qemu/{vmid}/agent")
def commands(call: Call) -> list[dict[str, str]]:
    """The commands of the agent."""
    return [{"name": name} for name in COMMANDS.split()]


@api.reads("POST /nodes/{node}/qemu/{vmid}/agent/ping")
def ping(call: Call) -> dict[str, Any]:
    """Whether the agent answers."""
    answering_guest(call)
    return {"result": {}}


@api.reads("GET /nodes/{node}/qemu/{vmid}/agent/network-get-interfaces")
def interfaces(call: Call) -> dict[str, Any]:
    """The interfaces as the guest sees them."""
    guest = answering_guest(call)
    sample = live_guest(call.world.load, guest, call.now_s)
    loopback = {
        "name": "lo",
        "hardware-address": "00:00:00:00:00:00",
        "ip-addresses": [{"ip-address": "127.0.0.1", "ip-address-type": "ipv4", "prefix": 8}],
    }
    rows: list[dict[str, Any]] = [loopback]
    for number, key in enumerate(guest.keys(NET)):
        mac = str(guest.config[key]).split(",", 1)[0].partition("=")[2]
        address = f"198.18.{guest.vmid // 250 % 250}.{guest.vmid % 250 + 1}"
        rows.append(
            {
                "name": f"eth{number}",
                "hardware-address": mac.lower(),
                "ip-addresses": [{"ip-address": address, "ip-address-type": "ipv4", "prefix": 16}] if number == 0 else [],
                "statistics": {
                    "rx-bytes": sample.netin,
                    "tx-bytes": sample.netout,
                    "rx-errs": 0,
                    "tx-errs": 0,
                    "rx-dropped": 0,
                    "tx-dropped": 0,
                },
            }
        )
    return {"result": rows}


@api.reads("GET /nodes/{node}/qemu/{vmid}/agent/get-host-name")
def host_name(call: Call) -> dict[str, Any]:
    """The name that the guest has itself."""
    return {"result": {"host-name": answering_guest(call).name}}


@api.reads("GET /nodes/{node}/qemu/{vmid}/agent/get-osinfo")
def os_info(call: Call) -> dict[str, Any]:
    """The operating system of the guest."""
    guest = answering_guest(call)
    if str(guest.config.get("ostype", "")).startswith("w"):
        return {"result": {"id": "mswindows", "name": "Microsoft Windows", "pretty-name": "Windows Server 2025", "machine": "x86_64"}}
    facts = {
        "id": "debian",
        "name": "Debian GNU/Linux",
        "pretty-name": "Debian GNU/Linux 13 (trixie)",
        "version": "13 (trixie)",
        "version-id": "13",
    }
    return {
        "result": facts | {"machine": "x86_64", "kernel-release": "6.12.48+deb13-amd64", "kernel-version": "#1 SMP PREEMPT_DYNAMIC Debian"}
    }


@api.reads("GET /nodes/{node}/qemu/{vmid}/agent/get-time")
def clock(call: Call) -> dict[str, Any]:
    """The time of the guest, nanoseconds since the epoch."""
    answering_guest(call)
    return {"result": int(call.now_s * 1_000_000_000)}


@api.reads("GET /nodes/{node}/qemu/{vmid}/agent/get-timezone")
def timezone(call: Call) -> dict[str, Any]:
    """The time zone of the guest."""
    answering_guest(call)
    return {"result": {"zone": "UTC", "offset": 0}}


@api.reads("GET /nodes/{node}/qemu/{vmid}/agent/get-vcpus")
def cpus(call: Call) -> dict[str, Any]:
    """The CPUs of the guest."""
    guest = answering_guest(call)
    return {"result": [{"logical-id": number, "online": True, "can-offline": number > 0} for number in range(guest.cpus)]}


@api.reads("GET /nodes/{node}/qemu/{vmid}/agent/get-fsinfo")
def file_systems(call: Call) -> dict[str, Any]:
    """The file systems of the guest."""
    guest = answering_guest(call)
    index_of_root = guest.maxdisk
    used = int(index_of_root * 0.43)
    return {"result": [{"name": "sda1", "mountpoint": "/", "type": "ext4", "total-bytes": index_of_root, "used-bytes": used, "disk": []}]}
