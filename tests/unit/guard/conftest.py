import pytest

from pveops.testing.guarded import Guarded


@pytest.fixture
def guarded(tmp_path):
    return Guarded(tmp_path)
