"""A small world with faults, asked directly."""

import pytest

from pveops.sim.certs import Desk
from pveops.sim.faults.engine import Faults
from pveops.sim.faults.spec import Stage
from pveops.sim.faults.weather import Weather


class Ill:
    """A world and what goes wrong in it."""

    def __init__(self, lab, folder):
        self.lab = lab
        lab.world.desk = Desk(folder, ["localhost"], ["127.0.0.1"])
        self.faults = Faults(lab.world, Stage(lab.world, Weather(lab.cluster.seed), lab.world.desk))

    def add(self, kind, /, **given):
        return self.faults.add(kind, given)

    def state(self, entry):
        return next(row for row in self.faults.rows() if row["id"] == entry.ident)["state"]

    def restart(self, node, service):
        assert self.lab.run("POST", f"/nodes/{node}/services/{service}/restart") == "OK"

    def reboot(self, guest):
        assert self.lab.run("POST", f"/nodes/{guest.node}/{guest.kind}/{guest.vmid}/status/reboot") == "OK"

    def resources(self, kind):
        return self.lab.data("GET", "/cluster/resources", type=kind)

    def journal(self, node, tag):
        return [event.message for event in self.lab.cluster.journal.between(0, self.lab.cluster.now_s, node) if event.tag == tag]


@pytest.fixture
def ill(lab, tmp_path):
    return Ill(lab, tmp_path)


@pytest.fixture
def make_ill(make_lab, tmp_path):
    return lambda **options: Ill(make_lab(**options), tmp_path)
