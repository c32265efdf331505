"""What tests of sick clusters share."""

import pytest

from pveops.sim.faults.client import ControlClient


@pytest.fixture
def door(stack):
    """The way to plant trouble in the module's cluster; all of it is gone afterwards."""
    client = ControlClient(stack.info)
    yield client
    client.clear("all")
    client.advance(200)
