"""Nodes: list, status, time."""

from __future__ import annotations

from typing import Any

from pveops.sim.methods.cluster_views import broadcast, node_row
from pveops.sim.methods.table import Call, Table
from pveops.sim.physics.live import live_node
from pveops.sim.world import REPOSITORY

api = Table()

_FLAGS = "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat sse sse2 ht syscall nx lm svm aes avx avx2"


@api.reads("GET /nodes")
def nodes(call: Call) -> list[dict[str, Any]]:
    """All nodes; figures only where the caller has Sys.Audit."""
    cast = broadcast(call)
    return [
        node_row(call, cast, name, full=call.may(f"/nodes/{name}", "Sys.Audit")) | {"ssl_fingerprint": node.fingerprint or None}
        for name, node in call.cluster.nodes.items()
    ]


@api.reads("GET /nodes/{node}/status")
def status(call: Call) -> dict[str, Any]:
    """Load, memory, root file system and what the machine is."""
    node, now_s = call.node, call.now_s
    live = live_node(call.cluster, call.world.load, node, now_s)
    root = call.world.space.root(node, now_s)
    kernel = f"Linux {node.kernel} #1 SMP PREEMPT_DYNAMIC PMX {node.kernel}"
    swap_used = int(node.swap * live.swap)
    return {
        "uptime": int(now_s - node.boot_s),
        "cpu": live.cpu,
        "wait": live.iowait,
        "idle": 0,
        "loadavg": [f"{value:.2f}" for value in live.loadavg],
        "memory": {"total": node.memory, "used": live.mem, "free": node.memory - live.mem, "available": node.memory - live.mem},
        "swap": {"total": node.swap, "used": swap_used, "free": node.swap - swap_used},
        "rootfs": {"total": root.total, "used": root.used, "free": root.avail, "avail": root.avail},
        "ksm": {"shared": 0},
        "cpuinfo": {
            "cpus": node.cpus,
            "cores": node.sockets * node.cores_per_socket,
            "sockets": node.sockets,
            "model": node.cpu_model,
            "mhz": f"{node.mhz:.3f}",
            "hvm": "1",
            "family": "6",
            "vendor": "GenuineIntel",
            "flags": _FLAGS,
            "user_hz": 100,
        },
        "kversion": kernel,
        "current-kernel": {"sysname": "Linux", "release": node.kernel, "version": kernel.split(" ", 2)[2], "machine": "x86_64"},
        "boot-info": {"mode": "efi", "secureboot": 0},
        "pveversion": f"pve-manager/{call.world.release.version}/{REPOSITORY}",
    }


@api.reads("GET /nodes/{node}/time")
def time(call: Call) -> dict[str, Any]:
    """The clock of the node. Simulated nodes live in UTC."""
    now_s = int(call.now_s + call.node.skew_s)
    return {"timezone": "UTC", "time": now_s, "localtime": now_s}
