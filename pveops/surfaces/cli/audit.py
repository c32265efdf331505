"""``pveops audit``: what was done, and the proof that nothing of it was changed."""

from __future__ import annotations

import os

import typer

from pveops.base.errors import AuditError
from pveops.surfaces.cli.context import Output, command, print_json, print_rows, say
from pveops.surfaces.cli.reads import OUTPUT

audit = typer.Typer(help="The audit ledger.", no_args_is_help=True)


@audit.command("ls")
def ls(
    proposal: str = typer.Option("", help="Only records of this proposal."),
    limit: int = typer.Option(50, help="The last so many."),
    output: Output = OUTPUT,
) -> None:
    """List records, newest last."""
    from pveops.surfaces.cli.context import open_executor

    with command("audit.ls"):
        records = open_executor().audit(proposal=proposal, limit=limit)
        if output is Output.JSON:
            print_json(records)
            return
        rows = [
            {
                "seq": record["seq"],
                "at": record["at"],
                "kind": record["kind"],
                "actor": record["actor"],
                "proposal": record["proposal"],
                "what": _what(record),
            }
            for record in records
        ]
        if rows:
            print_rows(rows, tuple(rows[0]))
        say(f"{len(rows)} records.", "dim")


@audit.command("verify")
def verify(output: Output = OUTPUT) -> None:
    """Walk the whole chain. Needs no executor."""
    from pveops.base.clock import SystemClock
    from pveops.guard.audit import Ledger
    from pveops.settings.home import Home

    with command("audit.verify"):
        ledger = Ledger(Home.find(os.environ).ledger, SystemClock())
        if not ledger.path.exists():
            raise AuditError(
                f"There is no audit ledger at {ledger.path}.",
                hint="`pveops init` or `pveops up` makes it. If it was there before, somebody removed it.",
            )
        found = ledger.verify()
        if output is Output.JSON:
            print_json(
                {
                    "ok": found.ok,
                    "records": found.records,
                    "head": found.head,
                    "bad_seq": found.bad_seq,
                    "bad_line": found.bad_line,
                    "why": found.why,
                }
            )
        if not found.ok:
            raise AuditError(
                f"The chain breaks at record {found.bad_seq} (line {found.bad_line} of {ledger.path}): {found.why}.",
                hint=f"The {found.records} records before it are whole. Compare with a copy; do not write to the file.",
            )
        if output is Output.TABLE:
            print_rows(
                [{"records": found.records, "first to last": "each holds the hash of the one before", "head": found.head}],
                ("records", "first to last", "head"),
            )
            say(f"The ledger is whole: {found.records} records.")


def _what(record: dict[str, object]) -> str:
    data = record.get("data")
    if not isinstance(data, dict):
        return ""
    plan = data.get("plan")
    said = plan.get("summary") if isinstance(plan, dict) else ""
    return str(
        said
        or data.get("call")
        or data.get("text")
        or data.get("reason")
        or data.get("why")
        or data.get("status")
        or data.get("upid")
        or ""
    )
