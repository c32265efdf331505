"""The cluster in the names of the Proxmox VE exporter: what the API says, sample by sample."""


def test_figures_are_those_of_the_resources(lab, pve_told):
    rows = {row["id"]: row for row in lab.data("GET", "/cluster/resources")}
    told = pve_told(lab)
    for key, name in (
        ("cpu", "pve_cpu_usage_ratio"),
        ("mem", "pve_memory_usage_bytes"),
        ("maxmem", "pve_memory_size_bytes"),
        ("disk", "pve_disk_usage_bytes"),
        ("uptime", "pve_uptime_seconds"),
        ("netin", "pve_network_receive_bytes_total"),
        ("diskwrite", "pve_disk_written_bytes_total"),
        ("shared", "pve_storage_shared"),
    ):
        found = {sample.labels["id"]: sample.value for sample in told.samples if sample.name == name}
        assert found == {ident: row[key] for ident, row in rows.items() if key in row}, name
    up = {sample.labels["id"]: sample.value for sample in told.samples if sample.name == "pve_up"}
    assert up["cluster/simulated"] == 1
    for ident, row in rows.items():
        if row["type"] in ("qemu", "lxc", "node", "storage"):
            assert up[ident] == (row["status"] in ("running", "online", "available")), ident


def test_locks_and_high_availability_are_one_state_among_all(make_lab, pve_told):
    lab = make_lab(ha_guests=2)
    lab.data("POST", "/nodes/pve1/qemu/101/snapshot", snapname="one")
    lab.wait(0.5)
    told = pve_told(lab)
    locks = {
        sample.labels["state"]: sample.value
        for sample in told.samples
        if sample.name == "pve_lock_state" and sample.labels["id"] == "qemu/101"
    }
    assert locks.pop("snapshot") == 1
    assert set(locks.values()) == {0}
    started = [sample.labels["id"] for sample in told.samples if sample.name == "pve_ha_state" and sample.value]
    assert len(started) == 2
    assert all(sample.labels["state"] == "started" for sample in told.samples if sample.name == "pve_ha_state" and sample.value)


def test_names_that_need_care_are_told_whole(lab, pve_told):
    lab.run("POST", "/nodes/pve1/qemu/101/config", description='say "hello"\\now')
    lab.data("PUT", "/nodes/pve1/qemu/101/config", tags="a;b")
    told = pve_told(lab)
    assert told.one("pve_guest_info", id="qemu/101", name="web-1", node="pve1", type="qemu", template="0", tags="a;b") == 1
    assert told.one("pve_onboot_status", id="qemu/101") == 1
    assert told.one("pve_not_backed_up_total") == len(lab.data("GET", "/cluster/backup-info/not-backed-up"))
