"""Builds a cluster from a description: the generated one, one read from a file, or what a twin saw of a real cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pveops.sim.props import split_list
from pveops.sim.state import noise
from pveops.sim.state.cluster import BackupJob, Cluster, HaResource, JobVersion, Pool
from pveops.sim.state.guest import Guest, Snapshot
from pveops.sim.state.identity import Group, Role, Token, User, hash_password
from pveops.sim.state.node import Node
from pveops.sim.state.storage import Storage, Volume

Secrets = Callable[[str], str]
"""Makes the secret of a user or token from its name, where the description gives none."""

_GUEST_AGE_S = 240 * 86400
_NODE_AGE_S = 500 * 86400
_REBOOT_S = 40.0
"""A guest that runs ran before too; its last start was a reboot of this length."""


def build(description: dict[str, Any], *, seed: int, start_s: float, secrets: Secrets, old: bool = False) -> Cluster:
    """The cluster at the moment ``start_s`` (seconds since the epoch); an ``old`` one has the privileges of Proxmox VE 8.

    Raises:
        KeyError: the description lacks something that is needed.
        ValueError: something in it cannot be read.
    """
    cluster = Cluster(str(description.get("name", "simulated")), seed, start_s)
    if old:
        cluster.identities.grow_old()
    for number, entry in enumerate(description["nodes"]):
        _add_node(cluster, entry, number)
    for entry in description.get("storages", ()):
        _add_storage(cluster, entry)
    for entry in sorted(description.get("guests", ()), key=lambda entry: int(entry["vmid"])):
        _add_guest(cluster, entry)
    for entry in description.get("pools", ()):
        cluster.pools[entry["poolid"]] = Pool(
            entry["poolid"], str(entry.get("comment", "")), set(entry.get("vms", ())), set(entry.get("storages", ()))
        )
    cluster.pools_changed()
    _add_people(cluster, description, secrets)
    for entry in description.get("jobs", ()):
        options = {key: value for key, value in entry.items() if key not in ("id", "age_s")}
        cluster.backup_jobs[entry["id"]] = BackupJob(entry["id"], [JobVersion(start_s - entry.get("age_s", 0), options)])
    for entry in description.get("ha", ()):
        options = {key: value for key, value in entry.items() if key not in ("sid", "state")}
        cluster.ha[entry["sid"]] = HaResource(entry["sid"], entry.get("state", "started"), options)
    cluster.replication = {entry["id"]: dict(entry) for entry in description.get("replication", ())}
    cluster.options = dict(description.get("options", {}))
    cluster.bare = bool(description.get("bare"))
    cluster.calendar_fault = str(description.get("calendar_fault", ""))
    cluster.casts.clear()
    return cluster


def _add_node(cluster: Cluster, entry: dict[str, Any], number: int) -> None:
    node = Node(
        name=entry["name"],
        nodeid=number + 1,
        ip=str(entry.get("ip", f"192.0.2.{11 + number}")),
        index=number,
        sockets=int(entry.get("sockets", 1)),
        cores_per_socket=int(entry.get("cores", 8)),
        threads_per_core=int(entry.get("threads", 2)),
        cpu_model=str(entry.get("model", "Example CPU @ 2.60GHz")),
        mhz=float(entry.get("mhz", 2600.0)),
        memory=int(entry.get("memory", 64 * 1024**3)),
        root_used=int(entry.get("root_used", 11 * 1024**3)),
        boot_s=cluster.now_s - float(entry.get("uptime_s", 40 * 86400)),
        installed_s=cluster.now_s - float(entry.get("installed_age_s", _NODE_AGE_S)),
        options=dict(entry.get("options", {})),
        interfaces=entry.get("interfaces"),
    )
    if "dns" in entry:
        node.dns = dict(entry["dns"])
    node.online = node.powered = node.reachable = bool(entry.get("online", True))
    node.root_total = int(entry.get("root_total", node.root_total))
    node.next_pid = noise.whole(1500, 900_000, cluster.seed, "pid", node.name)
    cluster.nodes[node.name] = node


def _add_storage(cluster: Cluster, entry: dict[str, Any]) -> None:
    storage = Storage(
        name=entry["storage"],
        kind=entry["type"],
        options=dict(entry.get("options", {})),
        total=int(entry.get("total", 100 * 1024**3)),
        used=int(entry.get("used", 0)),
        growth=float(entry.get("growth", 0.0)),
        full=dict(entry.get("full", {})),
        sizes=dict(entry.get("sizes", {})),
        down=bool(entry.get("down")),
    )
    cluster.storages[storage.name] = storage
    for row in entry.get("volumes", ()):
        volume = Volume(
            volid=row["volid"],
            content=row["content"],
            size=int(row.get("size", 0)),
            form=str(row.get("format", "raw")),
            ctime_s=int(row.get("ctime", cluster.now_s - row.get("age_s", 0))),
            vmid=int(row.get("vmid", 0)),
            used_fraction=float(row.get("used_fraction", 1.0)),
            subtype=str(row.get("subtype", "")),
            notes=str(row.get("notes", "")),
            protected=bool(row.get("protected")),
        )
        for node in [row["node"]] if "node" in row else list(cluster.nodes):
            storage.place(node)[volume.volid] = volume


def _add_guest(cluster: Cluster, entry: dict[str, Any]) -> None:
    created_s = cluster.now_s - float(entry.get("age_s", _GUEST_AGE_S))
    guest = Guest(int(entry["vmid"]), entry["type"], entry["node"], dict(entry["config"]), created_s=created_s)
    guest.placements = [(created_s, guest.node)]
    guest.profile = str(entry.get("profile", "web"))
    guest.level = float(entry.get("level", 1.0))
    guest.agent_answers = bool(entry.get("agent_answers", True))
    guest.pending = dict(entry.get("pending", {}))
    for row in entry.get("snapshots", ()):
        time_s = int(row.get("snaptime", cluster.now_s - row.get("age_s", 0)))
        config = dict(row.get("config", guest.config))
        guest.snapshots[row["name"]] = Snapshot(
            row["name"], time_s, config, row.get("description", ""), row.get("parent", ""), bool(row.get("vmstate"))
        )
        guest.parent = row["name"]
    guest.parent = str(entry.get("parent", guest.parent))
    if entry.get("running"):
        since_s = cluster.now_s - float(entry.get("uptime_s", 86400))
        guest.start(since_s, cluster.nodes[guest.node].take_pid())
        if since_s - _REBOOT_S > created_s:
            guest.past_runs.append((created_s, since_s - _REBOOT_S))
    guest.paused = guest.running and bool(entry.get("paused"))
    guest.paces = dict(entry.get("paces", {}))
    if "cpu_fraction" in entry and "mem_fraction" in entry:
        guest.observed = (float(entry["cpu_fraction"]), float(entry["mem_fraction"]))
    guest.touch()
    if entry.get("digest"):
        guest.show_digest(entry["digest"])
    cluster.guests[guest.vmid] = guest
    for disk in guest.disks(with_unused=True):
        _add_image(cluster, guest, disk.key, disk.volid, disk.size, int(created_s))


def _add_image(cluster: Cluster, guest: Guest, key: str, volid: str, size: int, ctime_s: int) -> None:
    """The volume behind a disk, where its storage is known and does not have it yet."""
    storage = cluster.storages.get(volid.partition(":")[0])
    if storage is None or volid in storage.place(guest.node):
        return
    content = "rootdir" if guest.kind == "lxc" else "images"
    form = volid.rsplit(".", 1)[1] if "." in volid.rsplit("/", 1)[-1] else "raw"
    fraction = noise.between(0.25, 0.72, cluster.seed, "image", guest.vmid, key)
    storage.place(guest.node)[volid] = Volume(volid, content, size, form, ctime_s, guest.vmid, fraction)


def _add_people(cluster: Cluster, description: dict[str, Any], secrets: Secrets) -> None:
    ids = cluster.identities
    for entry in description.get("roles", ()):
        ids.roles[entry["roleid"]] = Role(entry["roleid"], frozenset(split_list(entry.get("privs", ""))) & ids.privileges)
    for entry in description.get("users", ()):
        user = User(
            entry["userid"],
            password=hash_password(entry.get("password") or secrets(entry["userid"])),
            enable=bool(entry.get("enable", 1)),
            expire_s=int(entry.get("expire", 0)),
            first_name=str(entry.get("firstname", "")),
            last_name=str(entry.get("lastname", "")),
            email=str(entry.get("email", "")),
            comment=str(entry.get("comment", "")),
        )
        for row in entry.get("tokens", ()):
            secret = row.get("secret") or secrets(f"{user.userid}!{row['tokenid']}")
            user.tokens[row["tokenid"]] = Token(
                row["tokenid"], secret, bool(row.get("privsep", True)), int(row.get("expire", 0)), str(row.get("comment", ""))
            )
        ids.users[user.userid] = user
    for entry in description.get("groups", ()):
        ids.groups[entry["groupid"]] = Group(entry["groupid"], str(entry.get("comment", "")), set(split_list(entry.get("users", ""))))
    for entry in description.get("realms", ()):
        ids.realms[entry["realm"]] = {key: value for key, value in entry.items() if key != "realm"}
    for entry in description.get("acl", ()):
        ids.grant(entry["path"], entry["type"], entry["ugid"], entry["roleid"], propagate=bool(entry.get("propagate", 1)))
