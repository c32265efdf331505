"""Certificates of the nodes, and when they end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pveops.answers.look import Look, online
from pveops.base.clock import from_epoch_s
from pveops.frames.columns import Column, Table
from pveops.model.resources import Answer
from pveops.model.values import whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One certificate file of a node."""

    node: str
    file: str
    verdict: Literal["ok", "soon", "expired", "unknown"]
    ends: datetime | None
    left_days: float | None
    subject: str | None
    issuer: str | None
    names: str | None
    fingerprint: str | None


CERTIFICATE_EXPIRY = Table(
    "certificate_expiry",
    "node",
    (
        Column("node", "string", "node", lambda row: row.node),
        Column("file", "string", "pveproxy-ssl.pem (your own, shown by the API where it exists), pve-ssl.pem, pve-root-ca.pem", lambda row: row.file),
        Column("verdict", "string", "ok, soon, expired, or unknown", lambda row: row.verdict),
        Column("ends", "datetime64[ns, UTC]", "when it ends", lambda row: row.ends),
        Column("left_days", "Float64", "days until then; negative after it", lambda row: row.left_days),
        Column("subject", "string", "whose it is", lambda row: row.subject),
        Column("issuer", "string", "who signed it", lambda row: row.issuer),
        Column("names", "string", "names and addresses it holds for, parted by ;", lambda row: row.names),
        Column("fingerprint", "string", "its SHA-256", lambda row: row.fingerprint),
    ),
)  # fmt: skip


def judge(files: Mapping[str, Iterable[Mapping[str, Any]]], *, now: datetime, within_s: float) -> list[Certificate]:
    """Certificates of each node, those that end first in front; ``soon`` is within so many seconds."""
    found = []
    for node, rows in files.items():
        for row in rows:
            end_s = whole(row.get("notafter"))
            left_s = None if end_s is None else end_s - now.timestamp()
            verdict: Literal["ok", "soon", "expired", "unknown"] = (
                "unknown" if left_s is None else "expired" if left_s <= 0 else "soon" if left_s <= within_s else "ok"
            )
            found.append(Certificate(
                node=node, file=str(row.get("filename") or "not named"), verdict=verdict, ends=None if end_s is None else from_epoch_s(end_s),
                left_days=None if left_s is None else round(left_s / 86_400, 2), subject=row.get("subject"), issuer=row.get("issuer"),
                names=";".join(row.get("san") or ()) or None, fingerprint=row.get("fingerprint"),
            ))  # fmt: skip
    return sorted(found, key=lambda row: (row.left_days is None, row.left_days, row.node, row.file))


def certificate_expiry(look: Look, *, within_s: float) -> Answer[Certificate]:
    """When the certificates of all nodes end. One request per node."""
    nodes, _, _ = look.lists()
    files = look.each(
        online(nodes, look, "certificates"), lambda name: look.cluster.get(f"/nodes/{name}/certificates/info"), lambda name: f"certificates of {name}",
        "/nodes/{node}/certificates/info",
    )  # fmt: skip
    return look.answer(judge(files, now=look.now, within_s=within_s))
