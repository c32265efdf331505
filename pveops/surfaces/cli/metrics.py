"""``pveops metrics query|now|queries|names``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from pveops.surfaces.cli.context import Output, command, open_ops, print_json, print_rows, say
from pveops.surfaces.cli.reads import OUTPUT, PROFILE

if TYPE_CHECKING:
    import pandas as pd

metrics = typer.Typer(help="Measurements of a Prometheus.", no_args_is_help=True)
_MOST_COLUMNS = 6
_EXPRESSION = typer.Argument(..., help="PromQL, or the name of a query of the library.")


@metrics.command("query")
def query(
    expression: str = _EXPRESSION,
    since: str = typer.Option("1h", help="From when: 2h (ago), 7d, 2026-11-21T14:00Z."),
    until: str = typer.Option("now", help="Until when."),
    step: str = typer.Option("", help="Distance of points: 60s, 5min; by default what fits the span."),
    guest: str = typer.Option("", help="For a query of the library: qemu/101, lxc/200."),
    node: str = typer.Option("", help="For a query of the library: the node."),
    profile: str = PROFILE,
    output: Output = OUTPUT,
) -> None:
    """Values over a span, one row per time."""
    from pveops.model.queries import QUERIES, filled

    with command("metrics.query"):
        subject = {key: value for key, value in {"guest": guest, "node": node}.items() if value}
        text = filled(expression, **subject) if expression in QUERIES else expression
        frame = open_ops(profile).metrics.query(text, since, until, step or None)
        if output is Output.TABLE and len(frame.columns) > _MOST_COLUMNS:
            many = frame.agg(["last", "min", "mean", "max"]).T.rename_axis("series").reset_index()
            many.attrs.update(frame.attrs)
            show_frame(many, output)
            say(f"{len(many)} series are too many for columns, so each is a row over {len(frame)} times; -o json gives all values.", "dim")
        else:
            show_frame(frame.reset_index(), output)


@metrics.command("now")
def now(
    expression: str = _EXPRESSION,
    at: str = typer.Option("now", help="At what time."),
    profile: str = PROFILE,
    output: Output = OUTPUT,
) -> None:
    """One value per series."""
    with command("metrics.now"):
        show_frame(open_ops(profile).metrics.now(expression, at), output)


@metrics.command("queries")
def queries(output: Output = OUTPUT) -> None:
    """List the library of named queries."""
    from pveops.app.metrics import Metrics

    with command("metrics.queries"):
        show_frame(Metrics.queries(), output)


@metrics.command("names")
def names(profile: str = PROFILE, output: Output = OUTPUT) -> None:
    """List the metrics that the Prometheus has."""
    with command("metrics.names"):
        found = open_ops(profile).metrics.names()
        if output is Output.JSON:
            print_json({"rows": list(found)})
        else:
            typer.echo("\n".join(found))


def show_frame(frame: pd.DataFrame, output: Output) -> None:
    """A table of ours on stdout: rows, or JSON with source and gaps."""
    rows: list[dict[str, Any]] = [{str(key): _plain(value) for key, value in row.items()} for row in frame.to_dict("records")]
    if output is Output.JSON:
        keys = ("source", "expression", "step_s", "total", "complete", "gaps", "labels")
        print_json({"rows": rows, **{key: frame.attrs[key] for key in keys if key in frame.attrs}})
        return
    if rows:
        print_rows(rows, [str(column) for column in frame.columns])
    source = frame.attrs.get("source")
    say(f"{len(rows)} rows{f' from {source}' if source else ''}.", "dim")


def _plain(value: Any) -> Any:
    """JSON has no NaN: what was not measured is null."""
    return None if value is None or value != value else value.isoformat() if hasattr(value, "isoformat") else value  # noqa: PLR0124
