"""The certificates of the simulated cluster: an own authority and one server certificate that it signs."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pveops.base.errors import ConfigError
from pveops.base.files import write_whole

_DAYS = 825
_CA_DAYS = 3650


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files, and the fingerprint of the server certificate (SHA-256, ``AA:BB:…``)."""

    ca: Path
    certificate: Path
    key: Path
    fingerprint: str
    facts: dict[str, Any]
    """What the API tells about the server certificate."""


def _pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: float) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _make_authority(folder: Path, title: str = "pveops simulated cluster CA") -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title)])
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder(name, name, key, _CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    write_whole(folder / "ca.key", _pem_key(key))
    write_whole(folder / "ca.pem", certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)
    return certificate, key


def _read_authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The authority of an earlier start.

    Raises:
        ConfigError: the files are there but cannot be used.
    """
    try:
        certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), password=None)
    except (OSError, ValueError) as err:
        raise ConfigError(
            f"The certificate authority in {folder} cannot be read: {err}.", hint="Remove ca.pem and ca.key; a new one is made."
        ) from err
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ConfigError(f"ca.pem and ca.key in {folder} do not belong together.", hint="Remove both; a new authority is made.")
    return certificate, key


_Authority = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def fingerprint_of(certificate: x509.Certificate) -> str:
    """SHA-256 as ``AA:BB:…``."""
    text = certificate.fingerprint(hashes.SHA256()).hex().upper()
    return ":".join(text[index : index + 2] for index in range(0, len(text), 2))


def facts_of(certificate: x509.Certificate, pem: str, *, shift_s: float = 0.0) -> dict[str, Any]:
    """What the API tells about a certificate; ``shift_s`` is how much simulated time is ahead of real time."""
    key = certificate.public_key()
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        alternatives = [str(item.value) for item in names]
    except x509.ExtensionNotFound:
        alternatives = []
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "fingerprint": fingerprint_of(certificate),
        "notbefore": int(certificate.not_valid_before_utc.timestamp() + shift_s),
        "notafter": int(certificate.not_valid_after_utc.timestamp() + shift_s),
        "public-key-type": "id-ecPublicKey" if isinstance(key, ec.EllipticCurvePublicKey) else "rsaEncryption",
        "public-key-bits": getattr(key, "key_size", 0),
        "san": alternatives,
        "pem": pem,
    }


class Desk:
    """Makes and shows certificates, also while the server runs: new connections see the new one.

    The authority of an earlier start is used again, the server certificate is always new.

    Args:
        folder: where the files are.
        names, addresses: what the server certificate is for.
        shift_s: how much simulated time is ahead of real time.

    Raises:
        ConfigError: the folder cannot be written, or its authority cannot be used.
    """

    def __init__(self, folder: Path, names: Iterable[str], addresses: Iterable[str], *, shift_s: float = 0.0) -> None:
        self._folder = folder
        self._alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        self._alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        self._shift_s = shift_s
        self._context: ssl.SSLContext | None = None
        known = (folder / "ca.pem").exists() or (folder / "ca.key").exists()
        self._authority = _read_authority(folder) if known else _make_authority(folder)
        self.trusted = folder / "trusted.pem"
        """All authorities that were in use so far: whoever looks after the simulation trusts them."""
        write_whole(self.trusted, (folder / "ca.pem").read_bytes(), mode=0o644)
        self.own = self._sign(self._authority, "server", _DAYS)
        self.custom: Certificates | None = None

    def context(self) -> ssl.SSLContext:
        """The TLS settings of the server; they follow what is shown."""
        if self._context is None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._load()
        return self._context

    def _load(self) -> None:
        shown = self.custom or self.own
        if self._context is not None:
            self._context.load_cert_chain(shown.certificate, shown.key)

    def _sign(self, authority: _Authority, stem: str, days: float) -> Certificates:
        parent, parent_key = authority
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pveops simulated cluster")])
        certificate = (
            _builder(subject, parent.subject, key, days)
            .add_extension(x509.SubjectAlternativeName(self._alternatives), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(parent_key.public_key()), critical=False)
            .sign(parent_key, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        write_whole(self._folder / f"{stem}.key", _pem_key(key))
        write_whole(self._folder / f"{stem}.pem", pem + parent.public_bytes(serialization.Encoding.PEM), mode=0o644)
        facts = facts_of(certificate, pem.decode(), shift_s=self._shift_s)
        return Certificates(
            self._folder / "ca.pem", self._folder / f"{stem}.pem", self._folder / f"{stem}.key", facts["fingerprint"], facts
        )

    def renew(self, days: float = _DAYS) -> Certificates:
        """A new server certificate of the own authority that lasts so many days of real time."""
        self.own = self._sign(self._authority, "server", days)
        self._load()
        return self.own

    def show_stranger(self) -> Certificates:
        """Show a certificate of an authority that nobody knows."""
        folder = self._folder / "stranger"
        folder.mkdir(mode=0o700, exist_ok=True)
        authority = _make_authority(folder, "An authority that nobody knows")
        write_whole(self.trusted, self.trusted.read_bytes() + (folder / "ca.pem").read_bytes(), mode=0o644)
        self.custom = self._sign(authority, "custom", _DAYS)
        self._load()
        return self.custom

    def upload(self, chain: str, key: str) -> Certificates:
        """Show a certificate that somebody brings: a PEM chain, the server's first, and its key.

        Raises:
            ValueError: they cannot be read or do not belong together.
        """
        certificates = x509.load_pem_x509_certificates(chain.encode())
        private = serialization.load_pem_private_key(key.encode(), password=None)
        forms = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        if private.public_key().public_bytes(*forms) != certificates[0].public_key().public_bytes(*forms):
            raise ValueError("the key does not belong to the certificate")
        last = certificates[-1].public_bytes(serialization.Encoding.PEM)
        write_whole(self.trusted, self.trusted.read_bytes() + last, mode=0o644)
        write_whole(self._folder / "custom.key", key.encode())
        write_whole(self._folder / "custom.pem", chain.encode(), mode=0o644)
        facts = facts_of(certificates[0], certificates[0].public_bytes(serialization.Encoding.PEM).decode(), shift_s=self._shift_s)
        self.custom = Certificates(
            self._folder / "ca.pem", self._folder / "custom.pem", self._folder / "custom.key", facts["fingerprint"], facts
        )
        self._load()
        return self.custom

    def remove_custom(self) -> None:
        """Show the own certificate again."""
        self.custom = None
        self._load()
