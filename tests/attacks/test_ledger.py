"""Attacks on the audit ledger, from outside, on real processes: each is found, its first bad record is named, and nothing is written without a ledger."""

import json
import os
import resource
import shutil
import subprocess
import time

import pytest

from pveops.app.handles import status_of
from pveops.base.canon import canonical
from pveops.base.errors import AuditError, PveopsError
from pveops.base.files import write_whole
from pveops.guard.audit.lines import GENESIS, write_line
from pveops.model.proposal import Origin
from pveops.testing.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    root = tmp_path_factory.mktemp("ledger")
    running = Stack(root, guests=8, nodes=2)
    with running:
        running.executor.stop()
        repository = root / "anchors"
        subprocess.run(["git", "init", "-q", str(repository)], check=True)
        with running.home.config.open("a", encoding="utf-8") as config:
            config.write(f'\n[audit]\nanchors = ["file:{root}/elsewhere.jsonl", "git:{repository}"]\ncheckpoint_every_s = 1\n')
        running.start_executor()
        for name in ("one", "two"):
            change(running, name)
        running.executor.stop()  # the last thing it does is to sign
        yield running


def change(stack, name):
    plan = stack.ops().draft("guest.snapshot", guest="101", name=name).plan
    view = stack.client().propose(plan, author="person", origin=Origin(surface="test"))
    stack.client().approve(view, channel="cli")
    deadline = time.monotonic() + 30
    while status_of(stack.client().proposal(view.proposal.id)) not in ("done", "warned", "failed"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def rows(stack):
    """The lines of the ledger; whatever a test does to it, to its book or to the anchors is undone."""
    places, kept = (stack.home.ledger.parent, stack.root / "anchors"), stack.root / "kept"
    anchor = stack.root / "elsewhere.jsonl"
    before = anchor.read_bytes()
    for place in places:
        shutil.copytree(place, kept / place.name)
    yield stack.home.ledger.read_bytes().splitlines(keepends=True)
    for place in places:
        shutil.rmtree(place)
        (kept / place.name).rename(place)
    anchor.write_bytes(before)


def verify(stack, *words):
    ran = stack.cli("audit", "verify", "-o", "json", *words)
    return ran.returncode, json.loads(ran.stdout) if ran.stdout else {}, ran.stderr


def anew(rows, start):
    """The lines from ``start`` (a number) on in a chain that holds, the first of them with another actor."""
    prev, made = json.loads(rows[start - 2])["hash"] if start > 1 else GENESIS, list(rows[: start - 1])
    for number, raw in enumerate(rows[start - 1 :], start=start):
        record = json.loads(raw)["record"]
        line, prev = write_line(canonical({**record, "actor": "nobody"} if number == start else record), seq=number, prev=prev)
        made.append(line)
    return made


def test_the_whole_ledger_is_whole(stack, rows):
    code, found, said = verify(stack)
    assert (code, found["ok"], found["records"]) == (0, True, len(rows)), said
    assert found["covered"] == len(rows), "the executor signed its last word"
    assert found["checkpoints"] >= 6, "the book, the file and the repository agree"


EDITS = {
    "edit": (lambda rows: [*rows[:4], rows[4].replace(b'"actor":"', b'"actor":"x', 1), *rows[5:]], 5),
    "delete": (lambda rows: [*rows[:4], *rows[5:]], 5),
    "reorder": (lambda rows: [*rows[:4], rows[5], rows[4], *rows[6:]], 5),
    "duplicate": (lambda rows: [*rows[:5], rows[4], *rows[5:]], 6),
}


@pytest.mark.parametrize("kind", EDITS)
def test_a_careless_hand_is_found_by_the_chain(stack, rows, kind):
    change, bad = EDITS[kind]
    stack.home.ledger.write_bytes(b"".join(change(rows)))
    stack.home.checkpoints.unlink()
    code, found, said = verify(stack)
    assert (code, found["ok"], found["bad_line"]) == (9, False, bad)
    assert found["records"] == bad - 1
    assert "Traceback" not in said


def test_truncation_is_found_by_what_is_kept_elsewhere(stack, rows):
    stack.home.ledger.write_bytes(b"".join(rows[:5]))
    stack.home.checkpoints.unlink()
    code, found, _ = verify(stack)
    assert (code, found["bad_seq"]) == (9, 6)
    assert f"records 6 to {len(rows)} are missing" in found["why"]


def test_a_full_rewrite_by_the_owner_of_every_file_is_found_by_an_anchor(stack, rows):
    """The attacker has the home and its keys, signs the new chain and replaces the book; only the copy elsewhere tells."""
    from pveops.app.audit import ledger_key
    from pveops.base.clock import SystemClock
    from pveops.guard.audit import Ledger
    from pveops.guard.audit.notary import Notary

    anchor = stack.root / "elsewhere.jsonl"
    stack.home.ledger.write_bytes(b"".join(anew(rows, 4)))
    stack.home.checkpoints.unlink()
    Notary(
        ledger=Ledger(stack.home.ledger, SystemClock()), book=stack.home.checkpoints, key=ledger_key(stack.home), executor="x-1", anchors=(),
        clock=SystemClock(), every_s=1, every_records=1,
    ).sign()  # fmt: skip
    seen = sorted(json.loads(line)["size"] for line in anchor.read_text().splitlines())
    first = next((size for size in seen if size >= 4), 0)
    last_good = max((size for size in seen if size < 4), default=0)
    for words in ((), ("--anchor", str(anchor)), ("--anchor", f"git:{stack.root}/anchors")):
        code, found, said = verify(stack, *words)
        assert (code, found["bad_seq"]) == (9, last_good + 1), said
        assert f"between record {last_good + 1} and record {first}" in found["why"]
    copy = stack.root / "copy.jsonl"
    copy.write_bytes(b"".join(rows))
    code, found, _ = verify(stack, "--ledger", str(stack.home.ledger), "--copy", str(copy))
    assert (code, found["bad_seq"]) == (9, 4), "a copy names the very record"


def test_a_rewrite_under_a_new_key_is_found(stack, rows):
    from pveops.model.claims import new_key

    stack.home.ledger_public_key.write_text(new_key()[1] + "\n")
    code, _, said = verify(stack)
    assert code == 9
    assert "checkpoints of other keys" in said


def test_a_forged_checkpoint_is_not_believed(stack, rows):
    one = json.loads((stack.root / "elsewhere.jsonl").read_text().splitlines()[0])
    forged = stack.root / "forged.txt"
    forged.write_text(f"Nov 21 10:00:00 host pveops[1]: pveops-checkpoint {json.dumps(one | {'size': 1}, separators=(',', ':'))}\n")
    code, _, said = verify(stack, "--anchor", str(forged))
    assert code == 9
    assert "does not carry the signature" in said
    forged.write_text("nothing here\n")
    assert verify(stack, "--anchor", str(forged))[0] == 9
    assert verify(stack, "--anchor", str(stack.root / "none"))[0] == 2


def test_an_executor_does_not_start_on_a_ledger_that_lost_records_until_it_is_set_aside(stack, rows):
    stack.home.ledger.write_bytes(b"".join(rows[:5]))
    key, switch = stack.home.ledger_key.read_text(), stack.home.kill_switch.read_text()
    started = stack.cli("executor", "run", timeout_s=30)
    assert started.returncode == 9
    assert "not the one that the checkpoint" in started.stderr
    assert "audit verify" in started.stderr
    assert stack.cli("audit", "set-aside", "--why", " ").returncode == 2
    aside = stack.cli("audit", "set-aside", "--why", "the disk was restored")
    assert aside.returncode == 0, aside.stderr
    stack.start_executor()
    try:
        assert stack.client().kill_state().on
        first = stack.client().audit(limit=100)[0]
        assert (first["kind"], first["data"]["why"]) == ("ledger.set_aside", "the disk was restored")
        assert stack.cli("audit", "verify").returncode == 9, "anchors still hold what was signed with the old key: that is said"
        assert stack.cli("audit", "verify", "--other-keys").returncode == 0
        assert stack.cli("audit", "set-aside", "--why", "again").returncode == 3, "an executor runs"
    finally:
        stack.executor.stop()
    write_whole(stack.home.ledger_key, key.encode())
    write_whole(stack.home.kill_switch, switch.encode())


@pytest.fixture
def running(stack, rows):
    stack.start_executor()
    yield stack
    stack.executor.stop()


def refused(stack, name):
    """Nothing of a change gets through; returns what was said."""
    before = len(stack.writes())
    with pytest.raises(PveopsError) as said:
        change(stack, name)
    time.sleep(0.3)
    assert len(stack.writes()) == before, "a write got through"
    return said.value


def test_no_audit_no_action(running):
    full_disk(running)
    changes_under_its_hands(running)


def full_disk(running):
    """A limit of the kernel on the size of files stands for the disk: the executor cannot write another byte to the ledger."""
    pid, size = running.executor.pid, running.home.ledger.stat().st_size
    before = len(running.writes())
    view = running.client().propose(
        running.ops().draft("guest.snapshot", guest="101", name="full").plan, author="person", origin=Origin(surface="test")
    )
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
    with pytest.raises(PveopsError):
        running.client().approve(view, channel="cli")
    time.sleep(0.5)
    assert len(running.writes()) == before
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
    change(running, "room-again")
    assert len(running.writes()) == before + 1
    assert running.cli("audit", "verify").returncode == 0


def changes_under_its_hands(running):
    ledger = running.home.ledger
    kept = ledger.with_name("kept")
    attacks = {
        "truncated": lambda: os.truncate(ledger, ledger.stat().st_size - 200),
        "appended": lambda: ledger.write_bytes(ledger.read_bytes() + b'{"hash":"forged"}\n'),
        "replaced": lambda: shutil.copy(kept, ledger),
        "removed": lambda: None,
        "read-only medium": lambda: ledger.symlink_to("/proc/version"),
        "full disk": lambda: ledger.symlink_to("/dev/full"),
    }
    for name, attack in attacks.items():
        copy = ledger.read_bytes()
        if name in ("replaced", "removed", "read-only medium", "full disk"):
            ledger.rename(kept)
        attack()
        said = refused(running, f"no-{name[:4]}")
        assert isinstance(said, AuditError), name
        if kept.exists():
            kept.replace(ledger)
        ledger.write_bytes(copy)  # into the same file: as if nothing had happened
        running.executor.stop()  # one that has seen the forgery trusts the file no more
        running.start_executor()
    change(running, "whole-again")
