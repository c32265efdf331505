"""Ceph: status, flags, monitors and managers, pools."""

from __future__ import annotations

from typing import Any

from pveops.sim.errors import failed
from pveops.sim.methods.table import Call, Table
from pveops.sim.props import split_list
from pveops.sim.state.ceph import (
    FLAGS,
    VERSION,
    Ceph,
    ceph_of,
    checks,
    degraded,
    is_up,
    monitors_up,
    placement_groups,
    pool_options,
    used_bytes,
)
from pveops.sim.state.storage import Storage
from pveops.sim.tasks.engine import Body
from pveops.sim.tasks.task import Task

api = Table()

_QUICK_S = 1.0
_VERSION_TEXT = f"ceph version {VERSION} squid (stable)"
_POOL_OPTIONS = ("size", "min_size", "pg_num", "pg_num_min", "pg_autoscale_mode", "crush_rule", "target_size", "target_size_ratio")


def _ceph(call: Call) -> Ceph:
    return ceph_of(call.cluster)


@api.reads("GET /cluster/ceph/status", "GET /nodes/{node}/ceph/status")
def status(call: Call) -> dict[str, Any]:
    """Health, quorum, OSDs and placement groups, as ``ceph -s`` tells them."""
    cluster, ceph = call.cluster, _ceph(call)
    found, quorum = checks(cluster, ceph), monitors_up(cluster, ceph)
    bad, groups = degraded(cluster, ceph), placement_groups(ceph)
    states = [("active+clean", groups - bad), ("active+undersized+degraded", bad)]
    total = sum(osd.size for osd in ceph.osds.values() if osd.inside)
    used = min(used_bytes(cluster) * 3, total)
    return {
        "fsid": ceph.fsid,
        "health": {
            "status": "HEALTH_WARN" if found else "HEALTH_OK",
            "checks": {
                name: {"severity": "HEALTH_WARN", "summary": {"message": text, "count": 1}, "detail": [{"message": text}], "muted": False}
                for name, text in found.items()
            },
            "mutes": [],
        },
        "quorum": list(range(len(quorum))),
        "quorum_names": quorum,
        "monmap": {"epoch": 3, "fsid": ceph.fsid, "mons": [{"rank": rank, "name": name} for rank, name in enumerate(quorum)]},
        "osdmap": {
            "num_osds": len(ceph.osds),
            "num_up_osds": sum(is_up(cluster, osd) for osd in ceph.osds.values()),
            "num_in_osds": sum(osd.inside for osd in ceph.osds.values()),
        },
        "pgmap": {
            "pgs_by_state": [{"state_name": name, "count": count} for name, count in states if count],
            "num_pgs": groups,
            "num_pools": len(ceph.pools),
            "bytes_total": total,
            "bytes_used": used,
            "bytes_avail": total - used,
            "data_bytes": used // 3,
        },
        "mgrmap": {
            "active_name": quorum[0] if quorum else "",
            "available": bool(quorum),
            "standbys": [{"name": name} for name in quorum[1:]],
        },
    }


@api.reads("GET /cluster/ceph/metadata")
def metadata(call: Call) -> dict[str, Any]:
    """What the services say about themselves."""
    cluster, ceph = call.cluster, _ceph(call)
    common = {"ceph_release": "squid", "ceph_version": _VERSION_TEXT, "ceph_version_short": VERSION}
    nodes = {f"{name}@{name}": {**common, "hostname": name, "addrs": node.ip} for name, node in cluster.nodes.items()}
    rows = [
        {
            **common,
            "id": osd.number,
            "hostname": osd.node,
            "osd_objectstore": "bluestore",
            "mem_total_kb": cluster.nodes[osd.node].memory // 1024,
        }
        for osd in ceph.osds.values()
    ]
    versions = {name: {"version": {"str": VERSION, "parts": VERSION.split(".")}} for name in cluster.nodes}
    return {"mon": nodes, "mgr": nodes, "mds": {}, "osd": rows, "node": versions}


@api.reads("GET /cluster/ceph/flags")
def flags(call: Call) -> list[dict[str, Any]]:
    """All flags, and which are set."""
    ceph = _ceph(call)
    return [{"name": name, "description": text, "value": int(name in ceph.flags)} for name, text in FLAGS.items()]


@api.reads("GET /cluster/ceph/flags/{flag}")
def flag(call: Call) -> int:
    """Whether one flag is set."""
    return int(call.p["flag"] in _ceph(call).flags)


def _set(ceph: Ceph, name: str, value: object) -> None:
    (ceph.flags.add if value else ceph.flags.discard)(name)


@api.behaves("PUT /cluster/ceph/flags/{flag}")
def set_flag(call: Call) -> None:
    """Set or clear one flag."""
    _set(_ceph(call), call.p["flag"], call.p["value"])


@api.behaves("PUT /cluster/ceph/flags")
def set_flags(call: Call) -> str:
    """Set and clear several flags in a task."""
    ceph, wanted = _ceph(call), {name: call.p[name] for name in FLAGS if name in call.p}

    def work(task: Task) -> Body:
        yield _QUICK_S
        for name, value in wanted.items():
            task.say(f"{'set' if value else 'unset'} {name}")
            _set(ceph, name, value)

    return call.world.fork(call.cluster.local_node, "cephsetflags", "", call.who, work)


@api.reads("GET /nodes/{node}/ceph/mon", "GET /nodes/{node}/ceph/mgr")
def services(call: Call) -> list[dict[str, Any]]:
    """The monitors or the managers."""
    kind, ceph = call.path.rpartition("/")[2], _ceph(call)
    up = monitors_up(call.cluster, ceph)
    rows = []
    for rank, (name, node) in enumerate(list(call.cluster.nodes.items())[:5]):
        row: dict[str, Any] = {"name": name, "host": name, "addr": f"{node.ip}:6789/0", "ceph_version": _VERSION_TEXT}
        row |= {"ceph_version_short": VERSION, "direxists": 1, "service": 1}
        if kind == "mon":
            row |= {"rank": rank, "quorum": int(name in up), "state": "running" if name in up else "stopped"}
        else:
            row["state"] = "stopped" if name not in up else "active" if name == up[0] else "standby"
        rows.append(row)
    return rows


@api.reads("GET /nodes/{node}/ceph/mds", "GET /nodes/{node}/ceph/fs")
def file_systems(call: Call) -> list[dict[str, Any]]:
    """File systems and their servers: there are none."""
    _ceph(call)
    return []


@api.reads("GET /nodes/{node}/ceph/rules")
def rules(call: Call) -> list[dict[str, str]]:
    """The rules by which copies are placed."""
    _ceph(call)
    return [{"name": "replicated_rule"}]


def _pool_row(call: Call, ceph: Ceph, name: str) -> dict[str, Any]:
    pool = ceph.pools[name]
    stored = sum(int(volume.size * volume.used_fraction) for storage in _storages(call, name) for volume in storage.place("").values())
    total = sum(osd.size for osd in ceph.osds.values() if osd.inside) // int(pool["size"])
    shown = {key: value for key, value in pool.items() if key not in ("application", "crush_rule")}
    return shown | {
        "pool_name": name,
        "type": "replicated",
        "crush_rule": 0,
        "crush_rule_name": "replicated_rule",
        "bytes_used": stored * int(pool["size"]),
        "percent_used": stored / total if total else 0,
        "application_metadata": {pool["application"]: {}},
    }


def _storages(call: Call, pool: str) -> list[Storage]:
    return [one for one in call.cluster.storages.values() if one.kind == "rbd" and one.options.get("pool", one.name) == pool]


@api.reads("GET /nodes/{node}/ceph/pool")
def pools(call: Call) -> list[dict[str, Any]]:
    """All pools, and how full they are."""
    ceph = _ceph(call)
    return [_pool_row(call, ceph, name) for name in ceph.pools]


def _find(call: Call) -> dict[str, Any]:
    found = _ceph(call).pools.get(call.p["name"])
    if found is None:
        raise failed(f"pool '{call.p['name']}' does not exist")
    return found


@api.reads("GET /nodes/{node}/ceph/pool/{name}/status")
def pool(call: Call) -> dict[str, Any]:
    """The options of one pool."""
    found = _find(call)
    off = dict.fromkeys(("fast_read", "nodeep-scrub", "nodelete", "nopgchange", "noscrub", "nosizechange", "use_gmt_hitset"), 0)
    shown = {key: value for key, value in found.items() if key not in ("pool", "crush_rule")}
    number, groups = found["pool"], found["pg_num"]
    more = {"id": number, "name": call.p["name"], "crush_rule": "replicated_rule", "pgp_num": groups, "hashpspool": 1}
    return off | shown | more | {"write_fadvise_dontneed": 0, "application_list": ["rbd", "rgw", "cephfs"]}


@api.behaves("POST /nodes/{node}/ceph/pool")
def create_pool(call: Call) -> str:
    """A new pool."""
    ceph, name = _ceph(call), str(call.p["name"])
    if name in ceph.pools:
        raise failed(f"pool '{name}' already exists")
    given = {key: call.p[key] for key in _POOL_OPTIONS if key in call.p}
    size, minimum = given.pop("size", 3), given.pop("min_size", 2)
    groups, application = given.pop("pg_num", 128), str(call.p.get("application", "rbd"))

    def work(task: Task) -> Body:
        task.say(f"pool {name}: applying application = {application}")
        yield _QUICK_S
        ceph.pools[name] = pool_options(ceph.next_pool, pg_num=groups, application=application, size=size, min_size=minimum) | given
        ceph.next_pool += 1
        if call.p.get("add_storages"):
            task.say(f"adding storage '{name}'")
            options = {"pool": name, "content": "images,rootdir", "krbd": 0}
            call.cluster.storages[name] = Storage(name, "rbd", options, sum(osd.size for osd in ceph.osds.values()) // size, 0)
            call.cluster.generation += 1

    return call.fork("cephcreatepool", name, work)


@api.behaves("PUT /nodes/{node}/ceph/pool/{name}")
def update_pool(call: Call) -> str:
    """Change the options of a pool."""
    found, given = _find(call), {key: call.p[key] for key in (*_POOL_OPTIONS, "application") if key in call.p}

    def work(task: Task) -> Body:
        for key, value in given.items():
            task.say(f"pool {call.p['name']}: applying {key} = {value}")
            yield _QUICK_S
            found[key] = value

    return call.fork("cephsetpool", call.p["name"], work)


@api.behaves("DELETE /nodes/{node}/ceph/pool/{name}")
def delete_pool(call: Call) -> str:
    """Remove a pool; unless forced, none that a storage stands on with images in it."""
    _find(call)
    ceph, name, storages = _ceph(call), str(call.p["name"]), _storages(call, call.p["name"])
    if not call.p.get("force") and any(storage.place("") for storage in storages):
        raise failed(f"ceph pool '{name}' still in use by storage '{storages[0].name}'")

    def work(task: Task) -> Body:
        yield _QUICK_S
        del ceph.pools[name]
        for storage in storages if call.p.get("remove_storages") else ():
            task.say(f"removing storage '{storage.name}'")
            del call.cluster.storages[storage.name]
        call.cluster.generation += 1

    return call.fork("cephdestroypool", name, work)


@api.behaves("POST /nodes/{node}/ceph/start", "POST /nodes/{node}/ceph/stop", "POST /nodes/{node}/ceph/restart")
def control(call: Call) -> str:
    """Start, stop or restart services of the node."""
    ceph, verb, node = _ceph(call), call.path.rpartition("/")[2], call.p["node"]
    about = str(call.p.get("service", "ceph.target"))

    def work(task: Task) -> Body:
        yield _QUICK_S
        stop = verb == "stop"
        for osd in ceph.osds.values():
            if osd.node == node and about in ("ceph.target", "osd", f"osd.{osd.number}"):
                osd.stopped = stop
        if about in ("ceph.target", "mon", f"mon.{node}"):
            _set_stopped(ceph, f"mon.{node}", stop=stop)

    return call.fork(f"srv{verb}", about, work)


def _set_stopped(ceph: Ceph, service: str, *, stop: bool) -> None:
    (ceph.stopped.add if stop else ceph.stopped.discard)(service)


@api.reads("GET /nodes/{node}/ceph/cmd-safety")
def safety(call: Call) -> dict[str, Any]:
    """Whether a service may be stopped or destroyed without harm: not while another one is missing already."""
    ceph, cluster = _ceph(call), call.cluster
    missing = degraded(cluster, ceph) if call.p["service"] == "osd" else len(cluster.nodes) - len(monitors_up(cluster, ceph))
    return {"safe": int(not missing)} | ({"status": "other services are down already"} if missing else {})


@api.reads("GET /nodes/{node}/ceph/cfg/value")
def config_values(call: Call) -> dict[str, Any]:
    """Some values of the configuration; those that are not set are left out."""
    ceph = _ceph(call)
    found: dict[str, dict[str, str]] = {}
    known = {"fsid": ceph.fsid, "osd_pool_default_size": "3", "osd_pool_default_min_size": "2", "auth_client_required": "cephx"}
    for item in split_list(call.p["config-keys"]):
        section, _, key = item.partition(":")
        if section == "global" and key in known:
            found.setdefault(section, {})[key] = known[key]
    return found
