"""Which privileges pveops wants, where, for what, and what a missing one costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pveops.clients.cluster.privileges import Privileges

RoleName = Literal["read", "act"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A privilege of Proxmox VE."""

    privilege: str
    path: str
    role: RoleName
    costs: str
    """What does not work without it."""
    optional: bool = False


WANTED: tuple[Wanted, ...] = (
    Wanted("VM.Audit", "/vms", "read", "guests, their configuration, status, snapshots and measurements are not visible"),
    Wanted("Sys.Audit", "/nodes", "read", "load of the nodes and tasks of others are not visible"),
    Wanted("Datastore.Audit", "/storage", "read", "storage and its use are not visible"),
    Wanted("Pool.Audit", "/pool", "read", "the pool of a guest is not visible", optional=True),
    Wanted(
        "Datastore.AllocateSpace", "/storage", "read", "backups in storages stay hidden, so lists of backups are partial", optional=True
    ),
    Wanted("VM.Backup", "/vms", "read", "backups of guests stay hidden, so lists of backups are partial", optional=True),
    Wanted("VM.Audit", "/vms", "act", "nothing can be checked before or read back after a change, so nothing is changed"),
    Wanted("Sys.Audit", "/nodes", "act", "quorum, clocks and tasks cannot be read, so nothing is changed"),
    Wanted("Datastore.Audit", "/storage", "act", "storages cannot be checked before a change"),
    Wanted("VM.PowerMgmt", "/vms", "act", "start, shutdown and reboot are refused by Proxmox VE"),
    Wanted("VM.Snapshot", "/vms", "act", "snapshots are refused by Proxmox VE"),
    Wanted("VM.Migrate", "/vms", "act", "migrations are refused by Proxmox VE"),
    Wanted("VM.Config.Options", "/vms", "act", "changes of tags, notes and start with the node are refused by Proxmox VE", optional=True),
    Wanted("VM.Config.CPU", "/vms", "act", "changes of cores are refused by Proxmox VE", optional=True),
    Wanted("VM.Config.Memory", "/vms", "act", "changes of memory are refused by Proxmox VE", optional=True),
)


def commands(user: str = "pveops@pve") -> list[str]:
    """The ``pveum`` commands that make both roles and tokens, to be run as root on any node.

    Proxmox VE keeps role names that start with PVE, in any case, for itself.
    A token with separated privileges has those that both it and its user have: so the user gets both roles, each token one.
    """
    read, act = privileges_of("read"), privileges_of("act")
    return [
        f"pveum role add OpsRead --privs '{' '.join(read)}'",
        f"pveum role add OpsAct --privs '{' '.join(act)}'",
        f"pveum user add {user} --comment 'pveops'",
        f"pveum acl modify / --users {user} --roles OpsRead,OpsAct",
        f"pveum user token add {user} read --privsep 1",
        f"pveum acl modify / --tokens '{user}!read' --roles OpsRead",
        f"pveum user token add {user} act --privsep 1",
        f"pveum acl modify / --tokens '{user}!act' --roles OpsAct",
    ]


def privileges_of(role: RoleName) -> list[str]:
    """The privileges of a role, in order, each once."""
    return list(dict.fromkeys(wanted.privilege for wanted in WANTED if wanted.role == role))


def check(have: Privileges, role: RoleName) -> Iterable[tuple[Wanted, bool]]:
    """Each privilege of a role, and whether the token has it."""
    for wanted in WANTED:
        if wanted.role == role:
            yield wanted, have.has(wanted.privilege, wanted.path)
