"""A million log lines in the embedded store: taking them in, a word, a histogram of seven days; beside SQLite's FTS5 fed with the bare text."""

from __future__ import annotations

import random
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

from pveops.base.redact import redact
from pveops.clients.logs.embedded import EmbeddedLogs
from pveops.clients.logs.language import parse
from pveops.model.logs import LogLine

LINES, BATCH, SPAN_MS = 1_000_000, 10_000, 30 * 86_400_000
WORDS = (
    "started",
    "stopped",
    "connection",
    "refused",
    "backup",
    "error",
    "device",
    "pool",
    "link",
    "timeout",
    "vm",
    "task",
    "ok",
    "user",
    "root",
)


def messages():
    dice = random.Random(1)
    for number in range(LINES):
        rare = f" needle{number % 5000}" if number % 7 == 0 else ""
        yield f"{' '.join(dice.choices(WORDS, k=8))} 10.0.{dice.randrange(256)}.{dice.randrange(256)} id {number}{rare}"


def timed(work, rounds=9):
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds) * 1000


def spent(work):
    """Seconds by the clock, and of the processor."""
    began, busy = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - busy


def fed(bare, texts):
    with bare:
        bare.executemany("INSERT INTO t VALUES (?)", ((text,) for text in texts))


def main():
    with tempfile.TemporaryDirectory(prefix="pvb") as name:
        store = EmbeddedLogs(Path(name) / "l.db")
        texts = list(messages())
        lines = [
            LogLine(time_ms=number * SPAN_MS // LINES, host=f"pve{number % 10}", unit="app", severity=number % 8, message=text)
            for number, text in enumerate(texts)
        ]
        seconds, busy = spent(lambda: [store.add(lines[first : first + BATCH]) for first in range(0, LINES, BATCH)])
        bare = sqlite3.connect(Path(name) / "bare.db")
        bare.execute("PRAGMA journal_mode=WAL")
        bare.execute("CREATE VIRTUAL TABLE t USING fts5(message)")
        floor, floor_busy = spent(lambda: [fed(bare, texts[first : first + BATCH]) for first in range(0, LINES, BATCH)])
        print(f"{LINES:,} lines over 30 days; {Path(name, 'l.db').stat().st_size / 2**20:.0f} MiB:")
        print(f"  taken in, each known by its uid: {LINES / seconds:,.0f} lines/s; FTS5 with the bare text: {LINES / floor:,.0f} lines/s")
        print(f"  per second of the processor:     {LINES / busy:,.0f} lines/s; FTS5 with the bare text: {LINES / floor_busy:,.0f} lines/s")
        print(
            f"  made by a collector, secrets looked for: {LINES / spent(lambda: [redact(text) for text in texts])[1]:,.0f} lines/s of the processor"
        )
        week = (SPAN_MS - 7 * 86_400_000, SPAN_MS)
        for label, text, (start, end) in (
            ("a word of 29 lines", "needle77", (0, SPAN_MS)),
            ("a word with a host and a severity", "needle77 host:pve5 severity:<=err", (0, SPAN_MS)),
            ("a phrase", '"10.0.17.9"', (0, SPAN_MS)),
            ("errors of the last hour", "error severity:<=err", (SPAN_MS - 3_600_000, SPAN_MS)),
        ):
            query = parse(text)
            print(f"  {label:<36} {timed(lambda q=query, a=start, b=end: store.search(q, a, b, 100)):8.1f} ms")
        print(f"  {'histogram of 7 days, by the hour':<36} {timed(lambda: store.count(parse('*'), *week, 3_600_000)):8.1f} ms")
        print(f"  {'the same by severity':<36} {timed(lambda: store.count(parse('*'), *week, 3_600_000, 'severity')):8.1f} ms")
        store.close()
        bare.close()


if __name__ == "__main__":
    main()
