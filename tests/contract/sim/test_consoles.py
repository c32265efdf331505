"""Terminals over real websockets: who opens one, what it says, and when it goes."""

import asyncio
import ssl

import aiohttp
import pytest

pytestmark = pytest.mark.slow


def keys(text):
    return f"0:{len(text.encode())}:{text}".encode()


async def talk(sim, *arguments, **options):
    """As below; then the closed connections get the moment that TLS takes to be gone."""
    said = await converse(sim, *arguments, **options)
    await asyncio.sleep(0.25)
    return said


async def converse(sim, path, console, lines, *, token="admin", greeting=None):
    """Open the websocket of a console, type some lines; everything it said, or the status of the refusal."""
    headers = {"Authorization": f"PVEAPIToken={sim.info['tokens'][token]}"}
    context = ssl.create_default_context(cafile=sim.info["ca"])
    query = {"port": str(console["port"]), "vncticket": console["ticket"]}
    async with aiohttp.ClientSession(headers=headers) as session:
        try:
            socket = await session.ws_connect(
                f"{sim.info['url']}/api2/json{path}/vncwebsocket", params=query, ssl=context, protocols=("binary",)
            )
        except aiohttp.WSServerHandshakeError as err:
            return str(err.status)
        said = ""
        await socket.send_bytes((greeting or f"{console['user']}:{console['ticket']}\n").encode())
        for line in lines:
            await socket.send_bytes(keys(line))
        async for message in socket:
            said += message.data.decode()
        return said


@pytest.fixture(scope="module")
def container(sim):
    row = next(row for row in sim.data("GET", "/cluster/resources", type="vm") if row["type"] == "lxc" and row["status"] == "running")
    return row["name"], f"/nodes/{row['node']}/lxc/{row['vmid']}"


def test_a_terminal_echoes_and_runs(sim, container):
    name, path = container
    console = sim.data("POST", f"{path}/termproxy")
    assert 5900 <= console["port"] < 6000
    said = asyncio.run(talk(sim, path, console, ["hostname\r", "echo hello  there\r", "nonsense\r", "exit\r"]))
    assert said.startswith("OK")
    for text in (f"root@{name}:~# hostname\r\n{name}\r\n", "\r\nhello there\r\n", "nonsense: command not found", "logout"):
        assert text in said
    assert sim.task_end(console["upid"]) == "OK"


def test_a_terminal_of_a_node(sim):
    console = sim.data("POST", "/nodes/pve2/termproxy")
    assert console["upid"].split(":")[5] == "vncshell"
    assert "pve2\r\n" in asyncio.run(talk(sim, "/nodes/pve2", console, ["hostname\r", "exit\r"]))


def test_a_ticket_opens_its_own_console_once(sim, container):
    _, path = container
    console = sim.data("POST", f"{path}/termproxy")
    assert asyncio.run(talk(sim, path, console | {"ticket": "PVEVNC:wrong"}, ["exit\r"])) == "401"
    assert asyncio.run(talk(sim, "/nodes/pve1", console, ["exit\r"])) == "401"
    assert asyncio.run(talk(sim, path, console, ["exit\r"], token="auditor")) == "403"
    assert asyncio.run(talk(sim, path, console, [], greeting="mallory@pve:x\n")) == ""
    assert asyncio.run(talk(sim, path, console, ["exit\r"])) in ("401", "500"), "gone, or not waiting any more"


def test_a_console_that_nobody_opens_goes(sim, container):
    console = sim.data("POST", f"{container[1]}/termproxy")
    sim.advance(15)
    assert sim.task_end(console["upid"]) == "connection timed out"
    assert asyncio.run(talk(sim, container[1], console, ["exit\r"])) == "401"


def test_a_machine_without_a_serial_port_has_no_terminal(sim):
    assert sim.api("POST", "/nodes/pve1/qemu/101/termproxy").reason == "unable to find a serial interface"
    plain = sim.api("GET", "/nodes/pve1/qemu/101/vncwebsocket", port="5900", vncticket="x")
    assert (plain.status_code, plain.reason) == (401, "invalid PVEVNC ticket")
