import pytest

from pveops.testing.guarded import Guarded


@pytest.fixture
def guarded(tmp_path):
    made = Guarded(tmp_path)
    yield made
    made.close()
