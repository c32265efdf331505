"""``pveops twin``: the cluster as a seed, to start a simulated copy from."""

from __future__ import annotations

from pathlib import Path

import typer

from pveops.surfaces.cli.context import Output, command, open_ops, print_json, say
from pveops.surfaces.cli.reads import OUTPUT, PROFILE

twin = typer.Typer(help="A simulated copy of a cluster.", no_args_is_help=True)


@twin.command("look")
def look(
    file: Path = typer.Argument(
        help="Where to write the seed. It holds no secrets, but everything else about the cluster: only you can read it."
    ),
    profile: str = PROFILE,
    output: Output = OUTPUT,
) -> None:
    """Look at the cluster, with reads alone, and write what was seen as a seed for `pveops sim serve --seed-file`."""
    from pveops.app.rehearse import take_seed
    from pveops.base.seed import write_seed

    with command("twin.look"):
        seed, seen, _ = take_seed(open_ops(profile).reader)
        write_seed(file, seed)
        counts = {name: len(seed[name]) for name in ("nodes", "guests", "storages")}
        if output is Output.JSON:
            print_json({"file": str(file), **counts, "reads": seen.reads, "gaps": seen.gaps})
            return
        told = ", ".join(f"{count} {name}" for name, count in counts.items())
        say(f"{file}: {told}, read with {seen.reads} requests. Start it: pveops sim serve --info sim.json --seed-file {file}")
        for gap in seen.gaps:
            say(f"Not seen: {gap}", "yellow")
