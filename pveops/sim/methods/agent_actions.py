"""What the guest agent does when it is told to: run programs, read and write files, freeze file systems, shut down."""

from __future__ import annotations

import base64
from typing import Any

from pveops.sim.errors import failed
from pveops.sim.methods import agent
from pveops.sim.methods.agent import answering_guest
from pveops.sim.methods.table import Call, Table
from pveops.sim.physics import transfer
from pveops.sim.state.guest import Guest
from pveops.sim.state.inside import MOST_BYTES, Inside
from pveops.sim.tasks.power import power_off

api = Table()

_RUN_S = 0.2
_BLOCK = 128 * 1024**2
_NO_RETURN = ("shutdown", "suspend-disk", "suspend-hybrid", "suspend-ram")


def _inside(call: Call) -> tuple[Guest, Inside]:
    guest = answering_guest(call)
    return guest, call.cluster.inside.setdefault(guest.vmid, Inside(guest.name))


@api.behaves("POST /nodes/{node}/qemu/{vmid}/agent/exec")
def execute(call: Call) -> dict[str, Any]:
    """Start a program; how it ended is asked for by its process id."""
    guest, inside = _inside(call)
    inside.next_pid += 1
    outcome = inside.run([str(word) for word in call.p["command"]], call.now_s, guest.since_s)
    inside.runs[inside.next_pid] = (call.now_s + _RUN_S, outcome)
    return {"pid": inside.next_pid}


@api.reads("GET /nodes/{node}/qemu/{vmid}/agent/exec-status")
def execution(call: Call) -> dict[str, Any]:
    """How a program ended, once; then nobody remembers it."""
    _, inside = _inside(call)
    pid = call.p["pid"]
    if pid not in inside.runs:
        raise failed(f"Agent error: Invalid parameter 'pid' (PID {pid} does not exist)")
    end_s, outcome = inside.runs[pid]
    if call.now_s < end_s:
        return {"exited": 0}
    del inside.runs[pid]
    texts = {"out-data": outcome.out, "err-data": outcome.err}
    return {"exited": 1, "exitcode": outcome.code, **{key: text for key, text in texts.items() if text}}


@api.reads("GET /nodes/{node}/qemu/{vmid}/agent/file-read")
def read_file(call: Call) -> dict[str, Any]:
    """The content of a file."""
    _, inside = _inside(call)
    content = inside.read(call.p["file"])
    if content is None:
        raise failed(f"Agent error: failed to open file '{call.p['file']}' (mode: 'r'): No such file or directory")
    start, count = int(call.p.get("offset", 0)), int(call.p.get("count", MOST_BYTES))
    part = content.encode()[start : start + count]
    text = part.decode("utf-8", "replace") if call.p.get("decode", 1) else base64.b64encode(part).decode()
    return {"content": text, "bytes-read": len(part)} | ({"truncated": 1} if start + count < len(content.encode()) else {})


@api.behaves("POST /nodes/{node}/qemu/{vmid}/agent/file-write")
def write_file(call: Call) -> None:
    """Write a file whole; unless it is to be encoded, the content is base64 already."""
    _, inside = _inside(call)
    content = str(call.p["content"])
    if not call.p.get("encode", 1):
        try:
            content = base64.b64decode(content, validate=True).decode("utf-8", "replace")
        except ValueError as err:
            raise failed("Agent error: invalid base64 in 'buf-b64'") from err
    inside.files[str(call.p["file"])] = content


def _freeze(inside: Inside, command: str) -> Any:
    if command == "fsfreeze-status":
        return "frozen" if inside.frozen else "thawed"
    before, inside.frozen = inside.frozen, 1 if command == "fsfreeze-freeze" else 0
    return 1 if command == "fsfreeze-freeze" else before


@api.behaves(
    "POST /nodes/{node}/qemu/{vmid}/agent/fsfreeze-freeze",
    "POST /nodes/{node}/qemu/{vmid}/agent/fsfreeze-status",
    "POST /nodes/{node}/qemu/{vmid}/agent/fsfreeze-thaw",
)
def freeze(call: Call) -> dict[str, Any]:
    """Freeze or thaw the file systems; how many, or whether they are frozen."""
    _, inside = _inside(call)
    return {"result": _freeze(inside, call.path.rpartition("/")[2])}


@api.behaves("POST /nodes/{node}/qemu/{vmid}/agent/fstrim")
def trim(call: Call) -> dict[str, Any]:
    """Give unused blocks back."""
    guest, _ = _inside(call)
    return {"result": {"paths": [{"path": "/", "trimmed": int(guest.maxdisk * 0.05), "minimum": 0}]}}


@api.behaves("POST /nodes/{node}/qemu/{vmid}/agent/set-user-password")
def set_password(call: Call) -> dict[str, Any]:
    """Give a user of the guest a password."""
    _, inside = _inside(call)
    inside.passwords[str(call.p["username"])] = str(call.p["password"])
    return {"result": {}}


@api.behaves(*(f"POST /nodes/{{node}}/qemu/{{vmid}}/agent/{name}" for name in _NO_RETURN))
def go(call: Call) -> dict[str, Any]:
    """Shut down or suspend, a little later."""
    guest, _ = _inside(call)
    _go(call, guest, call.path.rpartition("/")[2])
    return {"result": {}}


def _go(call: Call, guest: Guest, command: str) -> None:
    cluster = call.cluster

    def act() -> None:
        if not guest.running or cluster.guests.get(guest.vmid) is not guest:
            return
        if command in ("shutdown", "suspend-disk"):
            power_off(cluster, guest)
        else:
            cluster.before_change(guest)
            guest.paused = True

    cluster.agenda.add(call.now_s + transfer.shutdown_seconds(guest.kind, guest.profile, cluster.seed, guest.vmid), act)


@api.reads("GET /nodes/{node}/qemu/{vmid}/agent/info")
def info(call: Call) -> dict[str, Any]:
    """The version of the agent, and what it can do."""
    _inside(call)
    names = [f"guest-{name.removeprefix('get-') if name.startswith('get-') else name}" for name in agent.COMMANDS.split()]
    rows = [{"name": name, "enabled": True, "success-response": True} for name in names]
    return {"result": {"version": "10.0.3", "supported_commands": rows}}


@api.reads("GET /nodes/{node}/qemu/{vmid}/agent/get-users")
def users(call: Call) -> dict[str, Any]:
    """Who is logged in inside: nobody."""
    _inside(call)
    return {"result": []}


@api.reads("GET /nodes/{node}/qemu/{vmid}/agent/get-memory-block-info")
def block_info(call: Call) -> dict[str, Any]:
    """The size of a memory block in bytes."""
    _inside(call)
    return {"result": {"size": _BLOCK}}


@api.reads("GET /nodes/{node}/qemu/{vmid}/agent/get-memory-blocks")
def blocks(call: Call) -> dict[str, Any]:
    """The memory blocks of the guest."""
    guest, _ = _inside(call)
    return {"result": [{"phys-index": number, "online": True, "can-offline": True} for number in range(guest.maxmem // _BLOCK)]}


@api.behaves("POST /nodes/{node}/qemu/{vmid}/agent")
def by_name(call: Call) -> Any:
    """One of the commands without arguments, by its name."""
    name = str(call.p["command"])
    guest, inside = _inside(call)
    if name in _NO_RETURN:
        _go(call, guest, name)
        return {"result": {}}
    if name.startswith("fsfreeze-"):
        return {"result": _freeze(inside, name)}
    tables = (api.entries, agent.api.entries)
    path = f"/nodes/{{node}}/qemu/{{vmid}}/agent/{name}"
    found = next(entry for table in tables for verb in ("GET", "POST") if (entry := table.get((verb, path))))
    return found.handler(call)
