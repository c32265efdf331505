"""What the cluster file system refuses while more than half of the votes are missing: whatever writes a configuration. Reading goes on."""

from __future__ import annotations

import re

from pveops.sim.errors import failed
from pveops.sim.state.cluster import Cluster

NO_QUORUM = "cluster not ready - no quorum?"

_LOCAL = re.compile(
    r"/access/ticket"
    r"|/access/vncticket"
    r"|/nodes/\{node\}/(qemu|lxc)/\{vmid\}/(agent/.*|status/(start|stop|shutdown|reboot|reset|suspend|resume)|termproxy|vncproxy|spiceproxy|sendkey|monitor)"
    r"|/nodes/\{node\}/(apt|services|disks|network|dns|time|tasks|hosts|status|wakeonlan|vncshell|termproxy|spiceshell|startall|stopall|vzdump)(/.*)?"
    r"|/nodes/\{node\}/storage/\{storage\}/(content|upload|download-url)(/.*)?"
)
"""What a node does by itself, with its own files; a start needs quorum too, but fails as a task."""


def demand_quorum(cluster: Cluster, verb: str, template: str) -> None:
    """Refuse what would have to write into the cluster file system.

    Raises:
        RefusedError: 500, the cluster has no quorum.
    """
    if verb != "GET" and not cluster.quorate and not _LOCAL.fullmatch(template):
        raise failed(NO_QUORUM)
