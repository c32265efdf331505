"""``pveops sim backfill``: metrics and log lines of the weeks before a moment, as files that monitoring systems load."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pveops.base.errors import ConfigError, InputError, PveopsError
from pveops.sim.serve import DEFAULT_SEED, ServeOptions, make_world
from pveops.sim.telemetry import DEFAULT_INDEX, lines
from pveops.sim.telemetry.history import days, events, metrics

_LONGEST_DAYS = 90
_DAY_S = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillOptions:
    """What is to be written.

    Args:
        out: a folder; gets ``metrics-DAY.om`` and ``logs-DAY.jsonl`` per day, and ``bulk-DAY.ndjson`` when wanted.
        days: how many.
        step_s: seconds between two samples.
        end_s: the last moment, seconds since the epoch; a cluster that starts then with the same seed goes on from there.
        nodes, guests, seed, ha_guests, inventory: as for ``serve``.
        all_cpus: write the seconds of each CPU of a node instead of those of the first; all are equally busy.
        bulk: write bulk requests for Elasticsearch too.
        index: the index or data stream in them.
    """

    out: Path
    days: float = 30.0
    step_s: int = 300
    end_s: float | None = None
    nodes: int = 3
    guests: int = 40
    seed: int = DEFAULT_SEED
    ha_guests: int = 0
    inventory: Path | None = None
    all_cpus: bool = False
    bulk: bool = False
    index: str = DEFAULT_INDEX

    def check(self) -> None:
        """Refuse numbers that cannot be.

        Raises:
            InputError: which, and what is allowed.
        """
        for name, value, low, high in (("--days", self.days, 0.01, _LONGEST_DAYS), ("--step-s", self.step_s, 10, 3600)):
            if not low <= value <= high:
                raise InputError(f"{name} is {value:g} and must be from {low:g} to {high:g}.", hint="Run with --help for what it means.")
        self.cluster(0.0).check()

    def cluster(self, start_s: float) -> ServeOptions:
        """The cluster that would start at that moment."""
        return ServeOptions(
            info=self.out / "info.json",
            nodes=self.nodes,
            guests=self.guests,
            seed=self.seed,
            ha_guests=self.ha_guests,
            inventory=self.inventory,
            start_s=start_s,
        )


def run(options: BackfillOptions) -> int:
    """Write the files; 0, or the exit code of the error, which is told on stderr in one sentence."""
    try:
        options.check()
        _write(options)
    except PveopsError as err:
        sys.stderr.write(f"{err}\n")
        return err.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def _write(options: BackfillOptions) -> None:
    end_s = options.end_s if options.end_s is not None else float(int(time.time()))
    world = make_world(options.cluster(end_s), end_s, lambda name: name)
    since_s = end_s - options.days * _DAY_S
    samples = said = 0
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        for day in days(end_s, options.days, options.step_s):
            samples += _pieces(options.out / f"metrics-{day.name}.om", metrics(world, day, all_cpus=options.all_cpus))
            found = events(world, day, since_s)
            (options.out / f"logs-{day.name}.jsonl").write_bytes(lines.json_lines(found, world.cluster.name))
            if options.bulk:
                (options.out / f"bulk-{day.name}.ndjson").write_bytes(lines.bulk(found, world.cluster.name, options.index))
            said += len(found)
            since_s = float(day.times[-1])
    except OSError as err:
        raise ConfigError(
            f"Cannot write into {options.out}: {err.strerror}.", hint="Name a folder that you may write, with enough room."
        ) from err
    sys.stderr.write(
        f"Wrote {samples:,} samples and {said:,} log lines of {options.days:g} days until {end_s:.0f} into {options.out}.\n"
        f"Load the samples: for f in {options.out}/metrics-*.om; do promtool tsdb create-blocks-from openmetrics $f DATA; done\n"
    )


def _pieces(path: Path, pieces: Iterable[str]) -> int:
    """Write a file; the result is how many samples are in it."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for piece in pieces:
            file.write(piece)
            count += 0 if piece.startswith("#") else piece.count("\n")
    return count
