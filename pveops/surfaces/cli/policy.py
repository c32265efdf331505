"""``pveops policy``: is it usable, what does it say, why can't I."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from pveops.base.errors import ConfigError
from pveops.surfaces.cli.context import Output, answer, command, open_executor, print_json, print_rows, say
from pveops.surfaces.cli.reads import OUTPUT

if TYPE_CHECKING:
    from pveops.guard.policy import Policy

policy = typer.Typer(help="The policy: who may do what, when, and how many must approve.", no_args_is_help=True)
SET = typer.Option("", "--set", help="A set that comes with pveops (homelab, team, strict) instead of this home's policy.")


def _policy(name: str) -> Policy:
    """This home's policy, or a shipped set. A set is put into a folder of its own first: there is one way to load a policy."""
    from pveops.app.setup import shipped_policy
    from pveops.guard.policy import Policy
    from pveops.settings.home import Home

    return shipped_policy(name) if name else Policy(Home.find(os.environ).policy)


@policy.command("check")
def check(set_: str = SET, output: Output = OUTPUT) -> None:
    """Tell whether the policy is usable; where it is not, nothing is allowed. Exit code 3 then."""
    with command("policy.check"):
        found = _policy(set_)
        limits = found.limits.model_dump(mode="json", by_alias=True)
        if output is Output.JSON:
            print_json({"ok": not found.fault, "fault": found.fault, "hash": found.hash, "rules": list(found.rules), "limits": limits})
        if found.fault:
            raise ConfigError(f"There is no usable policy: {found.fault}.", hint="Nothing is allowed until it is mended.")
        if output is Output.TABLE:
            answer(f"Policy {found.name}, {found.hash[:8]}, {len(found.rules)} rules. It is usable.")
            answer(
                "; ".join(
                    f"{part} {', '.join(f'{key} {value}' for key, value in row.items())}"
                    for part, row in limits.items()
                    if isinstance(row, dict)
                )
            )


@policy.command("explain")
def explain(
    proposal: str = typer.Argument(help="Id of the proposal, p-…."),
    action: str = typer.Option("approve", help="approve, deny, withdraw, stop, resolve, execute or propose."),
    who: str = typer.Option("", "--as", help="Another principal; operators may ask."),
    output: Output = OUTPUT,
) -> None:
    """Why can't I? One sentence, on the state as it is now. Exit code 6 where it is a no."""
    from pveops.model.codec import encode

    with command("policy.explain"):
        verdict = open_executor().explain(proposal, action=action, who=who)
        if output is Output.JSON:
            print_json(encode(verdict))
        else:
            answer(f"{'No' if verdict.decision == 'deny' else 'Yes'}: {verdict.text} ({verdict.rule})")
        raise typer.Exit(6 if verdict.decision == "deny" else 0)


@policy.command("test")
def try_out(
    cases: Optional[Path] = typer.Argument(None, help="TOML file of [[case]] tables; by default those that come with the set."),
    set_: str = SET,
    output: Output = OUTPUT,
) -> None:
    """Ask the policy a list of questions and compare the answers. Exit code 1 where one differs."""
    from pveops.guard.trial import load_cases, shipped_cases, trial

    with command("policy.test"):
        given = load_cases(cases.read_text(encoding="utf-8"), str(cases)) if cases else shipped_cases(set_ or "homelab")
        rows = trial(_policy(set_), given)
        bad = [row for row in rows if not row["ok"]]
        if output is Output.JSON:
            print_json(rows)
        else:
            if bad:
                print_rows(bad, ("case", "expected", "got", "rule", "text"))
            say(f"{len(rows) - len(bad)} of {len(rows)} cases are as expected.")
        raise typer.Exit(1 if bad else 0)


@policy.command("matrix")
def matrix(set_: str = SET, output: Output = OUTPUT) -> None:
    """Show who may propose and approve what, and how many must approve."""
    from pveops.guard.trial import matrix as asked

    with command("policy.matrix"):
        rows = asked(_policy(set_))
        if output is Output.JSON:
            print_json(rows)
        else:
            print_rows(rows, tuple(rows[0]))
