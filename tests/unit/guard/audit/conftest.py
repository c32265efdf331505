import pytest

from pveops.base.clock import SystemClock
from pveops.guard.audit import Ledger


@pytest.fixture
def ledger(tmp_path):
    made = Ledger(tmp_path / "audit" / "ledger.jsonl", SystemClock())
    for number in range(6):
        made.append("test.kind", actor="anna", correlation="c-1", proposal="p-1" if number % 2 else "p-2", data={"n": number})
    return made
