"""The seed: what fits is kept as it is, what does not is named."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pveops.base.errors import ConfigError
from pveops.base.seed import FORMAT, SECRET_KEYS, VERSION, check_seed, read_seed, write_seed

GOOD = {
    "format": FORMAT, "version": VERSION, "name": "lab", "taken_s": 1_795_262_400.5, "options": {"keyboard": "en-us"},
    "nodes": [{"name": "pve1", "online": True, "memory": 64 << 30}, {"name": "pve2", "online": False}],
    "storages": [{"storage": "local-lvm", "type": "lvmthin", "total": 100, "sizes": {"pve2": 90}, "full": {"pve1": 0.5},
                  "volumes": [{"volid": "local-lvm:vm-101-disk-0", "content": "images", "size": 5, "node": "pve1", "used_fraction": 0.5}]}],
    "guests": [{"vmid": 101, "type": "qemu", "node": "pve1", "config": {"name": "web-1", "cores": 2}, "pending": {"cores": 4, "tags": None},
                "snapshots": [{"name": "before", "snaptime": 3, "vmstate": False}], "cpu_fraction": 0.2, "paces": {"start_s": 1.5}}],
    "pools": [{"poolid": "a/b", "vms": [101]}],
    "ha": [{"sid": "vm:101", "state": "started"}],
    "replication": [{"id": "101-0", "guest": 101, "target": "pve2"}],
}  # fmt: skip

names = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
settings_of = st.dictionaries(names.filter(lambda name: name not in SECRET_KEYS), st.text() | st.integers(0, 1 << 40), max_size=4)


@st.composite
def seeds(draw):
    nodes = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    vmids = draw(st.lists(st.integers(100, 9999), max_size=4, unique=True))
    guests = [
        {"vmid": vmid, "type": draw(st.sampled_from(["qemu", "lxc"])), "node": draw(st.sampled_from(nodes)), "config": draw(settings_of),
         "running": draw(st.booleans()), "uptime_s": draw(st.integers(0, 1 << 31)), "mem_fraction": draw(st.floats(0, 1))}
        for vmid in vmids
    ]  # fmt: skip
    return {
        "format": FORMAT,
        "version": VERSION,
        "taken_s": draw(st.floats(0, 4e9)),
        "nodes": [{"name": name} for name in nodes],
        "guests": guests,
    }


@settings(max_examples=25, deadline=None)
@given(seed=seeds())
def test_what_is_written_is_read_back_as_it_was(tmp_path_factory, seed):
    file = tmp_path_factory.mktemp("seed") / "seed.json"
    write_seed(file, seed)
    assert read_seed(file) == seed
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_whole_seed_fits():
    assert check_seed(copy.deepcopy(GOOD)) == GOOD


BAD = [
    (lambda seed: seed.pop("nodes"), "nodes is missing"),
    (lambda seed: seed["nodes"].clear(), "nodes is empty"),
    (lambda seed: seed["nodes"][0].update(name=7), "nodes[0].name is 7, not a text"),
    (lambda seed: seed["nodes"][1].update(name="pve1"), "nodes[1].name is 'pve1', which another one has already"),
    (lambda seed: seed["nodes"][0].update(name="../x"), "nodes[0].name is '../x', which is no name"),
    (lambda seed: seed["nodes"][0].update(memory=True), "nodes[0].memory is True, not a whole number"),
    (lambda seed: seed["nodes"][0].update(memory=-1), "nodes[0].memory is -1, which is below zero"),
    (lambda seed: seed["nodes"][0].update(colour="red"), "nodes[0].colour is not a field of a seed"),
    (lambda seed: seed["guests"].append(3), "guests[1] is 3, not an object"),
    (lambda seed: seed["guests"][0].update(vmid=7), "guests[0].vmid is 7; ids go from 100"),
    (lambda seed: seed["guests"][0].update(type="kvm"), "guests[0].type is 'kvm', not qemu or lxc"),
    (lambda seed: seed["guests"][0].update(node="pve9"), "guests[0].node is 'pve9', and there is no such node"),
    (lambda seed: seed["guests"][0].update(cpu_fraction=1.5), "guests[0].cpu_fraction is 1.5, which is above 1"),
    (lambda seed: seed["guests"][0].update(cpu_fraction=float("nan")), "guests[0].cpu_fraction is nan, not a number"),
    (lambda seed: seed["guests"][0]["config"].update(net0={"a": 1}), "guests[0].config.net0 is an object, not a text or number"),
    (lambda seed: seed["guests"][0]["config"].update(cores=None), "guests[0].config.cores is None, not a text or number"),
    (lambda seed: seed["guests"][0]["snapshots"][0].pop("name"), "guests[0].snapshots[0].name is missing"),
    (lambda seed: seed["guests"][0]["paces"].update(warp=9), "guests[0].paces.warp is not a field of a seed"),
    (lambda seed: seed["storages"][0]["volumes"][0].update(size="5G"), "storages[0].volumes[0].size is '5G', not a whole number"),
    (lambda seed: seed["storages"][0]["sizes"].update(pve1="big"), "storages[0].sizes.pve1 is 'big', not a number"),
    (lambda seed: seed["pools"][0].update(vms=["x"]), "pools[0].vms[0] is 'x', not a whole number"),
    (lambda seed: seed["options"].update(password="x"), "options.password is a secret"),
    (lambda seed: seed.update(format="yaml"), "format is 'yaml', not pveops-seed"),
]


@pytest.mark.parametrize(("spoil", "said"), BAD, ids=[said for _, said in BAD])
def test_what_does_not_fit_is_named(spoil, said):
    seed = copy.deepcopy(GOOD)
    spoil(seed)
    with pytest.raises(ConfigError) as caught:
        check_seed(seed, "The seed lab.json")
    assert said in caught.value.message
    assert caught.value.message.startswith("The seed lab.json")
    assert "docs/twin.md" in caught.value.hint


@pytest.mark.parametrize("name", sorted(SECRET_KEYS))
def test_a_secret_is_refused_wherever_it_stands(name):
    for place in ("config", "pending"):
        seed = copy.deepcopy(GOOD)
        seed["guests"][0][place][name] = "hunter2"
        with pytest.raises(ConfigError, match="is a secret, and a seed holds none") as caught:
            check_seed(seed)
        assert "hunter2" not in str(caught.value)


def test_another_version_is_told_as_such():
    with pytest.raises(ConfigError, match="is of version 2; this pveops reads version 1"):
        check_seed({**GOOD, "version": 2})


keys = st.sampled_from(["format", "version", "nodes", "guests", "name", "vmid", "x"])


@settings(max_examples=60, deadline=None)
@given(
    data=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=8,
    )
)
def test_nothing_else_is_a_seed_and_nothing_else_is_raised(data):
    with pytest.raises(ConfigError):
        check_seed(data)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a": 1}', "null"])
def test_a_file_that_is_no_seed_is_told(tmp_path, text):
    file = tmp_path / "seed.json"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_seed(file)
    assert str(file) in caught.value.message


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"Cannot read the seed .*: No such file"):
        read_seed(tmp_path / "none.json")
    with pytest.raises(ConfigError):
        write_seed(tmp_path / "bad.json", json.loads("{}"))
    assert not (tmp_path / "bad.json").exists()
