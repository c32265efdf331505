"""``pveops do TOOL ARGS`` and ``pveops tools ls``: every tool of the registry, from its one definition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from pveops.base.errors import Denied, InputError
from pveops.surfaces.cli.context import Output, command, open_ops, print_json, print_result, print_rows, say
from pveops.surfaces.cli.reads import OUTPUT, PROFILE

if TYPE_CHECKING:
    from pveops.tools.registry import Tool

tools = typer.Typer(help="What can be asked and done.", no_args_is_help=True)


@tools.command("ls")
def tools_ls(output: Output = OUTPUT) -> None:
    """List all tools with their arguments."""
    from pveops.tools.library import standard

    with command("tools.ls"):
        rows = [
            {"tool": tool.name, "kind": tool.kind, "arguments": usage(tool), "privileges": ", ".join(tool.privileges), "does": tool.doc}
            for tool in standard()
        ]
        if output is Output.JSON:
            print_json([{**row, "schema": tool.schema} for row, tool in zip(rows, standard(), strict=True)])
        else:
            print_rows(rows, ("tool", "kind", "arguments", "privileges", "does"))


def usage(tool: Tool) -> str:
    """Arguments in order, optional ones in brackets."""
    return " ".join(name if info.is_required() else f"[{name}]" for name, info in tool.args.model_fields.items())


def parse_args(tool: Tool, words: list[str]) -> dict[str, Any]:
    """``101 pve2`` or ``guest=101 target=pve2`` or ``--guest 101`` as arguments of the tool.

    Raises:
        InputError: too many, an unknown name, or an option without a value.
    """
    names = list(tool.args.model_fields)
    given: dict[str, Any] = {}
    positional: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, eq, value = word.removeprefix("--").partition("=")
        name = name.replace("-", "_")
        if word.startswith("--") or (eq and name in names):
            if name not in names:
                raise InputError(f"{tool.name} has no argument {name}.", hint=f"Usage: pveops do {tool.name} {usage(tool)}")
            boolean = tool.args.model_fields[name].annotation is bool
            if not eq and not boolean and not rest:
                raise InputError(f"--{name} needs a value.", hint=f"Usage: pveops do {tool.name} {usage(tool)}")
            given[name] = value if eq else True if boolean else rest.pop(0)
        else:
            positional.append(word)
    free = [name for name in names if name not in given]
    if len(positional) > len(free):
        raise InputError(
            f"{tool.name} does not take {' '.join(positional[len(free) :])!r}.", hint=f"Usage: pveops do {tool.name} {usage(tool)}"
        )
    return {**given, **dict(zip(free, positional, strict=False))}


def do(
    context: typer.Context,
    tool: str = typer.Argument(help="Name of the tool, see `pveops tools ls`."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show plan and preview; propose nothing."),
    watch: bool = typer.Option(False, "--watch", help="After proposing, wait and tell what becomes of it."),
    profile: str = PROFILE,
    output: Output = OUTPUT,
) -> None:
    """Use a tool: read ones answer, the others propose a change that a person then approves."""
    from pveops.surfaces.cli.show import print_draft, print_view
    from pveops.surfaces.cli.watch import follow
    from pveops.tools.library import standard

    with command(f"do {tool}"):
        chosen = standard().get(tool)
        args = parse_args(chosen, list(context.args))
        chosen.parse(args)
        ops = open_ops(profile)
        if chosen.kind == "read":
            print_result(ops.tools.read(tool, args, ops.ports), output)
            return
        draft = ops.draft(tool, **args)
        if dry_run:
            seen = draft.preview()
            print_draft(draft.plan, seen, output)
            if not seen.ok:
                raise Denied("This would not work now. Nothing was proposed.", hint="Mend what the preview names, then try again.")
            return
        view = ops.executors.propose(draft.plan, author="person")
        print_view(view, output)
        if view.proposal.status.value == "refused":
            raise Denied(
                f"Refused: {view.proposal.reason} Nothing ran.",
                correlation=view.proposal.correlation,
                details={"rule": view.proposal.verdict.rule},
            )
        say(f"Confirm with: pveops proposals approve {view.proposal.id}")
        if watch:
            raise typer.Exit(follow(ops.executors.client(), view.proposal.id))
