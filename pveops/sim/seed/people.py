"""The people of a generated cluster: users, roles, tokens and what they may do."""

from __future__ import annotations

from typing import Any

# No name of a role may begin with "pve", in whatever case: those belong to Proxmox.
OPERATOR_ROLE = "OpsOperator"
READER_ROLE = "OpsReader"

OPERATOR_PRIVILEGES = (
    "Datastore.AllocateSpace",
    "Datastore.Audit",
    "Mapping.Audit",
    "Pool.Audit",
    "SDN.Audit",
    "Sys.Audit",
    "Sys.Syslog",
    "VM.Audit",
    "VM.Backup",
    "VM.Config.CPU",
    "VM.Config.Memory",
    "VM.Config.Options",
    "VM.GuestAgent.Audit",
    "VM.Migrate",
    "VM.PowerMgmt",
    "VM.Snapshot",
    "VM.Snapshot.Rollback",
)
"""What start, shutdown, reboot, snapshot, migrate, backup, tags and settings need, and what it takes to check before and read back after."""

READER_PRIVILEGES = (
    "Datastore.AllocateSpace",
    "Datastore.Audit",
    "Mapping.Audit",
    "Pool.Audit",
    "SDN.Audit",
    "Sys.Audit",
    "Sys.Syslog",
    "VM.Audit",
    "VM.Backup",
    "VM.GuestAgent.Audit",
)
"""PVEAuditor, and what Proxmox VE wants for three more views: backup volumes (Datastore.AllocateSpace with VM.Backup), system log and
journal (Sys.Syslog). Migration preconditions need VM.Migrate, which also allows to migrate: a reader does not get it."""

LOGINS = ("root@pam", "admin@pve", "operator@pve", "auditor@pve")
"""Users with a password."""

TOKENS = {
    "admin": "admin@pve!sim",
    "operator": "operator@pve!executor",
    "reader": "reader@pve!notebook",
    "auditor": "auditor@pve!audit",
    "noperm": "noperm@pve!none",
}
"""Name in the info file to token id."""

_GRANTS = {
    "admin@pve": "Administrator",
    "operator@pve": OPERATOR_ROLE,
    "reader@pve": READER_ROLE,
    "auditor@pve": "PVEAuditor",
}


def people() -> dict[str, Any]:
    """Users, roles and ACL of a generated cluster; operator, reader and auditor tokens are privilege-separated."""
    users: list[dict[str, Any]] = [{"userid": "root@pam", "email": "root@example.com", "tokens": []}]
    acl: list[dict[str, Any]] = []
    for short, name in TOKENS.items():
        userid, _, token = name.partition("!")
        privsep = short not in ("admin", "noperm")
        users.append({"userid": userid, "comment": f"simulated: {short}", "tokens": [{"tokenid": token, "privsep": privsep}]})
        role = _GRANTS.get(userid)
        if role:
            acl.append({"path": "/", "type": "user", "ugid": userid, "roleid": role})
        if role and privsep:
            acl.append({"path": "/", "type": "token", "ugid": name, "roleid": role})
    roles = [
        {"roleid": OPERATOR_ROLE, "privs": ",".join(OPERATOR_PRIVILEGES)},
        {"roleid": READER_ROLE, "privs": ",".join(READER_PRIVILEGES)},
    ]
    groups = [{"groupid": "admins", "comment": "Administrators", "users": "admin@pve"}]
    return {"users": users, "acl": acl, "roles": roles, "groups": groups}
