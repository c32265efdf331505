"""Writes ``frames.md`` and ``tools.md`` from the one definition in the code: ``python docs/generate.py``. A test keeps them current."""

from __future__ import annotations

from pathlib import Path

from pveops.frames.columns import TABLES
from pveops.tools.library import standard

HERE = Path(__file__).parent


def frames() -> str:
    """All tables with their columns."""
    lines = [
        "# Tables",
        "",
        "Every read in Python gives a pandas DataFrame with these columns. Names end in their unit, times are UTC, a value that is not known is `<NA>`.",
        "`.attrs` holds `source` (who answered what), `read_at`, `complete`, `gaps` (`what`, `why`, `needs`), `units`, `cluster`, `simulated`.",
        "A list that Proxmox VE filters for the token is not complete, and `gaps` names the privilege that is missing.",
    ]
    calls = {
        "nodes": "ops.nodes()",
        "guests": "ops.guests()",
        "storage": "ops.storage()",
        "tasks": "ops.tasks()",
        "backups": "ops.backups()",
    }
    for table in TABLES.values():
        lines += [
            "",
            f"## `{calls.get(table.name, f'ops.guest(101).{table.name}()')}`",
            "",
            "| column | dtype | meaning |",
            "|---|---|---|",
        ]
        lines += [f"| `{column.name}` | {column.dtype} | {column.doc} |" for column in table.columns]
    lines += [
        "",
        '## `ops.guest(101).metrics("1h")`',
        "",
        "Proxmox VE's own measurements (RRD) over a window, one row per step, indexed by UTC time. Columns carry their unit: `cpu_fraction`, `mem_bytes`,",
        "`netin_bytes_per_s` and so on. A missing value is NaN, never 0. Windows up to an hour, day, week, month and year have steps of 1 min, 1 min, 30 min,",
        "30 min and 6 h on Proxmox VE 9; older versions keep 70 points each.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def tools() -> str:
    """All tools with their arguments."""
    lines = [
        "# Tools",
        "",
        "One definition each; chat, command line and notebooks render it. A *read* tool answers. A *plan* tool makes a plan, and what becomes of it is decided",
        "by a person. `pveops do TOOL ARGS` takes arguments in this order or as `name=value`.",
    ]
    for tool in standard():
        lines += ["", f"## `{tool.name}` ({tool.kind})", "", f"{tool.doc} Needs {', '.join(tool.privileges)}.", ""]
        if tool.args.model_fields:
            lines += ["| argument | default | meaning |", "|---|---|---|"]
            for name, info in tool.args.model_fields.items():
                default = "required" if info.is_required() else f"`{info.default}`" if info.default != "" else "none"
                lines.append(f"| `{name}` | {default} | {info.description} |")
        else:
            lines.append("No arguments.")
    return "\n".join(lines) + "\n"


PAGES = {"frames.md": frames, "tools.md": tools}

if __name__ == "__main__":
    for page, make in PAGES.items():
        (HERE / page).write_text(make(), encoding="utf-8")
