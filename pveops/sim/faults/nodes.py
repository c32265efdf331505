"""Faults of nodes: power, network, clock, names, kernel, status daemon."""

from __future__ import annotations

from pveops.sim.faults import pick
from pveops.sim.faults.spec import Fault, Parameter
from pveops.sim.physics import hardware
from pveops.sim.state.ills import Flap, Quiet
from pveops.sim.state.journal import ERROR, INFO, WARNING
from pveops.sim.state.node import Node
from pveops.sim.tasks import node_life
from pveops.sim.world import World

A_NODE = Parameter(name="node", doc="Which node.", pick=pick.nodes, what="node that is up")
SPARE_NODE = Parameter(name="node", doc="Which node.", pick=pick.spare_nodes, what="node that is up beside another one")

_WRONG_DNS = "192.0.2.99"


def restarted(world: World, node: str, services: tuple[str, ...], since_s: float) -> bool:
    """Whether one of some services of a node was restarted (or reloaded, or started) after a moment."""
    skew_s = world.cluster.nodes[node].skew_s
    kinds = ("srvrestart", "srvreload", "srvstart")
    return any(
        task.kind in kinds and task.about in services and task.status == "OK" and (task.end_s or 0.0) - skew_s >= since_s
        for task in world.engine.on(node)
    )


class _OnNode(Fault):
    @property
    def node(self) -> Node:
        return self.cluster.nodes[self.values["node"]]

    @property
    def component(self) -> str:
        return f"node/{self.node.name}"


class NodeDown(_OnNode):
    """A node loses power, and all that runs on it stops."""

    name = "node-down"
    cause = "The power supply of the node failed."
    sees = (
        "Requests to the node: 595. Offline in /cluster/status and /nodes after 4 s; its guests keep their last values for 5 min and are "
        "unknown then; its own address (`sim serve --per-node`) refuses connections; running tasks end as `unexpected status` and leave their locks. Guests under HA start elsewhere after about 80 s."
    )
    repair = "Switch it on: POST /nodes/{node}/wakeonlan. It is a member again after 95 s and starts its guests."
    parameters = (SPARE_NODE,)

    def begin(self) -> None:
        node_life.lose_power(self.world.room, self.node)

    def healed(self) -> bool:
        return self.node.powered and self.node.online and not self.node.booting

    def undo(self) -> None:
        node_life.boot(self.world.room, self.node)


class QuorumLost(Fault):
    """So many nodes are gone at once that the rest has no majority."""

    name = "quorum-lost"
    cause = "The power of a rack (or, with `how=network`, the switch of the cluster network) failed."
    sees = (
        "/cluster/status: quorate 0, members offline. Reading works; whatever writes a configuration: 500 `cluster not ready - no quorum?`. "
        "Starts fail in their task with the same text. Nodes with running HA guests restart after 60 s."
    )
    repair = "Power: wake all nodes that are off (POST /nodes/{node}/wakeonlan). Network: somebody replaces the switch."
    parameters = (Parameter(name="how", doc="What failed.", default="power", choices=("power", "network")),)

    def _gone(self) -> list[Node]:
        nodes = list(self.cluster.nodes.values())
        return nodes[len(nodes) // 2 if len(nodes) % 2 == 0 else (len(nodes) - 1) // 2 :]

    @property
    def component(self) -> str:
        return "cluster/quorum"

    def begin(self) -> None:
        for node in self._gone():
            if self.values["how"] == "power":
                node_life.lose_power(self.world.room, node)
            else:
                node_life.cut_off(self.world.room, node)

    def healed(self) -> bool:
        return self.cluster.quorate and all(
            node.online and node.powered and not node.booting and not node.unplugged for node in self._gone()
        )

    def undo(self) -> None:
        for node in self._gone():
            node_life.reconnect(self.world.room, node)
            node_life.boot(self.world.room, node)


class StatusDaemonHangs(_OnNode):
    """The status daemon of a node is stuck: the node works, but tells nobody about it."""

    name = "status-daemon-hangs"
    cause = "pvestatd waits for a lock that nobody gives back."
    sees = (
        "/cluster/resources and /nodes show old values, after 5 min the node and its guests as unknown; RRD has a gap. Asked directly, "
        "the node answers with good values."
    )
    repair = "Restart the daemon: POST /nodes/{node}/services/pvestatd/restart."
    parameters = (A_NODE,)

    def begin(self) -> None:
        node_life.stop_telling(self.cluster, self.node)
        self.cluster.emit(self.node.name, "pvestatd", "got timeout", severity=WARNING)

    def healed(self) -> bool:
        return restarted(self.world, self.node.name, ("pvestatd",), self.since_s) or self.node.boot_s > self.since_s

    def undo(self) -> None:
        """Nothing but what comes afterwards."""

    def settle(self) -> None:
        node_life.tell_again(self.cluster, self.node)


class ClockSkew(_OnNode):
    """The clock of a node runs away because nothing sets it."""

    name = "clock-skew"
    cause = "The time daemon of the node was stopped and not started again."
    sees = "/nodes/{node}/time differs from the other nodes; the service chrony is dead; times of tasks and log lines of the node are off."
    repair = "Start the time daemon: POST /nodes/{node}/services/chrony/start (or restart)."
    parameters = (
        A_NODE,
        Parameter(name="skew_s", doc="How much the clock is ahead (negative: behind).", unit="s", default=420.0, low=-86400, high=86400),
    )

    def begin(self) -> None:
        self.node.skew_s = self.values["skew_s"]
        self._quiet = Quiet(since_s=self.since_s, tag="chronyd")
        self.node.quiets.append(self._quiet)
        self.world.stopped_services.setdefault(self.node.name, set()).add("chrony")
        self.cluster.emit(self.node.name, "systemd", "Stopped chrony.service - chrony, an NTP client/server.")

    def healed(self) -> bool:
        return "chrony" not in self.world.stopped_services.get(self.node.name, set())

    def undo(self) -> None:
        self.world.stopped_services.get(self.node.name, set()).discard("chrony")

    def settle(self) -> None:
        self._quiet.until_s = min(self._quiet.until_s, self.cluster.now_s)
        wrong_s, self.node.skew_s = self.node.skew_s, 0.0
        self.cluster.emit(self.node.name, "chronyd", f"System clock was stepped by {-wrong_s:.6f} seconds", severity=WARNING)


class WrongDns(_OnNode):
    """A node asks a name server that does not exist."""

    name = "wrong-dns"
    cause = "Somebody entered the address of a name server that was switched off."
    sees = "/nodes/{node}/dns names another server than on the other nodes; package list updates end with an error that says `resolving`."
    repair = "Enter a name server that answers: PUT /nodes/{node}/dns (192.0.2.53 and 192.0.2.54 do)."
    parameters = (A_NODE,)

    def begin(self) -> None:
        self._before = dict(self.node.dns)
        self.node.dns = {"search": self.node.dns.get("search", "example.com"), "dns1": _WRONG_DNS}

    def healed(self) -> bool:
        return hardware.resolves(self.node)

    def undo(self) -> None:
        self.node.dns = self._before


class PendingReboot(_OnNode):
    """A new kernel is installed and the node was not restarted since."""

    name = "pending-reboot"
    cause = "Updates were installed without the restart that a kernel needs."
    sees = "/nodes/{node}/apt/versions: the installed kernel is newer than the running one, which /nodes/{node}/status shows."
    repair = "Restart the node: POST /nodes/{node}/status with command=reboot, after its guests were moved away."
    parameters = (A_NODE, Parameter(name="kernel", doc="The kernel that waits.", default="6.17.9-2-pve", form=r"\d[0-9a-z.-]*"))

    def begin(self) -> None:
        self.node.new_kernel = self.values["kernel"]

    def healed(self) -> bool:
        return not self.node.new_kernel

    def undo(self) -> None:
        self.node.kernel, self.node.new_kernel = self.node.new_kernel, ""


class FlappingNic(_OnNode):
    """A network card loses its link and finds it again, over and over."""

    name = "flapping-nic"
    cause = "The cable of the card is broken."
    sees = (
        "/nodes/{node}/network: the card is not `active` at times; the journal tells each change; while the link is down, copies and "
        "migrations have half the bandwidth."
    )
    repair = "Somebody replaces the cable; until then the card can be taken out of its bond (PUT /nodes/{node}/network/bond0)."
    by = "hand"
    parameters = (
        A_NODE,
        Parameter(name="iface", doc="Which card.", pick=pick.cards, what="network card in a bond or bridge of the node"),
        Parameter(name="period_s", doc="From one loss to the next.", unit="s", default=60.0, low=2, high=86400),
        Parameter(name="down_fraction", doc="Which part of the time the link is down.", unit="fraction", default=0.4, low=0.01, high=0.99),
    )

    @property
    def component(self) -> str:
        return f"nic/{self.node.name}/{self.values['iface']}"

    def begin(self) -> None:
        iface, period_s, down = self.values["iface"], self.values["period_s"], self.values["down_fraction"]
        self._flap = Flap(since_s=self.since_s, iface=iface, period_s=period_s, down_fraction=down)
        self.node.flaps.append(self._flap)
        self.cluster.agenda.add(self.since_s + period_s * (1 - down), lambda: self._change(up=False))

    def _change(self, *, up: bool) -> None:
        if not self._flap.at(self.cluster.now_s):
            return
        iface, period_s, down = self._flap.iface, self._flap.period_s, self._flap.down_fraction
        state, severity = ("Up 10000 Mbps, Flow Control: None", INFO) if up else ("Down", ERROR)
        self.cluster.emit(self.node.name, "kernel", f"{iface}: NIC Link is {state}", severity=severity)
        self.cluster.agenda.add(self.cluster.now_s + period_s * ((1 - down) if up else down), lambda: self._change(up=not up))

    def healed(self) -> bool:
        return self.values["iface"] not in hardware.slaves(self.node)

    def undo(self) -> None:
        """The new cable is all it takes."""

    def settle(self) -> None:
        self._flap.until_s = min(self._flap.until_s, self.cluster.now_s)


KINDS: tuple[type[Fault], ...] = (NodeDown, QuorumLost, StatusDaemonHangs, ClockSkew, WrongDns, PendingReboot, FlappingNic)
