"""Cloud-init: values, what waits, what stands on the drive; and what containers say of their interfaces."""

WEB = "/nodes/pve1/qemu/101"


def test_values_wait_until_the_drive_is_written_anew(lab):
    lab.data("PUT", f"{WEB}/config", ciuser="ops", ipconfig0="ip=10.0.0.5/24,gw=10.0.0.1", cipassword="secret123", nameserver="10.0.0.53")
    rows = {row["key"]: row for row in lab.data("GET", f"{WEB}/cloudinit")}
    assert rows["ciuser"] == {"key": "ciuser", "pending": "ops"}
    assert rows["cipassword"]["pending"] == "**********"
    lab.data("PUT", f"{WEB}/cloudinit")
    assert {row["key"]: row.get("value") for row in lab.data("GET", f"{WEB}/cloudinit")}["ciuser"] == "ops"
    user, network, meta = (lab.data("GET", f"{WEB}/cloudinit/dump", type=kind) for kind in ("user", "network", "meta"))
    assert "user: ops" in user
    assert "hostname: web-1" in user
    assert "secret123" not in user
    assert "address: '10.0.0.5/24'" in network
    assert "gateway: '10.0.0.1'" in network
    assert meta.startswith("instance-id: ")


def test_a_guest_without_a_drive_has_no_dump(lab):
    assert lab.ask("GET", "/nodes/pve1/qemu/100/cloudinit/dump", type="user").reason == "no cloudinit drive configured"
    assert lab.data("GET", "/nodes/pve1/qemu/100/cloudinit") == []


def test_interfaces_of_a_container(lab):
    box = next(guest for guest in lab.cluster.guests.values() if guest.kind == "lxc" and guest.running)
    path = f"/nodes/{box.node}/lxc/{box.vmid}"
    rows = lab.data("GET", f"{path}/interfaces")
    assert [row["name"] for row in rows] == ["lo", "eth0"]
    assert rows[1]["hwaddr"] in str(box.config["net0"]).lower()
    lab.run("POST", f"{path}/status/stop")
    assert lab.data("GET", f"{path}/interfaces") is None
