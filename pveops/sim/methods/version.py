"""What answers: version numbers, and that this is a simulation."""

from __future__ import annotations

from typing import Any

from pveops.sim.methods.table import Call, Table
from pveops.sim.world import REPOSITORY

api = Table()


@api.reads("GET /version", "GET /nodes/{node}/version")
def version(call: Call) -> dict[str, Any]:
    """Version, release and, where the real one names a commit, what this is."""
    answer: dict[str, Any] = {"version": call.world.release.version, "release": call.world.release.name, "repoid": REPOSITORY}
    if call.path == "/version" and "console" in call.cluster.options:
        answer["console"] = call.cluster.options["console"]
    return answer
