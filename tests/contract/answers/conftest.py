"""A simulated world with faults, without a process, read through the product's own reader: the ground truth is at hand."""

import importlib.util
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pveops.clients.cluster.errors import error_of
from pveops.clients.cluster.read import Reader
from pveops.clients.cluster.wire import Envelope, Reply
from pveops.tools.library import standard
from pveops.tools.ports import Ports


def _kit(name, path):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[2] / "unit" / "sim" / path)
    kit = importlib.util.module_from_spec(spec)
    sys.modules[name] = kit
    spec.loader.exec_module(kit)
    return kit


lab_kit = _kit("answers_lab", "conftest.py")
ill_kit = _kit("answers_ill", "faults/conftest.py")


class LabWire:
    """What the reader gets instead of a connection."""

    def __init__(self, lab, who):
        self.lab, self.who, self.lock, self.paths = lab, who, threading.Lock(), []

    @property
    def sent(self):
        return len(self.paths)

    def get(self, path, params=None, *, decode=None):
        with self.lock:
            self.paths.append(path)
            answer = self.lab.ask("GET", path, self.who, **dict(params or {}))
        if answer.status != 200:
            raise error_of(answer.status, answer.reason, {"errors": answer.errors}, method="GET", path=path, endpoint="lab")
        found = Envelope(answer.data, answer.total)
        return Reply(found.data, found.total, "lab", None, simulated=True)


class LabClock:
    def __init__(self, lab):
        self.lab = lab

    def now(self):
        return datetime.fromtimestamp(self.lab.cluster.now_s, UTC)

    def monotonic_s(self):
        return self.lab.cluster.now_s


class Hospital:
    """A world, what goes wrong in it, and the questions."""

    def __init__(self, folder, *, nodes=3, guests=14):
        self.lab = lab_kit.Lab(lab_kit.describe(nodes=nodes, guests=guests, seed=lab_kit.SEED, start_s=lab_kit.START_S))
        self.ill = ill_kit.Ill(self.lab, folder)
        self.registry = standard()

    def ask(self, name, /, who="admin@pve!sim", metrics=None, **args):
        self.wire = LabWire(self.lab, who)
        clock = LabClock(self.lab)
        return self.registry.read(f"ask.{name}", args, Ports("lab", Reader(self.wire, clock=clock), clock, metrics))

    def row(self, result, **wanted):
        (found,) = [row for row in result.rows if all(row[key] == value for key, value in wanted.items())]
        return found

    def counted(self):
        """Requests without the one that asks for the token's privileges."""
        return len([path for path in self.wire.paths if path != "/access/permissions"])


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    return Hospital(tmp_path_factory.mktemp("hospital"))


@pytest.fixture
def make_hospital(tmp_path):
    return lambda **options: Hospital(tmp_path, **options)
