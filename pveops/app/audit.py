"""Wires the audit ledger of a home: its index, the executor's key, the checkpoints and where they are anchored."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from pveops.app.restrictions import restrictions
from pveops.base.clock import Clock
from pveops.base.errors import AuditError, ConfigError, InputError
from pveops.base.files import OwnerLock, read_secret, write_whole
from pveops.base.secret import Secret
from pveops.base.version import VERSION
from pveops.guard.audit.anchors import anchor_of
from pveops.guard.audit.changes import Changes
from pveops.guard.audit.check import Finding, verify
from pveops.guard.audit.checkpoint import Checkpoint, checkpoints_in, trusted
from pveops.guard.audit.ledger import Ledger
from pveops.guard.audit.notary import Notary, read_book
from pveops.guard.audit.proof import prove
from pveops.guard.killswitch import KillSwitch
from pveops.guard.policy import Policy
from pveops.model.claims import new_key, public_of
from pveops.settings.home import Home
from pveops.settings.profile import AuditOptions, load_config
from pveops.store.ledger_index import LedgerIndex

_FULL_LOOK_S = 86_400.0
_LOG = logging.getLogger("pveops.audit")


class Seal:
    """What a running executor does for its ledger beside appending: sign, anchor, look for changes made by others, walk it all once a day."""

    def __init__(self, ledger: Ledger, notary: Notary, changes: Changes, clock: Clock) -> None:
        self._ledger = ledger
        self._notary = notary
        self._changes = changes
        self._clock = clock
        self._looked_s: float | None = None

    def open(self) -> None:
        """Compare the ledger with the last checkpoint.

        Raises:
            AuditError: it is not the one that was signed; nobody may act on it.
        """
        self._notary.open()

    def start(self) -> None:
        """Write down that we are here, and what has changed meanwhile.

        Raises:
            AuditError: the ledger cannot be written.
        """
        data = {"what": f"pveops {VERSION}", "pid": os.getpid(), "uid": os.getuid(), "key": self._notary.public_key}
        self._ledger.append("executor.started", actor="executor", data=data)
        self._changes.look()
        self._notary.sign()

    def tick(self) -> None:
        """Do what is due.

        Raises:
            AuditError: the ledger is damaged or cannot be written.
        """
        now_s = self._clock.monotonic_s()
        if self._looked_s is None or now_s - self._looked_s > _FULL_LOOK_S:
            self._looked_s = now_s
            self._notary.check()
        self._changes.look()
        self._notary.tick()

    def stop(self) -> None:
        """Write down that we leave, and sign the end."""
        try:
            self._ledger.append("executor.stopped", actor="executor")
            self._notary.sign()
        except AuditError as err:
            _LOG.critical("the end is not in the ledger", extra={"error": err.message})


def open_ledger(home: Home, clock: Clock) -> Ledger:
    """The ledger of a home with its index."""
    return Ledger(home.ledger, clock, LedgerIndex(home.ledger_index))


def open_notary(home: Home, ledger: Ledger, options: AuditOptions, *, executor: str, clock: Clock) -> Notary:
    """The notary of a home; its key is made at the first start.

    Raises:
        ConfigError: the key is not usable, or an anchor is none.
    """
    notary = Notary(
        ledger=ledger, book=home.checkpoints, key=ledger_key(home), executor=executor, anchors=[anchor_of(one) for one in options.anchors], clock=clock,
        every_s=options.checkpoint_every_s, every_records=options.checkpoint_every_records,
    )  # fmt: skip
    if not home.ledger_public_key.exists():
        write_whole(home.ledger_public_key, f"{notary.public_key}\n".encode(), mode=0o644)
    return notary


def ledger_key(home: Home) -> Secret:
    """The key that signs checkpoints, made where there is none.

    Raises:
        ConfigError: it cannot be read or is open to others.
        AuditError: it is damaged, or gone although it was used.
    """
    if not home.ledger_key.exists():
        if home.checkpoints.exists():
            raise AuditError(
                f"{home.ledger_key} is gone, and there are checkpoints that were signed with it.",
                hint="Restore it from a backup (`pveops state restore`), or begin a new ledger with `pveops audit set-aside --why …`.",
            )
        private, _ = new_key()
        write_whole(home.ledger_key, f"{private.reveal()}\n".encode())
    key = read_secret(home.ledger_key, "the key of the ledger")
    try:
        public_of(key)
    except ValueError as err:
        raise AuditError(
            f"{home.ledger_key} holds no key.",
            hint="Restore it from a backup. Without it old checkpoints can still be verified, new ones cannot.",
        ) from err
    return key


def verify_home(
    home: Home,
    *,
    ledger: Path | None = None,
    anchors: Sequence[str] = (),
    key: str = "",
    copy: Path | None = None,
    other_keys: bool = False,
) -> Finding:
    """Verify a ledger.

    Args:
        home: whose; its settings name anchors, which are always asked.
        ledger: another file than the home's own; then only the given anchors are compared with.
        anchors: files with checkpoints in them (an anchor file, a saved log, ``-`` for stdin), or anchors as in the settings.
        key: the public key, or a file that holds it; by default the one beside the ledger.
        copy: a copy of the ledger.
        other_keys: leave out checkpoints that were signed with another key.

    Raises:
        AuditError: there is no ledger, a checkpoint is forged or of another key, or an anchor holds none.
        InputError: something named is not there.
    """
    path = ledger or home.ledger
    found = [] if ledger else [one for one, _ in read_book(home.checkpoints)]
    for text in anchors:
        kept = _kept(text)
        if not kept:
            raise AuditError(f"{text} holds no checkpoints.", hint="Is it the right file? Nothing was compared.")
        found += kept
    for text in () if ledger else load_config(home).audit.anchors:
        found += anchor_of(text).kept()
    if not path.exists() and not found:
        raise AuditError(
            f"There is no audit ledger at {path}.",
            hint="`pveops init` or `pveops up` makes it. If it was there before, somebody removed it.",
        )
    public = public_key(home, key) if found else ""
    if other_keys:
        found = [one for one in found if one.key == public]
    strange = sorted({f"{one.key[:8]}…" for one in found if one.key != public})
    if strange:
        raise AuditError(
            f"There are checkpoints of other keys ({', '.join(strange)}) than the given one ({public[:8]}…).",
            hint="If the ledger was set aside once, verify the old file with its old key, and this one with --other-keys. If not, it was replaced.",
        )
    try:
        return verify(path, trusted(found, public), copy)
    except OSError as err:
        raise AuditError(f"{err.filename or path} cannot be read: {err.strerror}.", hint="Check its owner and mode.") from err


def prove_record(home: Home, seq: int) -> dict[str, Any]:
    """A record with the proof that the newest checkpoint covers it.

    Raises:
        InputError: no checkpoint covers it.
        AuditError: the ledger is damaged.
    """
    return prove(home.ledger, seq, [one for one, _ in read_book(home.checkpoints)])


def public_key(home: Home, given: str = "") -> str:
    """The public key that was given, as digits or as a file; else the one beside the ledger.

    Raises:
        InputError: it cannot be read.
    """
    if len(given) == 64 and not Path(given).exists():
        return given.lower()
    path = Path(given) if given else home.ledger_public_key
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(
            f"The public key cannot be read from {path}.", hint="Give it with --key: 64 hexadecimal digits, or a file."
        ) from err


def own_ledger(home: Home, clock: Clock) -> Ledger:
    """The ledger, for a record that a command writes itself, with the policy in force in it as in all others."""

    def stamp() -> dict[str, Any]:
        try:
            return {"policy": Policy(home.policy, restrictions()).hash}
        except ConfigError:  # a plug-in that cannot be loaded: no policy is usable then
            return {"policy": ""}

    ledger = Ledger(home.ledger, clock)
    ledger.stamp = stamp
    return ledger


def set_aside(home: Home, clock: Clock, *, why: str, by: str) -> Path:
    """Put a damaged ledger aside as evidence and begin a new one, under a new key and with the kill switch on; returns where the old one is.

    Raises:
        ConfigError: an executor runs.
        InputError: the ledger is whole.
        AuditError: there is none.
    """
    lock = OwnerLock(home.make().executor_lock, "An executor")
    lock.acquire()
    try:
        said = _damage(home)
        stamp = f"{clock.now():%Y%m%dT%H%M%SZ}"
        kept = home.ledger.with_name(f"ledger-{stamp}.damaged.jsonl")
        facts = {"file": kept.name, "sha256": sha256(home.ledger.read_bytes()).hexdigest() if home.ledger.exists() else "", "found": said}
        facts["key"] = public_key(home) if home.ledger_public_key.exists() else ""
        KillSwitch(home.kill_switch, clock).turn(on=True, why=f"the audit ledger was set aside: {why}", by=by)
        for old, name in (
            (home.checkpoints, f"checkpoints-{stamp}.damaged.jsonl"), (home.ledger_public_key, f"ledger-{stamp}.damaged.pub"),
            (home.ledger_key, f"ledger-{stamp}.damaged.key"), (home.ledger, kept.name),
        ):  # fmt: skip
            if old.exists():
                old.rename(old.with_name(name))
        own_ledger(home, clock).append("ledger.set_aside", actor=by, data={"why": why, "what": f"the old one is {kept.name}", **facts})
    finally:
        lock.release()
    return kept


def _damage(home: Home) -> str:
    """What is wrong with the ledger, in one sentence."""
    if home.checkpoints.exists() and not home.ledger_key.exists():
        return "the key that signs its checkpoints is gone"
    try:
        found = verify_home(home)
    except AuditError as err:
        return err.message
    if found.ok:
        raise InputError("The ledger is whole.", hint="Only a damaged one is set aside.")
    return f"record {found.bad_seq}: {found.why}"


def _kept(text: str) -> list[Checkpoint]:
    if text == "-":
        return list(checkpoints_in(sys.stdin.read()))
    if text.startswith(("file:/", "git:/")):
        return anchor_of(text).kept()
    try:
        return list(checkpoints_in(Path(text).read_text(encoding="utf-8", errors="replace")))
    except OSError as err:
        raise InputError(f"The anchor {text} cannot be read: {err.strerror}.", hint="Name a file with checkpoints, or git:/path.") from err
