"""The privileges and built-in roles of Proxmox VE 9 (VM.Monitor is gone, the guest agent and snapshots have privileges of their own)."""

from __future__ import annotations

_VM_CONFIG = frozenset(f"VM.Config.{part}" for part in ("CDROM", "CPU", "Cloudinit", "Disk", "HWType", "Memory", "Network", "Options"))
_AGENT = frozenset(f"VM.GuestAgent.{part}" for part in ("Audit", "FileRead", "FileSystemMgmt", "FileWrite", "Unrestricted"))
_VM_USER = frozenset({"VM.Audit", "VM.Backup", "VM.Config.CDROM", "VM.Config.Cloudinit", "VM.Console", "VM.PowerMgmt"}) | (
    _AGENT - {"VM.GuestAgent.Unrestricted"}
)
_VM_ADMIN = (
    _VM_USER
    | _VM_CONFIG
    | _AGENT
    | frozenset({"VM.Allocate", "VM.Clone", "VM.Migrate", "VM.Replicate", "VM.Snapshot", "VM.Snapshot.Rollback"})
)
_STORE_USER = frozenset({"Datastore.AllocateSpace", "Datastore.Audit"})
_STORE_ADMIN = _STORE_USER | {"Datastore.Allocate", "Datastore.AllocateTemplate"}
_POOL = frozenset({"Pool.Allocate", "Pool.Audit"})
_SDN = frozenset({"SDN.Allocate", "SDN.Audit", "SDN.Use"})
_USERS = frozenset({"Group.Allocate", "Realm.AllocateUser", "User.Modify"})
_SYS_VIEW = frozenset({"Sys.Audit", "Sys.Console", "Sys.Syslog"})
_MAPPING_USER = frozenset({"Mapping.Audit", "Mapping.Use"})
_ADMIN = _VM_ADMIN | _STORE_ADMIN | _POOL | _SDN | _USERS | _SYS_VIEW | _MAPPING_USER

PRIVILEGES = _ADMIN | {
    "Mapping.Modify",
    "Permissions.Modify",
    "Realm.Allocate",
    "Sys.AccessNetwork",
    "Sys.Incoming",
    "Sys.Modify",
    "Sys.PowerMgmt",
}
"""Every privilege there is."""

BUILT_IN_ROLES: dict[str, frozenset[str]] = {
    "Administrator": PRIVILEGES,
    "NoAccess": frozenset(),
    "PVEAdmin": _ADMIN,
    "PVEAuditor": frozenset(
        {"Datastore.Audit", "Mapping.Audit", "Pool.Audit", "SDN.Audit", "Sys.Audit", "VM.Audit", "VM.GuestAgent.Audit"}
    ),
    "PVEDatastoreAdmin": _STORE_ADMIN,
    "PVEDatastoreUser": _STORE_USER,
    "PVEMappingAdmin": _MAPPING_USER | {"Mapping.Modify"},
    "PVEMappingUser": _MAPPING_USER,
    "PVEPoolAdmin": _POOL,
    "PVEPoolUser": frozenset({"Pool.Audit"}),
    "PVESDNAdmin": _SDN,
    "PVESDNUser": _SDN - {"SDN.Allocate"},
    "PVESysAdmin": _SYS_VIEW,
    "PVETemplateUser": frozenset({"VM.Audit", "VM.Clone"}),
    "PVEUserAdmin": _USERS,
    "PVEVMAdmin": _VM_ADMIN,
    "PVEVMUser": _VM_USER,
}

_NOT_IN_EIGHT = _AGENT | {"VM.Replicate"}
OLD_PRIVILEGES = (PRIVILEGES - _NOT_IN_EIGHT) | {"VM.Monitor"}
"""Every privilege of Proxmox VE 8: one for everything that the guest agent can do."""


def _old_role(names: frozenset[str]) -> frozenset[str]:
    monitor = {"VM.Monitor"} if "VM.Config.Disk" in names else set()
    return (names - _NOT_IN_EIGHT) | monitor


OLD_ROLES = {role: _old_role(names) for role, names in BUILT_IN_ROLES.items()}
"""The built-in roles of Proxmox VE 8."""

MODIFY_PRIVILEGES = {"pool": "Pool.Allocate", "sdn": "SDN.Allocate", "storage": "Datastore.Allocate", "vms": "VM.Allocate"}
"""First part of an ACL path to the privilege that, beside Permissions.Modify, may change entries there."""
