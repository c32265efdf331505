"""``pveops ssh commands|run|read``."""

from __future__ import annotations

import typer

from pveops.base.errors import TaskError
from pveops.surfaces.cli.context import Output, command, open_ops, print_json, say
from pveops.surfaces.cli.metrics import show_frame
from pveops.surfaces.cli.reads import OUTPUT, PROFILE

ssh = typer.Typer(help="Commands on nodes that only read, where the API has no answer. Off by default.", no_args_is_help=True)
_COMMAND = typer.Argument(..., help='In quotes: "smartctl -j -a /dev/sda". One of `pveops ssh commands`.')


@ssh.command("commands")
def commands(output: Output = OUTPUT) -> None:
    """List what may run. {disk} stands for a word of that form, [ ] for what may be left out."""
    from pveops.app.ssh import Ssh

    with command("ssh.commands"):
        show_frame(Ssh.commands(), output)


@ssh.command("run")
def run(node: str = typer.Argument(..., help="The node."), wanted: str = _COMMAND, profile: str = PROFILE, output: Output = OUTPUT) -> None:
    """Run a command on one node and show what it prints."""
    with command("ssh.run"):
        answer = open_ops(profile).ssh.run(node, wanted)
        if output is Output.JSON:
            print_json(
                {
                    "node": node,
                    "command": wanted,
                    "exit_code": answer.exit_code,
                    "said": answer.said,
                    "cut": answer.cut,
                    "data": answer.data,
                }
            )
        else:
            typer.echo(answer.text.rstrip("\n"))
            if answer.said:
                say(answer.said, "dim")
        if answer.exit_code:
            raise TaskError(f"`{wanted}` on {node} ended with {answer.exit_code}.", hint="What it printed stands above.")


@ssh.command("read")
def read(
    wanted: str = _COMMAND,
    node: list[str] = typer.Option([], help="Only these nodes; by default all that are online."),
    profile: str = PROFILE,
    output: Output = OUTPUT,
) -> None:
    """Run a command on all nodes and put the rows together."""
    with command("ssh.read"):
        frame = open_ops(profile).ssh.read(wanted, node or None)
        show_frame(frame, output)
        for gap in frame.attrs["gaps"]:
            say(f"Not read: {gap['what']}: {gap['why']}", "yellow")
