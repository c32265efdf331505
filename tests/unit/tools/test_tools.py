"""Tools over a reader in memory: what they say, what they plan, what they refuse."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from pveops.base.errors import AmbiguousName, InputError, UnknownName
from pveops.clients.cluster import parse
from pveops.clients.cluster.privileges import Privileges
from pveops.guard.tiers import rate_plan
from pveops.model.facts import Facts
from pveops.model.proposal import Tier
from pveops.model.resources import Answer, Gap, Guest, Node, Storage
from pveops.testing import build
from pveops.testing.fake import StepClock
from pveops.tools.library import standard
from pveops.tools.ports import Ports
from pveops.tools.registry import Args, NoArgs, Registry, Tool
from pveops.tools.resolve import find_guest, find_guests, find_node
from pveops.tools.undo import undo_plan

NOW = datetime(2026, 11, 21, tzinfo=UTC)
G = 1 << 30


def guest(vmid, name, node="pve1", kind="qemu", status="running", **more):
    return Guest(
        vmid=vmid,
        name=name,
        node=node,
        kind=kind,
        status=status,
        mem_bytes=2 * G if status == "running" else 0,
        maxmem_bytes=4 * G,
        maxdisk_bytes=32 * G,
        **more,
    )


class Memory:
    """A reader over lists."""

    def __init__(self, *, gaps=()):
        self.rows = [
            guest(101, "web-1", tags=("prod", "web")), guest(102, "db-1", "pve2", tags=("prod",)), guest(103, "web-1", "pve2"), guest(104, None),
            guest(105, "tmpl", template=True, status="stopped"), guest(200, "box", kind="lxc"), guest(106, "off", status="stopped"),
        ]  # fmt: skip
        self.gaps = gaps
        self.extra = {}

    def guests(self):
        return Answer(rows=tuple(self.rows), gaps=self.gaps, read_at=NOW, source="memory")

    def nodes(self):
        rows = [Node(name=name, status=status, mem_bytes=used * G, maxmem_bytes=64 * G, cpu_fraction=used / 64) for name, status, used in
                (("pve1", "online", 60), ("pve2", "online", 10), ("pve3", "offline", 0))]  # fmt: skip
        return Answer(rows=tuple(rows), read_at=NOW, source="memory")

    def storages(self):
        rows = (
            Storage(name="local-lvm", node="pve1"),
            Storage(name="ceph", node="pve1", shared=True, used_bytes=9, total_bytes=10, status="available"),
        )
        return Answer(rows=rows, read_at=NOW, source="memory")

    def facts(self, subjects):
        values = {}
        for row in self.rows:
            base = {
                **build.GUEST,
                "node": row.node,
                "kind": row.kind,
                "name": row.name,
                "status": row.status,
                "template": row.template,
                "volumes": (),
            }
            values.update({f"guest/{row.vmid}.{key}": value for key, value in {**base, **self.extra.get(row.vmid, {})}.items()})
        return Facts(values=values, read_at=NOW)


@pytest.fixture
def reader():
    return Memory()


@pytest.fixture
def ports(reader):
    return Ports("lab", reader, StepClock())


REGISTRY = standard()


def test_there_are_ten_reads_and_five_plans_at_least():
    kinds = [tool.kind for tool in REGISTRY]
    assert kinds.count("read") >= 10
    assert kinds.count("plan") >= 5
    for tool in REGISTRY:
        assert tool.privileges
        assert tool.schema["additionalProperties"] is False


def test_names_find_guests(reader):
    answer = reader.guests()
    assert find_guest("101", answer).vmid == find_guest(101, answer).vmid == 101
    assert find_guest("DB-1", answer).vmid == 102
    with pytest.raises(AmbiguousName, match=r"101 on pve1 \(running\), 103 on pve2") as two:
        find_guest("web-1", answer)
    assert two.value.details["candidates"] == [101, 103]
    with pytest.raises(UnknownName) as unknown:
        find_guest("db-2", answer)
    assert "102 db-1" in unknown.value.hint
    with pytest.raises(UnknownName, match="may see"):
        find_guest("zzz", Memory(gaps=(Gap(what="some guests", why="filtered", needs="VM.Audit"),)).guests())
    with pytest.raises(UnknownName, match=r"state of the guests on pve2: .* without their names"):
        find_guest("zzz", Memory(gaps=(Gap(what="state of the guests on pve2", why="not heard of"),)).guests())


@given(st.text(max_size=30))
def test_whatever_is_typed_is_a_guest_or_an_error_of_ours(text):
    try:
        found = find_guest(text, Memory().guests())
    except InputError:
        return
    assert str(found.vmid) == text.strip() or (found.name or "").lower() == text.strip().lower()


def test_several_guests_at_once(reader):
    answer = reader.guests()
    assert [row.vmid for row in find_guests("101, db-1,101", answer)] == [101, 102]
    assert [row.vmid for row in find_guests(["200", 104], answer)] == [200, 104]
    assert [row.vmid for row in find_guests("tag:prod", answer)] == [101, 102]
    for bad, error in (("", InputError), (",", InputError), ("tag:none", UnknownName)):
        with pytest.raises(error):
            find_guests(bad, answer)


def test_nodes_by_name(reader):
    assert find_node("PVE2", reader.nodes()).name == "pve2"
    with pytest.raises(UnknownName) as unknown:
        find_node("pve9", reader.nodes())
    assert "pve1, pve2, pve3" in unknown.value.hint


def plan(tool_name, ports, **args):
    return REGISTRY.plan(tool_name, args, ports)


def test_a_migration_says_all_there_is_to_say(ports):
    made = plan("guest.migrate", ports, guest="101", target="pve2")
    (step,) = made.steps
    assert step.call.text == "POST /nodes/pve1/qemu/101/migrate  target=pve2 online=1"
    assert (made.summary, made.action, step.note) == ("Migrate 101 web-1 to pve2", "migration", "live, no downtime")
    assert {fact.key for fact in step.expects} == {"guest/101.node", "guest/101.status"}
    assert {"guest/101.digest", "guest/101.lock", "guest/101.status", "node/pve2.status"} <= {fact.key for fact in step.assumes}
    assert {need.kind for need in step.needs} == {"quorum", "migrate", "memory"}
    assert step.undo.call.path == "/nodes/pve2/qemu/101/migrate"
    assert [(change.what, change.by) for change in made.changes] == [
        ("101 web-1, node", ""),
        ("pve1 memory", "−2\u00a0GiB"),
        ("pve2 memory", "+2\u00a0GiB"),
    ]
    assert rate_plan(made, bulk_targets=10).tier is Tier.YELLOW
    assert plan("guest.migrate", ports, guest="101", target="pve2").digest == made.digest


def test_a_container_restarts_and_a_stopped_guest_just_moves(ports):
    made = plan("guest.migrate", ports, guest="200,106", target="pve2")
    assert [step.call.params for step in made.steps] == [(("target", "pve2"), ("restart", 1)), (("target", "pve2"),)]
    assert "restarts" in made.steps[0].note
    assert made.summary == "Migrate 2 guests off pve1 to pve2"
    assert made.action == "2 migrations"
    assert made.undo_text == "Migrate back, in reverse order"


def test_local_disks_are_copied_and_ha_is_given_time(ports, reader):
    reader.extra[101] = {"volumes": ("local-lvm:vm-101-disk-0", "ceph:vm-101-disk-1"), "hastate": "started"}
    (step,) = plan("guest.migrate", ports, guest="101", target="pve2").steps
    assert ("with-local-disks", 1) in step.call.params
    assert "copies 1 local disk" in step.note
    assert step.task_types[0] == "hamigrate"
    assert step.settle_s >= 300
    (start,) = plan("guest.shutdown", ports, guest="101").steps
    assert start.task_types == ("hastop", "qmshutdown")


@pytest.mark.parametrize(
    ("tool", "args", "said"),
    [
        ("guest.migrate", {"guest": "101", "target": "pve1"}, "on pve1 already"),
        ("guest.migrate", {"guest": "101", "target": "pve3"}, "pve3 is offline"),
        ("guest.start", {"guest": "101"}, "running already"),
        ("guest.start", {"guest": "105"}, "is a template"),
        ("guest.shutdown", {"guest": "106"}, "stopped already"),
        ("guest.reboot", {"guest": "106"}, "start it instead"),
        ("guest.reboot", {"guest": "101", "timeout_s": 1}, "greater than or equal to 5"),
        ("guest.snapshot", {"guest": "101", "name": "a b"}, "cannot be the name"),
        ("guest.snapshot", {"guest": "101"}, "guest.snapshot needs name."),
        ("guest.snapshot", {"guest": "101", "name": "x1", "nosuch": 1}, "nosuch"),
    ],
)
def test_what_makes_no_sense_is_refused(ports, tool, args, said):
    with pytest.raises(InputError) as refused:
        plan(tool, ports, **args)
    assert said in str(refused.value)


def test_a_snapshot_that_exists_is_refused(ports, reader):
    reader.extra[101] = {"snapshots": ("before",)}
    with pytest.raises(InputError, match="already"):
        plan("guest.snapshot", ports, guest="101", name="before")


def test_snapshots_with_and_without_memory(ports):
    made = plan("guest.snapshot", ports, guest="101,200,106", name="before", memory=True, description="why")
    assert [dict(step.call.params).get("vmstate") for step in made.steps] == [1, None, None]
    assert made.steps[0].task_types == ("qmsnapshot",)
    assert made.steps[1].task_types == ("vzsnapshot",)
    assert made.summary == "Snapshot 3 guests as before"


def test_power_verbs(ports):
    start = plan("guest.start", ports, guest="106").steps[0]
    assert (start.call.path, start.undo.call.path) == ("/nodes/pve1/qemu/106/status/start", "/nodes/pve1/qemu/106/status/shutdown")
    reboot = plan("guest.reboot", ports, guest="200", timeout_s=60).steps[0]
    assert reboot.undo is None
    assert reboot.no_undo
    assert reboot.task_types == ("vzreboot",)
    assert any(fact.op == "restarted" for fact in reboot.expects)


def test_tags_are_put_on_and_taken_off(ports, reader):
    reader.extra[101] = {"tags": ("old", "prod")}
    reader.extra[200] = {"tags": ()}
    made = plan("guest.set-tags", ports, guest="101,200", add="Web, blue", remove="old")
    first, second = made.steps
    assert first.call.text == f"PUT /nodes/pve1/qemu/101/config  tags=blue;prod;web digest={'a' * 40}"
    assert {(fact.op, fact.value) for fact in first.expects} == {("has", "web"), ("has", "blue"), ("lacks", "old")}
    assert first.undo.call.text == "PUT /nodes/pve1/qemu/101/config  tags=old;prod"
    assert {(fact.op, fact.value) for fact in first.undo.expects} == {("lacks", "web"), ("lacks", "blue"), ("has", "old")}
    assert first.text == "Tags of 101 web-1: add blue, web; remove old"
    assert second.undo.call.text == "PUT /nodes/pve1/lxc/200/config  delete=tags", "it had none"
    assert [(change.before, change.after) for change in made.changes] == [("old, prod", "blue, prod, web"), ("none", "blue, web")]
    assert {"digest", "lock", "tags"} <= {fact.field for fact in first.assumes}
    assert rate_plan(made, bulk_targets=10).tier is Tier.YELLOW
    assert first.task_types == (), "Proxmox VE does this at once"


def test_settings_are_changed_and_the_old_values_kept(ports, reader):
    reader.extra[101] = {"config.cores": 2, "config.memory_mib": 2048, "config.onboot": False, "config.description": None}
    made = plan("guest.set-config", ports, guest="101", cores=4, memory_mib=2048, onboot=True, description="the shop")
    (step,) = made.steps
    assert step.call.text == f"PUT /nodes/pve1/qemu/101/config  cores=4 onboot=1 description=the shop digest={'a' * 40}"
    assert step.undo.call.text == "PUT /nodes/pve1/qemu/101/config  cores=2 onboot=0 delete=description"
    assert {fact.key: fact.value for fact in step.expects} == {
        "guest/101.config.cores": 4, "guest/101.config.onboot": True, "guest/101.config.description": "the shop",
    }  # fmt: skip
    assert [(change.what, change.before, change.after) for change in made.changes] == [
        ("101 web-1, cores", "2", "4"), ("101 web-1, onboot", "no", "yes"), ("101 web-1, description", "none", "the shop"),
    ]  # fmt: skip
    assert "next start" in step.note
    assert rate_plan(made, bulk_targets=10).tier is Tier.YELLOW
    assert rate_plan(plan("guest.set-config", ports, guest="101", protection=True), bulk_targets=10).tier is Tier.RED
    reader.extra[200] = {"config.cores": None, "config.swap_mib": 512}
    (box,) = plan("guest.set-config", ports, guest="200", cores=1, swap_mib=0).steps
    assert (box.undo.call.text, box.note) == ("PUT /nodes/pve1/lxc/200/config  swap=512 delete=cores", "")
    reader.extra[101]["config.description"] = "a\nlong " + "story " * 20
    dropped = plan("guest.set-config", ports, guest="101", description="")
    assert ("delete", "description") in dropped.steps[0].call.params
    assert dropped.changes[0].before.endswith("…")


def test_the_inverse_of_a_setting_is_held_to_what_was_read(ports, reader):
    reader.extra[101] = {"config.cores": 2}
    made = plan("guest.set-config", ports, guest="101", cores=4)
    reader.extra[101] = {"config.cores": 4, "digest": "b" * 40}
    back = undo_plan(made, ["s1"], ports)
    assert back.steps[0].call.text == f"PUT /nodes/pve1/qemu/101/config  cores=2 digest={'b' * 40}"
    reader.extra[101] = {"config.cores": 8, "digest": "c" * 40}
    with pytest.raises(InputError, match=r"guest/101.config.cores is 8, not 4"):
        undo_plan(made, ["s1"], ports)
    reader.extra[101] = {"config.cores": 4, "digest": None}
    assert undo_plan(made, ["s1"], ports).steps[0].call.text.endswith("cores=2")


@pytest.mark.parametrize(
    ("tool", "args", "said"),
    [
        ("guest.set-tags", {}, "Which tags?"),
        ("guest.set-tags", {"add": "a", "remove": "A"}, "on and taken off at once"),
        ("guest.set-tags", {"add": "prod"}, "would keep the tags"),
        ("guest.set-tags", {"add": "a b"}, "cannot be a tag"),
        ("guest.set-tags", {"add": "ä"}, "cannot be a tag"),
        ("guest.set-config", {}, "Which settings?"),
        ("guest.set-config", {"cores": 0}, "greater than or equal to 1"),
        ("guest.set-config", {"swap_mib": 512}, "a virtual machine, which has no swap_mib"),
        ("guest.set-config", {"guest": "200", "sockets": 2}, "a container, which has no sockets"),
        ("guest.set-config", {"startup": "first"}, "is no start order"),
        ("guest.set-config", {"cores": 2}, "is set like this already"),
        ("guest.set-config", {"onboot": "perhaps"}, "onboot"),
    ],
)
def test_settings_that_make_no_sense(ports, reader, tool, args, said):
    reader.extra[101] = {"config.cores": 2}
    with pytest.raises(InputError) as refused:
        plan(tool, ports, **{"guest": "101", **args})
    assert said in str(refused.value)


def test_a_guest_that_vanishes_or_is_silent_cannot_be_planned_for(ports, reader):
    real = reader.facts
    reader.facts = lambda subjects: Facts(values={}, missing=frozenset({"guest/101"}), read_at=NOW)
    with pytest.raises(UnknownName, match="is gone"):
        plan("guest.reboot", ports, guest="101")
    reader.facts = lambda subjects: Facts(values=real(subjects).values, unknown={"guest/101": "pve1 is silent"}, read_at=NOW)
    with pytest.raises(InputError, match="pve1 is silent"):
        plan("guest.reboot", ports, guest="101")


def test_undo_is_a_fresh_plan_in_reverse(ports, reader):
    made = plan("guest.migrate", ports, guest="101,200", target="pve2")
    for index, row in enumerate(reader.rows):
        if row.vmid in (101, 200):
            reader.rows[index] = guest(row.vmid, row.name, "pve2", row.kind)
    back = undo_plan(made, ["s1", "s2"], ports)
    assert [step.call.path for step in back.steps] == ["/nodes/pve2/lxc/200/migrate", "/nodes/pve2/qemu/101/migrate"]
    assert back.steps[0].assumes
    assert {step.no_undo for step in back.steps} == {"what was taken back can be proposed again"}
    assert [change.after for change in back.changes] == ["pve1", "pve1"]
    only = undo_plan(made, ["s1"], ports)
    assert only.action == "undo"
    reader.rows[0] = guest(101, "web-1", "pve3")
    with pytest.raises(InputError, match="no longer what it was"):
        undo_plan(made, ["s1"], ports)
    with pytest.raises(InputError, match="Nothing of this ran"):
        undo_plan(made, [], ports)
    with pytest.raises(InputError, match="cannot be taken back"):
        undo_plan(plan("guest.reboot", ports, guest="200"), ["s1"], ports)


def test_read_tools_tell_what_they_could_not_see():
    partial = Ports(
        "lab", Memory(gaps=(Gap(what="some guests", why="the token may not see all of them", needs="VM.Audit on /vms"),)), StepClock()
    )
    result = REGISTRY.read("guest.list", {"status": "stopped"}, partial)
    assert result.status == "partial"
    assert "Not seen: some guests" in result.text
    none = REGISTRY.read("guest.list", {"tag": "nosuch"}, Ports("lab", Memory(), StepClock()))
    assert (none.status, none.text) == ("no_data", "None of 7 guests match: guests with tag nosuch.")
    fullest = REGISTRY.read("node.fullest", {}, Ports("lab", Memory(), StepClock()))
    assert fullest.text.startswith("pve1 is fullest by memory: 94")
    assert "nearly full: ceph" in REGISTRY.read("storage.list", {}, Ports("lab", Memory(), StepClock())).text


def test_kinds_are_not_mixed_up(ports):
    with pytest.raises(InputError, match="makes a plan"):
        REGISTRY.read("guest.start", {"guest": "106"}, ports)
    with pytest.raises(InputError, match="only reads"):
        REGISTRY.plan("guest.list", {}, ports)
    with pytest.raises(UnknownName) as unknown:
        REGISTRY.get("guest.lst")
    assert "guest" in unknown.value.hint


class Undocumented(Args):
    """Which."""

    x: int


class Documented(Args):
    """Which."""

    x: int = Field(description="a number")


def tool(**more):
    def run(args, ports):
        """Does it."""

    fields = {
        "name": "guest.dance",
        "kind": "read",
        "title": "Dance",
        "doc": "Does it.",
        "args": NoArgs,
        "run": run,
        "privileges": ("VM.Audit",),
    }
    return Tool(**{**fields, **more})


@pytest.mark.parametrize(
    "bad",
    [
        {"name": "Dance"},
        {"name": "guest.list"},
        {"doc": " "},
        {"title": ""},
        {"args": Undocumented},
        {"run": lambda args: None},
        {"run": lambda ports, args: None},
    ],
)
def test_a_tool_that_is_not_whole_is_found_at_start(bad):
    with pytest.raises(ValueError, match=r"."):
        Registry((*REGISTRY, tool(**bad)))


def test_a_whole_one_is_taken_and_must_return_what_it_promised(ports):
    registry = Registry((*REGISTRY, tool(args=Documented)))
    assert len(registry) == len(REGISTRY) + 1
    with pytest.raises(TypeError):
        registry.read("guest.dance", {"x": 1}, ports)
    with pytest.raises(TypeError):
        Registry((tool(kind="plan"),)).plan("guest.dance", {}, ports)


ODD = st.dictionaries(st.sampled_from(["name", "node", "status", "cpu", "mem", "maxmem", "template", "tags", "lock", "uptime", "type", "content", "shared", "disk"]),
                      st.none() | st.text(max_size=5) | st.integers(-5, 5) | st.floats(allow_nan=False) | st.booleans())  # fmt: skip


@given(ODD)
def test_no_row_of_any_server_breaks_the_parsers(row):
    assert parse.guest({**row, "vmid": 101}).vmid == 101
    assert isinstance(parse.node(row).name, str)
    assert isinstance(parse.storage(row).content, tuple)
    assert parse.task(row) is None
    assert parse.backup(row, "s").storage == "s"
    parse.snapshot(row)


def test_privileges_follow_the_tree():
    have = Privileges({"/": {"VM.Audit": 1, "Sys.Audit": 1}, "/vms/100": {"VM.PowerMgmt": 0}, "/nodes": {"Sys.Audit": 0}})
    assert have.has("VM.Audit", "/vms")
    assert not have.has("VM.Audit", "/vms/100"), "a deeper entry replaces what is inherited"
    assert have.has("VM.PowerMgmt", "/vms/100")
    assert have.has("Sys.Audit", "/nodes"), "not propagated is a grant all the same"
    assert not have.has("Sys.Audit", "/nodes/pve1")
    assert have.missing({"VM.Audit": "/vms", "VM.Migrate": "/vms"}) == {"VM.Migrate": "/vms"}
    assert not Privileges({}).has("VM.Audit", "/")


@pytest.mark.parametrize(
    ("tool", "args"),
    [("guest.migrate", {"target": "pve2"}), ("guest.start", {}), ("guest.shutdown", {}), ("guest.snapshot", {"name": "x1"})],
)
@pytest.mark.parametrize("kind", ["qemu", "lxc"])
def test_the_card_of_an_undo_says_as_much_as_that_of_the_change(ports, reader, tool, args, kind):
    reader.rows = [guest(101, "web-1", kind=kind, status="stopped" if tool == "guest.start" else "running")]
    (step,) = plan(tool, ports, guest="101", **args).steps
    assert step.undo.expected_s is not None, "it says how long it takes"
    if tool == "guest.migrate":
        assert step.undo.note == step.note == ("live, no downtime" if kind == "qemu" else "container, restarts, about 12 s down")
        assert step.undo.expected_s == step.expected_s
