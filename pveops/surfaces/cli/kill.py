"""``pveops kill``: stop all writing, at once, with or without an executor."""

from __future__ import annotations

import os
from collections.abc import Callable

import typer

from pveops.base.errors import ExecutorUnavailable, InputError
from pveops.model.messages import KillState
from pveops.surfaces.cli.context import Output, answer, command, open_executor, print_json, say
from pveops.surfaces.cli.reads import OUTPUT

kill = typer.Typer(help="The kill switch: nothing is written while it is on.", no_args_is_help=True)
WHY = typer.Option(..., "--why", help="The reason; it is written down and shown.")
CLUSTER = typer.Option("", "--cluster", help="Only this cluster; all of them where none is named.")


@kill.command("on")
def on(why: str = WHY, cluster: str = CLUSTER) -> None:
    """Stop all writing. Works without an executor too."""
    with command("kill.on"):
        if not why.strip():
            raise InputError("The kill switch wants a reason.", hint="Add --why.")
        try:
            _tell(open_executor().kill(on=True, why=why, cluster=cluster))
        except ExecutorUnavailable:
            _tell(_by_hand(why, cluster))


@kill.command("off")
def off(why: str = WHY, cluster: str = CLUSTER) -> None:
    """Allow writing again. Needs a running executor and an operator."""
    with command("kill.off"):
        _tell(open_executor().kill(on=False, why=why, cluster=cluster))


@kill.command("status")
def status(cluster: str = CLUSTER, output: Output = OUTPUT) -> None:
    """Tell whether writing is allowed. The exit code is 0 when it is, 6 when it is not."""
    from pveops.base.clock import SystemClock
    from pveops.guard.killswitch import KillSwitch
    from pveops.settings.home import Home

    with command("kill.status"):
        switch = KillSwitch(Home.find(os.environ).kill_switch, SystemClock())
        state = switch.state(cluster)
        if output is Output.JSON:
            from pveops.model.codec import encode

            print_json(encode(state))
        else:
            for one in (state, *(() if cluster or state.on else switch.clusters())):
                _tell(one, answer)
        raise typer.Exit(6 if state.on else 0)


def _by_hand(why: str, cluster: str) -> KillState:
    """No executor answers: write the file ourselves, then the record. The file comes first: it is what stops."""
    from pveops.app.audit import own_ledger
    from pveops.base.clock import SystemClock
    from pveops.guard.killswitch import KillSwitch
    from pveops.settings.home import Home

    home, clock, by = Home.find(os.environ), SystemClock(), f"uid {os.getuid()}"
    state = KillSwitch(home.kill_switch, clock).turn(on=True, why=why, by=by, cluster=cluster)
    own_ledger(home, clock).append("kill.on", actor=by, data={"why": why, "cluster": cluster, "executor": "not running"})
    return state


def _tell(state: KillState, how: Callable[[str, str], None] = say) -> None:
    by = f" by {state.by}" if state.by else ""
    since = f" since {state.since:%Y-%m-%d %H:%M:%S} UTC" if state.since else ""
    where = f" for {state.cluster}" if state.cluster else ""
    if state.on:
        how(f"The kill switch is ON{where}{by}{since}: {state.why or 'no reason given'}. Nothing is written.", "bold red")
        for line in state.running:
            how(f"  under way and not interrupted: {line}", "")
    else:
        how(f"The kill switch is off{where}{by}{since}: {state.why or 'no reason given'}. Approved changes run.", "")
