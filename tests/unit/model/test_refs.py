import pytest
from hypothesis import given
from hypothesis import strategies as st

from pveops.base.errors import InputError
from pveops.clients.cluster.wire import check_path
from pveops.model.refs import GuestRef, NodeRef, StorageRef, check_snapshot

BAD = ["", ".", "..", "a/b", "../x", "a#b", "a?b", "a%2fb", "a b", "ä", "-a", "a-", "a\n", "x" * 64]


@pytest.mark.parametrize("name", BAD)
def test_no_node_or_storage_name_can_leave_its_place_in_a_path(name):
    with pytest.raises(InputError):
        NodeRef(name)
    if name != "x" * 64:
        with pytest.raises(InputError):
            StorageRef("pve1", name)


@given(st.text(max_size=30))
def test_whatever_passes_makes_a_path_that_means_only_itself(name):
    for make in (lambda: NodeRef(name).path, lambda: StorageRef("pve1", name).path):
        try:
            path = make()
        except InputError:
            continue
        assert check_path(path) == path
        assert path.count("/") == (2 if path.count("/") == 2 else 4)


@pytest.mark.parametrize("vmid", [99, 0, -1, 1_000_000_000, True])
def test_guest_ids_have_bounds(vmid):
    with pytest.raises(InputError):
        GuestRef(vmid, "qemu", "pve1")


def test_references_name_their_paths_and_subjects():
    ref = GuestRef(101, "qemu", "pve1")
    assert (ref.path, ref.subject, str(ref)) == ("/nodes/pve1/qemu/101", "guest/101", "101")
    assert ref.on("pve2").path == "/nodes/pve2/qemu/101"
    assert (NodeRef("pve1").subject, str(NodeRef("pve1"))) == ("node/pve1", "pve1")
    store = StorageRef("pve1", "nas.backup_1")
    assert (store.subject, str(store)) == ("storage/pve1/nas.backup_1", "nas.backup_1 on pve1")
    with pytest.raises(InputError, match="kind of guest"):
        GuestRef(101, "xen", "pve1")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("before upgrade", "before-upgrade"),
        ("1st", "s-1st"),
        ("a", "s-a"),
        ("", "before-upgrade"),
        ("x" * 41, "x" * 40),
        ("größe", "groesse"),
        ("été", "ete"),
        ("快照", "before-upgrade"),
    ],
)
def test_a_bad_snapshot_name_is_answered_with_a_good_one(name, better):
    with pytest.raises(InputError) as refused:
        check_snapshot(name)
    assert f"Try {better}." in refused.value.hint
    assert check_snapshot(better) == better


def test_current_is_no_snapshot_name():
    with pytest.raises(InputError, match="present state"):
        check_snapshot("current")
