"""Effective privileges: precedence, propagation, pools, tokens."""

from hypothesis import given
from hypothesis import strategies as st

from pveops.sim.privileges import BUILT_IN_ROLES, PRIVILEGES
from pveops.sim.state.access import Access, normalize
from pveops.sim.state.identity import ROOT, Group, Identities, Principal, Token, User

BOB = Principal("bob@pve")
TOKEN = Principal("bob@pve", "tk")


def identities():
    ids = Identities.fresh()
    ids.users["bob@pve"] = User("bob@pve", tokens={"tk": Token("tk", "s"), "full": Token("full", "s", privsep=False)})
    ids.groups["g1"] = Group("g1", members={"bob@pve"})
    return ids


def access(ids, pools=None):
    return Access(ids, (pools or {}).get)


def test_nothing_granted_is_nothing():
    assert access(identities()).privileges(BOB, "/vms/100") == {}


def test_root_may_everything_and_its_token_is_somebody_else():
    ids = identities()
    ids.users[ROOT].tokens["rt"] = Token("rt", "s")
    assert set(access(ids).privileges(Principal(ROOT), "/vms/100")) == PRIVILEGES
    assert access(ids).privileges(Principal(ROOT, "rt"), "/vms/100") == {}


def test_deeper_entries_replace_inherited_ones():
    ids = identities()
    ids.grant("/", "user", "bob@pve", "PVEAdmin")
    ids.grant("/vms/100", "user", "bob@pve", "PVEAuditor")
    assert access(ids).may(BOB, "/vms/101", "VM.PowerMgmt")
    assert not access(ids).may(BOB, "/vms/100", "VM.PowerMgmt")
    assert access(ids).may(BOB, "/vms/100", "VM.Audit")


def test_user_entries_win_over_group_entries_of_the_same_path():
    ids = identities()
    ids.grant("/vms", "group", "g1", "PVEVMAdmin")
    assert access(ids).may(BOB, "/vms/100", "VM.Allocate")
    ids.grant("/vms", "user", "bob@pve", "PVEAuditor")
    assert not access(ids).may(BOB, "/vms/100", "VM.Allocate")


def test_entries_that_do_not_propagate_hold_for_their_path_only():
    ids = identities()
    ids.grant("/vms", "user", "bob@pve", "PVEAuditor", propagate=False)
    assert access(ids).privileges(BOB, "/vms")["VM.Audit"] == 0
    assert access(ids).privileges(BOB, "/vms/100") == {}


def test_no_access_takes_everything():
    ids = identities()
    ids.grant("/", "user", "bob@pve", "Administrator")
    ids.grant("/vms/100", "user", "bob@pve", "NoAccess")
    assert access(ids, {"/vms/100": "p1"}).privileges(BOB, "/vms/100") == {}


def test_a_pool_gives_its_role_on_members_without_propagating():
    ids = identities()
    ids.grant("/pool/p1", "user", "bob@pve", "PVEVMUser")
    found = access(ids, {"/vms/100": "p1"})
    assert found.privileges(BOB, "/vms/100") == dict.fromkeys(BUILT_IN_ROLES["PVEVMUser"], 0)
    assert found.privileges(BOB, "/pool/p1")["VM.Audit"] == 1
    assert found.privileges(BOB, "/vms/101") == {}


def test_a_separated_token_has_its_own_entries_within_those_of_its_user():
    ids = identities()
    ids.grant("/", "token", "bob@pve!tk", "PVEAdmin")
    assert access(ids).privileges(TOKEN, "/vms/100") == {}
    ids.grant("/", "user", "bob@pve", "PVEAuditor")
    assert set(access(ids).privileges(TOKEN, "/vms/100")) == BUILT_IN_ROLES["PVEAuditor"]
    assert set(access(ids).privileges(Principal("bob@pve", "full"), "/vms/100")) == BUILT_IN_ROLES["PVEAuditor"]


def test_answers_follow_changes():
    ids = identities()
    found = access(ids)
    assert not found.may(BOB, "/vms/100", "VM.Audit")
    ids.grant("/vms/100", "user", "bob@pve", "PVEAuditor")
    assert found.may(BOB, "/vms/100", "VM.Audit")
    ids.revoke("/vms/100", "user", "bob@pve", "PVEAuditor")
    assert not found.may(BOB, "/vms/100", "VM.Audit")


ROLES = st.sampled_from(sorted(BUILT_IN_ROLES))
PATHS = st.sampled_from(["/", "/vms", "/vms/100", "/storage", "/storage/local", "/nodes/pve1"])


@given(st.lists(st.tuples(PATHS, ROLES, st.booleans()), max_size=6), st.lists(st.tuples(PATHS, ROLES), max_size=6), PATHS)
def test_a_token_never_has_more_than_its_user(entries, token_entries, path):
    ids = identities()
    for where, role, propagate in entries:
        ids.grant(where, "user", "bob@pve", role, propagate=propagate)
    for where, role in token_entries:
        ids.grant(where, "token", "bob@pve!tk", role)
    found = access(ids)
    assert set(found.privileges(TOKEN, path)) <= set(found.privileges(BOB, path))


@given(st.text(max_size=30))
def test_normal_paths_are_normal(text):
    path = normalize(text)
    if path:
        assert normalize(path) == path
        assert path == "/" or (path.startswith("/") and not path.endswith("/") and "//" not in path)
