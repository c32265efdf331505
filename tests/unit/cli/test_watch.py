"""Following a proposal: it says what it waits for, and outlives a restart of the executor."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from pveops.base.errors import ExecutorUnavailable
from pveops.surfaces.cli import watch

samples = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "present" / "samples.py")))
EVERY = samples.every()


class Client:
    """Answers in turn; None is an executor that is away."""

    def __init__(self, *names):
        self.answers = [EVERY[name][0] if name else None for name in names]

    def proposal(self, proposal_id):
        view = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if view is None:
            raise ExecutorUnavailable("Nobody answers.", hint="Start it.")
        return view

    def events(self, *, after, wait_s):
        return []


def test_it_says_what_it_waits_for_and_goes_on_after_a_restart(capsys):
    assert watch.follow(Client("waiting", None, "running", "done"), "p-8c41d2") == 0
    said = capsys.readouterr().err
    assert "p-8c41d2 waits for approval until" in said
    assert said.count("The executor does not answer; waiting for it.") == 1
    assert "p-8c41d2 is done, audit 4417 to 4431." in said


def test_an_executor_that_stays_away_ends_it_with_what_to_do(monkeypatch):
    monkeypatch.setattr(watch, "AWAY_S", 0.0)
    with pytest.raises(ExecutorUnavailable) as gone:
        watch.follow(Client(None), "p-8c41d2")
    assert "pveops proposals watch p-8c41d2" in gone.value.hint
