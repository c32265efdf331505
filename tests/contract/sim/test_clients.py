"""Clients that nobody here wrote: proxmoxer, by token and by password."""

import pytest
from proxmoxer import AuthenticationError, ProxmoxAPI, ResourceException

pytestmark = pytest.mark.slow


def client(sim, token="operator", **options):
    host, port = sim.info["url"].removeprefix("https://").split(":")
    if token:
        name, value = sim.info["tokens"][token].split("=")
        user, token_name = name.split("!")
        options |= {"user": user, "token_name": token_name, "token_value": value}
    return ProxmoxAPI(host, port=int(port), verify_ssl=sim.info["ca"], **options)


def test_a_migration_from_beginning_to_end(fresh_sim):
    sim = fresh_sim("--speed", "60")
    api = client(sim)
    assert {row["name"]: row["node"] for row in api.cluster.resources.get(type="vm")}["web-1"] == "pve1"
    upid = api.nodes("pve1").qemu(101).migrate.post(target="pve2", online=1)
    assert upid.startswith("UPID:pve1:")
    assert sim.task_end(upid) == "OK"
    lines = api.nodes("pve1").tasks(upid).log.get(limit=0)
    assert lines[-1]["t"] == "TASK OK"
    assert any("migration active, transferred" in line["t"] for line in lines)
    assert api.nodes("pve2").qemu(101).status.current.get()["status"] == "running"
    upid = api.nodes("pve2").qemu(101).snapshot.post(snapname="before-upgrade", description="made by a test")
    assert sim.task_end(upid) == "OK"
    assert [row["name"] for row in api.nodes("pve2").qemu(101).snapshot.get()] == ["before-upgrade", "current"]


def test_refusals_carry_the_words_of_the_api(sim):
    api = client(sim)
    with pytest.raises(ResourceException) as caught:
        api.nodes("pve1").qemu(99999).config.get()
    assert (caught.value.status_code, caught.value.content) == (
        500,
        "Configuration file 'nodes/pve1/qemu-server/99999.conf' does not exist",
    )
    with pytest.raises(ResourceException) as caught:
        api.nodes("pve1").qemu(101).config.put(net1="virtio,bridge=vmbr0")
    assert (caught.value.status_code, "VM.Config.Network" in caught.value.content) == (403, True)
    with pytest.raises(ResourceException) as caught:
        api.nodes("pve1").qemu(101).snapshot.post(snapname="1bad")
    assert caught.value.errors == {"snapname": "invalid format - invalid configuration ID '1bad'\n"}


def test_login_with_a_password(sim):
    api = client(sim, None, user="admin@pve", password=sim.info["logins"]["admin@pve"]["password"])
    assert api.version.get()["release"] == "9.2"
    api.nodes("pve1").qemu(100).config.put(description="by ticket")
    assert api.nodes("pve1").qemu(100).config.get()["description"] == "by ticket"
    with pytest.raises(AuthenticationError):
        client(sim, None, user="admin@pve", password="wrong")


@pytest.mark.parametrize("token", ["admin", "operator", "reader", "auditor", "noperm"])
def test_every_token_of_the_info_file_logs_in(sim, token):
    assert client(sim, token).version.get()["repoid"] == "simulated"
    assert bool(client(sim, token).cluster.resources.get(type="vm")) is (token != "noperm")


def test_views_that_a_reader_draws(sim):
    api = client(sim, "reader")
    for node in api.nodes.get():
        name = node["node"]
        assert 0 < node["cpu"] < 1
        assert api.nodes(name).status.get()["memory"]["total"] == node["maxmem"]
        assert len(api.nodes(name).rrddata.get(timeframe="hour")) == 60
        assert api.nodes(name).tasks.get(limit=5)
        assert api.nodes(name).storage.get()
        assert api.nodes(name).services.get()
        assert api.nodes(name).disks.list.get()
        assert api.nodes(name).network.get()
    assert api.cluster.status.get()[0]["quorate"] == 1
    assert api.nodes("pve1").storage("pbs-01").content.get(content="backup")
    assert api.nodes("pve1").qemu(101).rrddata.get(timeframe="hour")[-1]["cpu"] > 0
    assert api.cluster.backup.get()
