"""Faults of the certificate that the API shows."""

from __future__ import annotations

from pveops.base.errors import InputError
from pveops.sim.certs import Desk
from pveops.sim.faults.spec import Fault, Parameter

_DAY_S = 86400.0
_FRESH_DAYS = 30


class _OfCertificate(Fault):
    @property
    def component(self) -> str:
        return f"certificate/{self.cluster.local_node}"

    def _desk(self) -> Desk:
        if self.desk is None:
            raise InputError(f"{self.name} needs a server that shows certificates.")
        return self.desk

    def _tell(self) -> None:
        """The API and the view of nodes say what is shown now."""
        desk = self._desk()
        self.world.certificates = dict.fromkeys(self.cluster.nodes, desk.own.facts)
        self.world.custom_certificate = desk.custom.facts if desk.custom else None
        for node in self.cluster.nodes.values():
            node.fingerprint = desk.own.fingerprint
        self.cluster.generation += 1


class CertificateChanged(_OfCertificate):
    """The API shows another certificate from one moment to the next, signed by an authority that nobody knows."""

    name = "certificate-changed"
    cause = "Somebody uploaded a custom certificate of an unknown authority."
    sees = (
        "New connections fail in TLS: pinned clients see another fingerprint, the others an unknown authority; open connections go on. "
        "/nodes/{node}/certificates/info has a `pveproxy-ssl.pem`."
    )
    repair = "Remove it: DELETE /nodes/{node}/certificates/custom; or upload one that clients trust. Whoever does so must accept the new fingerprint first."

    def begin(self) -> None:
        self._fingerprint = self._desk().show_stranger().fingerprint
        self._tell()

    def healed(self) -> bool:
        custom = self._desk().custom
        return custom is None or custom.fingerprint != self._fingerprint

    def undo(self) -> None:
        self._desk().remove_custom()

    def settle(self) -> None:
        self._tell()


class CertificateExpiring(_OfCertificate):
    """The certificate of the API ends in a few days, and nobody renews it."""

    name = "certificate-expiring"
    cause = "The daily renewal of the certificate was switched off."
    sees = (
        "`notafter` in /nodes/{node}/certificates/info is near; clients still connect. After that moment they fail in TLS (of real time)."
    )
    repair = "Upload one that lasts 30 days or more: POST /nodes/{node}/certificates/custom."
    parameters = (Parameter(name="days", doc="How long it lasts.", unit="days", default=5.0, low=0.01, high=365),)

    def begin(self) -> None:
        self._desk().renew(self.values["days"])
        self._tell()

    def healed(self) -> bool:
        desk = self._desk()
        shown = desk.custom or desk.own
        return float(shown.facts["notafter"]) >= self.cluster.now_s + _FRESH_DAYS * _DAY_S

    def undo(self) -> None:
        self._desk().renew()

    def settle(self) -> None:
        self._tell()


KINDS: tuple[type[Fault], ...] = (CertificateChanged, CertificateExpiring)
