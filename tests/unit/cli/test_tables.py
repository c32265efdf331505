"""Tables on terminals of any width, and warnings as messages."""

import warnings

import pytest
from rich.console import Console

from pveops.surfaces.cli import context

ORDER = ("vmid", "name", "node", "status", "maxmem_bytes", "uptime_s", "tags")
ROWS = [
    {"vmid": 100 + n, "name": f"stage-web-{n}", "node": "pve1", "status": "running", "maxmem_bytes": 4 << 30, "uptime_s": 86400 * n, "tags": "prod;web"}
    for n in range(3)
]  # fmt: skip


@pytest.fixture
def terminal(monkeypatch, capsys):
    def of(width):
        monkeypatch.setattr(context, "out", lambda: Console(width=width, force_terminal=True, no_color=True, highlight=False))

    return of


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_a_narrow_terminal_gets_fewer_columns_and_no_cut_ones(terminal, capsys, width):
    terminal(width)
    left_out = context.print_rows(ROWS, ORDER, fit=True)
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert len(printed.splitlines()) == 1 + len(ROWS), "no row is wrapped"
    assert "102" in printed
    assert "stage-web-2" in printed
    assert left_out == list(ORDER[len(ORDER) - len(left_out) :])
    assert bool(left_out) == (width < 60)


def test_our_warnings_are_messages_and_those_of_libraries_are_not_shown(monkeypatch, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", context.show_warning)
        warnings.warn("Started an executor.", stacklevel=1)
        warnings.warn("something is deprecated", DeprecationWarning, stacklevel=1)
    assert capsys.readouterr().err == "Started an executor.\n"
