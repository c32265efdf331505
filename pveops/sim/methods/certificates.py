"""Custom certificates. One server stands for all nodes, so one certificate is shown for all of them."""

from __future__ import annotations

from typing import Any

from pveops.sim.certs import Desk
from pveops.sim.errors import failed
from pveops.sim.methods.table import Call, Table

api = Table()


def _desk(call: Call) -> Desk:
    if call.world.desk is None:
        raise failed("no certificate is shown here")
    return call.world.desk


@api.behaves("POST /nodes/{node}/certificates/custom")
def upload(call: Call) -> dict[str, Any]:
    """Show a certificate that somebody brings. New connections see it at once."""
    desk = _desk(call)
    if desk.custom is not None and not call.p.get("force"):
        raise failed("Custom certificate file exists but force flag is not set.")
    if "key" not in call.p:
        raise failed("Cannot upload certificate chain without existing or newly uploaded private key.")
    try:
        facts = desk.upload(call.p["certificates"], call.p["key"]).facts
    except (ValueError, TypeError) as err:
        raise failed(f"unable to load certificate: {err}") from err
    call.world.custom_certificate = facts
    return {"filename": "pveproxy-ssl.pem", **facts}


@api.behaves("DELETE /nodes/{node}/certificates/custom")
def remove(call: Call) -> None:
    """Show the own certificate of the node again."""
    _desk(call).remove_custom()
    call.world.custom_certificate = None
