"""``pveops audit``: what was done, and the proof that nothing of it was changed."""

from __future__ import annotations

import json
import os
import sys
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import typer

from pveops.base.errors import AuditError, InputError
from pveops.base.units import parse_duration_s
from pveops.surfaces.cli.context import Output, command, print_json, print_rows, say
from pveops.surfaces.cli.reads import OUTPUT

if TYPE_CHECKING:
    from pveops.guard.audit import Finding
    from pveops.settings.home import Home

audit = typer.Typer(help="The audit ledger.", no_args_is_help=True)

KIND = typer.Option("", help="Only this kind, or a family of them: step, step.intended, approval.")
ACTOR = typer.Option("", help="Only what this principal did.")
PROPOSAL = typer.Option("", help="Only records of this proposal.")
MODEL = typer.Option("", help="Only proposals that this model drafted.")
SINCE = typer.Option("", help="From this time on: 2026-11-21T14:00, or 7d for the last seven days.")
UNTIL = typer.Option("", help="Before this time.")
TEXT = typer.Option("", help="Only records that hold this text.")
KEY = typer.Option("", help="The executor's public key, as 64 digits or as a file; by default the one beside the ledger.")


class Form(StrEnum):
    """How an export is written."""

    JSONL = "jsonl"
    CSV = "csv"
    HTML = "html"


@audit.command("ls")
def ls(
    proposal: str = PROPOSAL,
    kind: str = KIND,
    actor: str = ACTOR,
    model: str = MODEL,
    since: str = SINCE,
    until: str = UNTIL,
    text: str = TEXT,
    limit: int = typer.Option(50, help="The last so many."),
    output: Output = OUTPUT,
) -> None:
    """List records, newest last. Asks the executor, which looks whether you may."""
    from pveops.guard.audit.query import rows
    from pveops.surfaces.cli.context import open_executor

    with command("audit.ls"):
        asked = {"kind": kind, "actor": actor, "model": model, "since": _moment(since), "until": _moment(until), "text": text}
        records = open_executor().audit(proposal=proposal, limit=limit, **asked)
        if output is Output.JSON:
            print_json(records)
            return
        found = [_row(row) for row in rows(records)]
        if found:
            print_rows(found, tuple(found[0]))
        say(f"{len(found)} records.", "dim")


@audit.command("verify")
def verify(
    anchor: list[str] = typer.Option(
        None, help="Compare with these checkpoints too: a file that holds some (- for stdin), or git:/repository. May be given again."
    ),
    copy: Optional[Path] = typer.Option(None, help="Compare with a copy of the ledger, line by line."),
    key: str = KEY,
    ledger: Optional[Path] = typer.Option(None, help="Another file than the ledger of this home."),
    other_keys: bool = typer.Option(False, "--other-keys", help="Leave out checkpoints of other keys, after a ledger was set aside."),
    output: Output = OUTPUT,
) -> None:
    """Walk the whole chain and compare it with checkpoints. Needs no executor."""
    from pveops.app.audit import verify_home

    with command("audit.verify"):
        home = _home()
        found = verify_home(home, ledger=ledger, anchors=anchor or (), key=key, copy=copy, other_keys=other_keys)
        if output is Output.JSON:
            print_json({"ok": found.ok} | {name: getattr(found, name) for name in found.__slots__})
        if not found.ok:
            raise AuditError(
                f"The ledger breaks at record {found.bad_seq} (line {found.bad_line} of {ledger or home.ledger}): {found.why.rstrip('.')}.",
                hint=f"The {found.records} records before it are whole. Compare with a copy; do not write to the file. See docs/audit.md.",
            )
        if output is Output.TABLE:
            row = {
                "records": found.records,
                "head": found.head,
                "root": found.root,
                "checkpoints": found.checkpoints,
                "covered": found.covered,
            }
            print_rows([row], tuple(row))
            say(_whole(found))


@audit.command("export")
def export(
    form: Form = typer.Option(Form.JSONL, "--format", "-f", help="jsonl, csv or html."),
    out: Optional[Path] = typer.Option(None, "--out", help="File to write (mode 0600); by default stdout."),
    proposal: str = PROPOSAL,
    kind: str = KIND,
    actor: str = ACTOR,
    model: str = MODEL,
    since: str = SINCE,
    until: str = UNTIL,
    text: str = TEXT,
) -> None:
    """Write records for other programs or for people: who, what, when, why, which model, which prompt. Reads the file; needs no executor."""
    from pveops.app.audit import open_ledger
    from pveops.base.clock import SystemClock
    from pveops.guard.audit.query import Query

    with command("audit.export"):
        home = _home()
        _there(home)
        asked = Query(
            proposal=proposal, kind=kind, actor=actor, model=model, since=_moment(since), until=_moment(until), text=text
        )  # fmt: skip
        records = open_ledger(home, SystemClock()).find(asked)
        try:
            target = os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") if out else None
        except OSError as err:
            raise InputError(f"{out} cannot be written: {err.strerror}.", hint="Name another file.") from err
        with target or nullcontext(sys.stdout) as file:
            file.write(_written(home, records, form))
        say(f"{len(records)} records.", "dim")


@audit.command("prove")
def prove(number: int = typer.Argument(help="Number of the record.")) -> None:
    """Print one record with the proof that a signed checkpoint covers it, as JSON. Whoever checks it sees no other record."""
    from pveops.app.audit import prove_record

    with command("audit.prove"):
        home = _home()
        _there(home)
        print_json(prove_record(home, number))


@audit.command("check-proof")
def check_proof(
    file: Path = typer.Argument(help="What `audit prove` printed."),
    key: str = typer.Option(..., help="The executor's public key, digits or file."),
) -> None:
    """Check a proof on any machine: the record, its place in the tree, the signature."""
    from pveops.app.audit import public_key
    from pveops.guard.audit.proof import check_proof as check

    with command("audit.check-proof"):
        try:
            made = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as err:
            raise InputError(f"{file} cannot be read as JSON.", hint="Give the file that `audit prove` wrote.") from err
        record = check(made, public_key(_home(), key))
        print_json(record)
        say(f"Record {record['seq']} is in the ledger that was signed at {made['checkpoint']['at']}.")


@audit.command("set-aside")
def set_aside(why: str = typer.Option(..., "--why", help="The reason; it is written down.")) -> None:
    """Put a damaged ledger aside as evidence and begin a new one. Needs that no executor runs; turns the kill switch on."""
    from pveops.app.audit import set_aside as aside
    from pveops.base.clock import SystemClock

    with command("audit.set-aside"):
        if not why.strip():
            raise InputError("Setting the ledger aside wants a reason.", hint="Add --why.")
        kept = aside(_home(), SystemClock(), why=why, by=f"uid {os.getuid()}")
        say(f"The old ledger is kept as {kept}. The new one begins with a record of this, under a new key.", "bold")
        say("The kill switch is ON; an operator lifts it with `pveops kill off --why …` once it is clear what happened.")


def _home() -> Home:
    from pveops.settings.home import Home

    return Home.find(os.environ)


def _there(home: Home) -> None:
    if not home.ledger.exists():
        raise AuditError(f"There is no audit ledger at {home.ledger}.", hint="`pveops init` or `pveops up` makes it.")


def _written(home: Home, records: list[dict[str, Any]], form: Form) -> str:
    import io

    from pveops.base.clock import SystemClock
    from pveops.guard.audit.export import write_csv, write_jsonl
    from pveops.guard.audit.query import rows
    from pveops.present.audit_page import audit_page

    if form is Form.HTML:
        verdict, whole = _verdict(home)
        return audit_page(list(rows(records)), source=str(home.ledger), verdict=verdict, whole=whole, now=SystemClock().now())
    text = io.StringIO()
    (write_csv if form is Form.CSV else write_jsonl)(records, text)
    return text.getvalue()


def _verdict(home: Home) -> tuple[str, bool]:
    from pveops.app.audit import verify_home

    try:
        found = verify_home(home)
    except AuditError as err:
        return f"Not verified: {err.message}", False
    return (_whole(found), True) if found.ok else (f"The ledger breaks at record {found.bad_seq}: {found.why}.", False)


def _whole(found: Finding) -> str:
    sealed = (
        f"{found.checkpoints} signed checkpoints agree, up to record {found.covered}" if found.checkpoints else "no checkpoint was compared"
    )
    return f"The ledger is whole: {found.records} records; {sealed}."


def _moment(text: str) -> str:
    """A time as records have it; ``7d`` means so long ago.

    Raises:
        InputError: neither a time nor a duration.
    """
    from datetime import UTC, datetime, timedelta

    from pveops.base.clock import iso

    if not text:
        return ""
    try:
        return iso(datetime.now(UTC) - timedelta(seconds=parse_duration_s(text)))
    except ValueError:
        pass
    try:
        given = datetime.fromisoformat(text)
    except ValueError as err:
        raise InputError(f"{text!r} is no time.", hint="Write 2026-11-21T14:00 (UTC), or 7d for seven days ago.") from err
    return iso(given if given.tzinfo else given.replace(tzinfo=UTC))


def _row(row: dict[str, Any]) -> dict[str, Any]:
    said = row["what"] or row["why"]
    return {"seq": row["seq"], "at": row["at"], "kind": row["kind"], "actor": row["who"], "proposal": row["proposal"], "what": said}
