from dataclasses import replace

from pveops.guard.audit.changes import Changes
from pveops.guard.principals import save_principals
from pveops.testing.guarded import Guarded


def changes(guarded):
    return Changes(guarded.ledger, guarded.policy, guarded.principals, guarded.kill)


def said(guarded):
    return [record["data"]["what"] for record in guarded.ledger.records(limit=1)]


def test_only_what_differs_is_written_down(tmp_path):
    guarded = Guarded(tmp_path)
    watch = changes(guarded)
    assert watch.look() == ["policy.changed", "principals.changed", "kill.found"]
    assert watch.look() == []
    guarded.ledger.append("kill.off", actor="test")
    assert changes(guarded).look() == [], "what the ledger knows already is no news after a restart"

    file = tmp_path / "policy" / "homelab.cedar"
    file.write_text(file.read_text() + "\n// tighter\n")
    assert watch.look() == ["policy.changed"]
    assert said(guarded)[0].startswith("policy ")
    file.write_text("permit everything")
    assert watch.look() == ["policy.changed"]
    assert said(guarded)[0].startswith("not usable: ")


def test_the_register_of_principals(tmp_path):
    guarded = Guarded(tmp_path)
    watch = changes(guarded)
    watch.look()
    known = {one.name: one for one in guarded.principals.all()}
    register = tmp_path / "principals.json"
    gone = known.pop("viewer")
    known["agent"] = replace(known["agent"], roles=("operator",))
    save_principals(register, [*known.values(), replace(gone, name="mallory", token_sha256="0" * 64)])
    assert watch.look() == ["principals.changed"]
    assert said(guarded) == ["new: mallory; gone: viewer; changed: agent"]
    kept = register.read_bytes()
    register.write_text("{")
    assert watch.look() == ["principals.changed"]
    assert said(guarded)[0].startswith("not usable: ")
    register.write_bytes(kept)
    watch.look()
    assert said(guarded)[0].startswith("new: ")


def test_an_empty_register_that_works_again_is_mended(tmp_path):
    guarded = Guarded(tmp_path)
    save_principals(tmp_path / "principals.json", [])
    watch = changes(guarded)
    (tmp_path / "principals.json").write_text("{")
    watch.look()
    save_principals(tmp_path / "principals.json", [])
    watch.look()
    assert said(guarded) == ["mended"]


def test_a_switch_that_somebody_edited_is_found_and_one_that_spoke_is_not(tmp_path):
    guarded = Guarded(tmp_path)
    watch = changes(guarded)
    watch.look()
    guarded.executor.kill(guarded.who("operator"), on=True, why="fire")
    assert watch.look() == []
    (tmp_path / "kill.json").write_text("corrupt")
    assert watch.look() == [], "on it was, on it is"
    guarded.kill.turn(on=False, why="by hand", by="mallory")
    assert watch.look() == ["kill.found"]
    assert said(guarded) == ["the kill switch was found off"]
    guarded.ledger.append("kill.refused", actor="agent", data={"on": True})
    assert changes(guarded).look() == []
