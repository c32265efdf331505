"""Files that come onto a storage: sent by the client, or fetched by the node."""

from __future__ import annotations

import hashlib
import re

from pveops.sim.errors import bad_parameter, failed
from pveops.sim.methods.storage import path_of
from pveops.sim.methods.table import Call, Table
from pveops.sim.physics import transfer
from pveops.sim.state import noise
from pveops.sim.state.storage import FILE_TYPES, Storage, Volume
from pveops.sim.state.volumes import usable_storage
from pveops.sim.tasks.engine import Body
from pveops.sim.tasks.task import Task

api = Table()

_NAMES = {
    "iso": re.compile(r".+\.(iso|img)", re.IGNORECASE),
    "vztmpl": re.compile(r".+\.(tar\.(gz|xz|zst|bz2)|tgz)"),
    "import": re.compile(r".+\.(ova|ovf|qcow2|raw|vmdk)"),
}
_UNSAFE = re.compile(r"[^-a-zA-Z0-9_.]")


def _place(call: Call) -> tuple[Storage, str]:
    """The storage and the id of the new volume.

    Raises:
        RefusedError: 400 for a name that does not fit the content, 500 for a storage that does not take it.
    """
    content = call.p["content"]
    name = _UNSAFE.sub("_", re.split(r"[/\\]", call.p["filename"])[-1])
    if not _NAMES[content].fullmatch(name):
        raise bad_parameter("filename", "wrong file extension")
    storage = usable_storage(call.cluster, call.p["storage"], call.p["node"])
    if storage.kind not in FILE_TYPES:
        raise failed(f"can't upload to storage type '{storage.kind}'")
    if content not in storage.content:
        raise failed(f"storage '{storage.name}' does not support '{content}' content")
    return storage, f"{storage.name}:{content}/{name}"


def _form(content: str, volid: str) -> str:
    end = volid.rsplit(".", 1)[1]
    return {"iso": "iso", "vztmpl": f"t{end}" if ".tar." in volid else end}.get(content, end)


def _store(call: Call, storage: Storage, volid: str, size: int) -> None:
    volume = Volume(volid, call.p["content"], size, _form(call.p["content"], volid), int(call.now_s))
    storage.place(call.p["node"])[volid] = volume
    call.cluster.generation += 1


@api.behaves("POST /nodes/{node}/storage/{storage}/upload")
def upload(call: Call) -> str:
    """Take a file that came with the request; only its name, size and checksum are kept."""
    storage, volid = _place(call)
    data, node = call.file or b"", call.p["node"]

    def work(task: Task) -> Body:
        task.say("starting file import")
        task.say(f"target node: {node}")
        task.say(f"target file: {path_of(storage, volid)}")
        task.say(f"file size is: {len(data)}")
        if "checksum" in call.p:
            found = hashlib.new(str(call.p["checksum-algorithm"]), data, usedforsecurity=False).hexdigest()
            if found != str(call.p["checksum"]).lower():
                raise failed(f"checksum mismatch: got '{found}' != expect '{call.p['checksum']}'")
        yield transfer.copy_seconds(len(data), call.cluster.nodes[node].network_bytes_s)
        _store(call, storage, volid, len(data))
        task.say("finished file import successfully")

    return call.fork("imgcopy", "", work)


@api.behaves("POST /nodes/{node}/storage/{storage}/download-url")
def download(call: Call) -> str:
    """Let the node fetch a file. Nothing is fetched here: how large it is follows from its address."""
    storage, volid = _place(call)
    node, url = call.p["node"], str(call.p["url"])
    if volid in storage.place(node):
        raise failed(f"refusing to override existing file '{path_of(storage, volid)}'")
    size = noise.whole(60 * 1024**2, 900 * 1024**2, call.cluster.seed, "download", url)

    def work(task: Task) -> Body:
        task.say(f"downloading {url} to {path_of(storage, volid)}")
        yield transfer.copy_seconds(size, call.cluster.nodes[node].network_bytes_s)
        _store(call, storage, volid, size)
        task.say(f"download of '{url}' to '{path_of(storage, volid)}' finished")

    return call.fork("download", volid.rpartition("/")[2], work)
