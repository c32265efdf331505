"""A small simulated world that is asked without a process, as a live cluster for the twin."""

import importlib.util
import sys
import threading
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("sim_lab", Path(__file__).parents[1] / "sim" / "conftest.py")
lab_kit = importlib.util.module_from_spec(_SPEC)
sys.modules["sim_lab"] = lab_kit
_SPEC.loader.exec_module(lab_kit)


class LabLive:
    """The read port over a world; counts what was asked and refuses what the token may not."""

    def __init__(self, lab, who="reader@pve!notebook"):
        self.lab = lab
        self.who = who
        self.asked = []
        self.lock = threading.Lock()

    def get(self, path, params=None):
        from pveops.base.errors import ApiError, Forbidden

        with self.lock:
            self.asked.append(path)
            answer = self.lab.ask("GET", path, self.who, **dict(params or {}))
        if answer.status == 403:
            raise Forbidden(f"The token may not read {path}.", hint="Sys.Audit", details={"status": 403})
        if answer.status != 200:
            raise ApiError(f"{path}: {answer.reason}", details={"status": answer.status})
        return answer.data


@pytest.fixture(scope="session")
def kit():
    return lab_kit


@pytest.fixture(scope="session")
def live_of():
    return LabLive
