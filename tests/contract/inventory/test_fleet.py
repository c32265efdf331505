"""Several clusters in one frame: two that run, and one that does not."""

import pytest

import pveops
from pveops.base.errors import ConfigError, UnknownName, Unreachable
from pveops.settings.home import Home
from pveops.sim.faults.client import ControlClient
from pveops.testing.ports import free_port
from pveops.testing.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def clusters(tmp_path_factory):
    """The home that knows three clusters, and the two that run."""
    made = []
    for number, guests in ((1, 9), (2, 15)):
        stack = Stack(tmp_path_factory.mktemp(f"fleet{number}"), nodes=2, guests=guests, seed=number, speed=1.0)
        stack.start_sim()
        made.append(stack)
    root = tmp_path_factory.mktemp("home")
    root.chmod(0o700)
    blocks = []
    for name, stack in zip(("north", "south"), made, strict=True):
        token = root / f"{name}.token"
        token.write_text(stack.info["tokens"]["reader"])
        token.chmod(0o600)
        blocks.append(f'[profiles.{name}]\nurls = ["{stack.info["url"]}"]\nca = "{stack.info["ca"]}"\nread_token_file = "{token}"\n')
    gone = f'[profiles.west]\nurls = ["https://127.0.0.1:{free_port()}"]\nread_token_file = "{root}/north.token"\n'
    (root / "config.toml").write_text("\n".join([*blocks, gone]))
    yield Home(root), made
    for stack in made:
        stack.close()


@pytest.fixture
def fleet(clusters):
    home, _ = clusters
    with pveops.connect_all(["north", "south"], env={"PVEOPS_HOME": str(home.root)}) as opened:
        yield opened


def test_every_read_is_one_frame_that_tells_clusters_apart(fleet):
    guests = fleet.guests()
    assert guests.groupby("cluster").size().to_dict() == {"north": 9, "south": 15}
    assert guests["vmid"].duplicated().any(), "ids repeat from cluster to cluster"
    assert guests.attrs["complete"]
    assert guests.attrs["clusters"] == ["north", "south"]
    assert guests.attrs["simulated"]
    assert str(guests["cluster"].dtype) == "string"
    assert guests.attrs["units"].keys() == set(guests.columns)
    one = fleet["north"].guests()
    assert (guests[guests["cluster"] == "north"]["vmid"].tolist()) == one["vmid"].tolist()
    for frame in (fleet.nodes(), fleet.storage(), fleet.tasks(limit=5), fleet.backups()):
        assert set(frame["cluster"]) == {"north", "south"}
    with pytest.raises(UnknownName, match="no profile called east"):
        fleet["east"]


def test_the_inventory_of_one_home_holds_them_all(fleet, clusters):
    _, (first, _) = clusters
    looked = fleet.sync()
    assert looked.attrs["complete"]
    assert looked.attrs["requests"] >= 24
    ControlClient(first.info).add("node-down", {"node": "pve2"})
    ControlClient(first.info).advance(20)
    fleet.sync()
    changes = fleet.diff("1h", what="node")
    assert set(changes["cluster"]) == {"north"}
    assert not changes.attrs["complete"]
    assert all(gap["what"].startswith(("north: ", "south: changes")) for gap in changes.attrs["gaps"])
    assert fleet.as_of().groupby("cluster").size().to_dict() == {"north": 9, "south": 15}
    both = fleet["south"].as_of(clusters="all")
    assert both.groupby("cluster").size().to_dict() == {"north": 9, "south": 15}
    ControlClient(first.info).clear("all")
    ControlClient(first.info).advance(200)  # until the node is back


def test_a_cluster_that_does_not_answer_is_a_gap_and_alone_an_error(clusters):
    home, _ = clusters
    with pveops.connect_all(env={"PVEOPS_HOME": str(home.root)}) as everything:
        assert everything.names == ("north", "south", "west")
        guests = everything.guests()
        assert len(guests) == 24
        assert [gap["what"] for gap in guests.attrs["gaps"]] == ["everything of west"]
        assert not guests.attrs["complete"]
    with pveops.connect_all(["west"], env={"PVEOPS_HOME": str(home.root)}) as lost, pytest.raises(Unreachable):
        lost.guests()


def test_without_a_profile_it_says_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match="No cluster is set up yet"):
        pveops.connect_all(env={"PVEOPS_HOME": str(tmp_path)})
