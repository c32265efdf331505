"""``pveops self``: what pveops itself costs."""

from __future__ import annotations

import os
from dataclasses import asdict

import typer

from pveops.surfaces.cli.context import Output, command, out, print_json, print_rows, say
from pveops.surfaces.cli.reads import OUTPUT


def own(metrics: bool = typer.Option(False, "--metrics", help="In the format of Prometheus."), output: Output = OUTPUT) -> None:
    """Show what pveops itself costs: requests to the cluster, memory, bytes written, size of the home."""
    from pveops.app.cost import cost_frame, exposition, kept_bytes, processes, total_per_minute
    from pveops.base.units import fmt_bytes, fmt_duration, fmt_pct
    from pveops.settings.home import Home

    with command("self"):
        home = Home.find(os.environ)
        if metrics:
            typer.echo(exposition(home), nl=False)
            return
        found = processes(home)
        kept = kept_bytes(home) if home.root.is_dir() else {}
        running = total_per_minute(one for one in found if one.running)
        if output is Output.JSON:
            told = [asdict(one) | {"written_bytes_per_day": one.written_bytes_per_day} for one in found]
            print_json({"processes": told, "requests_per_minute": running, "home_bytes": kept})
            return
        rows = [
            {
                "process": row["role"], "pid": row["pid"], "runs for": fmt_duration(row["age_s"]) if row["running"] else "ended",
                "requests": row["requests"], "failed": row["failed"], "per min": row["requests_per_min"], "answers": fmt_bytes(row["answered_bytes"]),
                "memory": fmt_bytes(row["rss_bytes"]) if row["running"] else "", "cache hits": fmt_pct(row["cache_hit_fraction"]),
                "written a day": fmt_bytes(row["written_bytes_per_day"]),
            }
            for row in cost_frame(found).astype(object).to_dict("records")
        ]  # fmt: skip
        if rows:
            print_rows(rows, list(rows[0]))
        for node, per_minute in sorted(running.items()):
            out().print(f"{node or 'cluster'}: {per_minute:.1f} requests a minute", markup=False)
        out().print(
            f"The home holds {fmt_bytes(sum(kept.values()))}: {', '.join(f'{name} {fmt_bytes(size)}' for name, size in kept.items())}",
            markup=False,
        )
        say(f"{len(rows)} processes of {home.root} within a day. Figures of a process are at most ten seconds old.", "dim")
