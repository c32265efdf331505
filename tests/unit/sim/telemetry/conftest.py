"""What telemetry says, read by the parser of the Prometheus client."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pveops.sim.telemetry.families import page
from pveops.sim.telemetry.figures import Fleet
from pveops.sim.telemetry.web import Answers, Asker, node_families


class Told:
    """Samples by name and labels."""

    def __init__(self, families):
        text = b"".join(page(family) for family in families).decode()
        found = list(text_string_to_metric_families(text))
        self.kinds = {family.name + ("_total" if family.type == "counter" else ""): family.type for family in found}
        self.samples = [sample for family in found for sample in family.samples]

    def all(self, name, /, **labels):
        return [sample.value for sample in self.samples if sample.name == name and labels.items() <= sample.labels.items()]

    def one(self, name, /, **labels):
        (value,) = self.all(name, **labels)
        return value


@pytest.fixture(scope="session")
def node_told():
    def tell(lab, name="pve1"):
        world = lab.world
        return Told(node_families(world, world.cluster.nodes[name], Fleet(world).now()[name]))

    return tell


@pytest.fixture(scope="session")
def pve_told():
    def tell(lab):
        from pveops.sim.telemetry import pve

        ask = Answers(Asker(lab.world))
        return Told([*pve.cluster(ask), *pve.node(ask)])

    return tell
