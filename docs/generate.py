"""Writes ``frames.md`` and ``tools.md`` from the one definition in the code: ``python docs/generate.py``. A test keeps them current."""

from __future__ import annotations

from pathlib import Path

from pveops.frames.columns import TABLES
from pveops.frames.inventory import INVENTORY_TABLES
from pveops.sim.faults.kinds import described
from pveops.tools.library import standard
from pveops.tools.library.asks import QUESTIONS

HERE = Path(__file__).parent


_ANSWERS_HEAD = [
    "",
    "## `ops.ask`",
    "",
    "What operators ask. Each answer is also a read tool (`pveops do ask.backup-truth`). `.attrs['answer']` says it in one sentence, `.attrs['source']` names what",
    "was asked and how often. What could not be seen is a gap, never an empty row and never called missing.",
]


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
    lines += _ANSWERS_HEAD
    for question in QUESTIONS:
        lines += ["", f"## `ops.ask.{question.name}()`", "", question.doc, "", "| column | dtype | meaning |", "|---|---|---|"]
        lines += [f"| `{column.name}` | {column.dtype} | {column.doc} |" for column in question.table.columns]
    for call, table in INVENTORY_TABLES.items():
        lines += ["", f"## `{call}`", "", "| column | dtype | meaning |", "|---|---|---|"]
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


_FAULTS_HEAD = """\
# Faults of the simulated cluster

Whatever goes wrong on a real cluster can be made to go wrong here, on demand, and each fault knows the truth about itself: component, cause, start,
end, and the action that puts it right. It ends as `repaired` when somebody does the right thing through the API, as `cleared` when it is put right by
hand (`pveops sim fault clear`, which stands for somebody at the machine), as `expired` when it was given a time, and is `void` when there was
nothing left to befall at its moment.

```
pveops sim fault kinds                       all kinds; with a name, all about one
pveops sim fault add node-down node=pve2     what is left out is chosen by the seed of the cluster
pveops sim fault add memory-leak --in 10min --for 2h
pveops sim fault ls -o json                  the truth about all faults so far
pveops sim fault clear node-down-1           or: all
pveops sim serve --scenario night.toml …     faults from the start; with `fault add --scenario` later
```

The commands talk to the control door of a running simulation (its info file names it; `--info` when it is not that of `pveops up --sim`). Exit
code 2: no such fault, parameter or victim, nothing was changed; 3: a file cannot be read; 4: nothing answers.

A scenario file is TOML. `at` and `for` are simulated time (seconds, or `90s`, `10min`, `2h`, `1d`), other keys are parameters; when one step is not
possible, none is played:

```toml
name = "A bad night"

[[fault]]
kind = "storage-full"
storage = "pbs-01"

[[fault]]
kind = "node-down"
at = "10min"
for = "1h"
```

With `pveops sim serve --per-node` each node has an address of its own beside that of the whole cluster (`urls` in the info file; the ports after
`--port`). It closes when the node is down or cut off and opens when it is back: what fails over can be seen to fail over.

The same seed, the same scenario and the same requests give the same victims and the same answers. Two things run on the wall clock, because clients
do: waits (`real ms`, `real s`) and the ends of certificates, tickets and tokens.

"""


def faults() -> str:
    """All kinds of faults."""
    lines = ["| fault | what happens | ends by |", "|---|---|---|"]
    lines += [
        f"| [`{row['kind']}`](#{row['kind']}) | {row['doc']} | {'the API' if row['by'] == 'api' else 'a hand'} |" for row in described()
    ]
    for row in described():
        lines += ["", f"## `{row['kind']}`", "", f"{row['doc']}", "", f"* Cause: {row['cause']}", f"* A client sees: {row['sees']}"]
        lines += [f"* Put right by: {row['repair']}"]
        if row["parameters"]:
            lines += ["", "| parameter | default | unit | allowed | meaning |", "|---|---|---|---|---|"]
        for one in row["parameters"]:
            default = (
                one["default"] if one["default"] == "chosen by the seed" else f"`{one['default']}`" if one["default"] != "" else "none"
            )
            lines.append(f"| `{one['name']}` | {default} | {one['unit']} | {one['allowed']} | {one['doc']} |")
    return _FAULTS_HEAD + "\n".join(lines) + "\n"


PAGES = {"frames.md": frames, "tools.md": tools, "faults.md": faults}

if __name__ == "__main__":
    for page, make in PAGES.items():
        (HERE / page).write_text(make(), encoding="utf-8")
