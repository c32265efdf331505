"""How long things take: migrations, backups, snapshots, starts and ends of guests. All results are simulated seconds."""

from __future__ import annotations

from typing import NamedTuple

from pveops.sim.state import noise

_MIB = 1024**2
_GIB = 1024**3
DOWNTIME_LIMIT_S = 0.1


class Round(NamedTuple):
    """One second of a live migration: bytes sent so far, bytes per second."""

    sent: int
    rate: float


class LiveMigration(NamedTuple):
    """How a live migration goes: its rounds, and the pause at its end."""

    rounds: tuple[Round, ...]
    state_bytes: int
    downtime_ms: int

    @property
    def seconds(self) -> float:
        """From the first byte to the last."""
        return float(len(self.rounds))


def live_migration(memory: int, busy: float, bandwidth: float, seed: int, vmid: int, *, known_rate: float | None = None) -> LiveMigration:
    """A live migration: memory is sent while a busy guest dirties it again.

    Args:
        memory: used memory, bytes.
        busy: CPU use of the guest as a fraction; a busy guest writes more memory.
        bandwidth: of the network between the nodes, bytes per second.
        seed: of the cluster.
        vmid: of the guest.
        known_rate: what the network carried when it was seen, bytes per second.
    """
    rate = known_rate or bandwidth * noise.between(0.62, 0.78, seed, "migration", vmid)
    dirty = min(0.35 * rate, (12 + 160 * busy) * _MIB)
    total = memory * rate / (rate - dirty)
    rounds, sent = [], 0.0
    while sent < total:
        sent = min(sent + rate, total)
        rounds.append(Round(int(sent), rate))
    downtime = noise.whole(28, 94, seed, "downtime", vmid)
    return LiveMigration(tuple(rounds), memory, downtime)


def copy_seconds(size: int, bandwidth: float) -> float:
    """Copying a disk between nodes or storages: disks are slower than networks."""
    return size / min(bandwidth * 0.7, 420 * _MIB)


def start_seconds(kind: str, seed: int, vmid: int) -> float:
    """From the task to the running process."""
    return noise.between(1.1, 2.4, seed, "start", vmid) if kind == "qemu" else noise.between(0.7, 1.5, seed, "start", vmid)


def shutdown_seconds(kind: str, profile: str, seed: int, vmid: int) -> float:
    """From the request to power off: databases take their time."""
    base = 9.0 if profile in ("db", "mail", "file") else 4.0
    return (base if kind == "qemu" else base * 0.4) * noise.between(0.8, 1.6, seed, "shutdown", vmid)


def snapshot_seconds(disks: int, memory: int) -> float:
    """Snapshots of disks, and of ``memory`` bytes where the state is saved too."""
    return 0.4 + 0.5 * disks + memory / (480 * _MIB)


def backup_seconds(used: int, *, incremental: bool) -> float:
    """Reading ``used`` bytes; an incremental backup reads what changed."""
    share = 0.09 if incremental else 1.0
    return 3.0 + used * share / (190 * _MIB)


def backup_size(used: int, seed: int, vmid: int) -> int:
    """Size of a compressed backup of ``used`` bytes."""
    return int(used * noise.between(0.34, 0.62, seed, "ratio", vmid)) + 4 * _MIB


def human(size: float) -> str:
    """A size as task logs write it: ``512.0 MiB``."""
    for unit, name in ((1024 * _GIB, "TiB"), (_GIB, "GiB"), (_MIB, "MiB"), (1024, "KiB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size:.1f} B"
