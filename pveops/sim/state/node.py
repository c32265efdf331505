"""A node of the cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from pveops.sim.state.ills import Flap, Quiet, Spell, Wear


class Cast(NamedTuple):
    """What the last broadcast said about a guest that has changed since."""

    known: bool
    name: str
    cpus: int
    maxmem: int
    maxdisk: int
    template: int
    running: bool
    since_s: float


@dataclass(slots=True)
class Node:
    """Hardware, address and state of one node. Sizes are bytes, times are seconds since the epoch."""

    name: str
    nodeid: int
    ip: str
    index: int = 0
    sockets: int = 1
    cores_per_socket: int = 8
    threads_per_core: int = 2
    cpu_model: str = "Example CPU @ 2.60GHz"
    mhz: float = 2600.0
    memory: int = 64 * 1024**3
    swap: int = 8 * 1024**3
    root_total: int = 96 * 1024**3
    root_used: int = 11 * 1024**3
    network_bytes_s: float = 1.0e9
    boot_s: float = 0.0
    installed_s: float = 0.0
    """Since when there is data about it."""
    kernel: str = "6.17.2-1-pve"
    online: bool = True
    """A member of the cluster, as the others see it."""
    powered: bool = True
    booting: bool = False
    """Power is on, and the system is not up yet."""
    restarting: bool = False
    """Somebody asked for a restart in order: high availability waits for it."""
    unplugged: bool = False
    """Whether its network cables lead nowhere."""
    reachable: bool = True
    """Whether anything gets to it over the network: other nodes, clients."""
    silent_since_s: float | None = None
    """The last broadcast that it took part in, once it has stopped telling about itself and its guests."""
    last_words: dict[int, Cast] = field(default_factory=dict)
    """What that broadcast said about its guests."""
    gaps: list[Spell] = field(default_factory=list)
    """When it told nothing: there are no round-robin data of these times."""
    downs: list[Spell] = field(default_factory=list)
    """When it had no power."""
    skew_s: float = 0.0
    """How much its clock is ahead."""
    dns: dict[str, str] = field(default_factory=lambda: {"search": "example.com", "dns1": "192.0.2.53"})
    new_kernel: str = ""
    """A kernel that is installed and waits for the next boot."""
    wears: list[Wear] = field(default_factory=list)
    flaps: list[Flap] = field(default_factory=list)
    quiets: list[Quiet] = field(default_factory=list)
    disk_births: dict[str, float] = field(default_factory=dict)
    """Disks that were changed: path, and when the one that is there now came."""
    fingerprint: str = ""
    options: dict[str, object] = field(default_factory=dict)
    """What ``/nodes/{node}/config`` holds."""
    interfaces: dict[str, dict[str, object]] | None = None
    """Network interfaces, where the description names them."""
    next_pid: int = 1200

    @property
    def cpus(self) -> int:
        """Threads that the system counts as CPUs."""
        return self.sockets * self.cores_per_socket * self.threads_per_core

    def take_pid(self) -> int:
        """A process id that was not used for a while."""
        self.next_pid = self.next_pid + 1 if self.next_pid < 4_194_300 else 1200
        return self.next_pid
