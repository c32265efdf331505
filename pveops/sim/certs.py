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

    def context(self) -> ssl.SSLContext:
        """The TLS settings of the server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


def _pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int) -> x509.CertificateBuilder:
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


def _make_authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pveops simulated cluster CA")])
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


def make(folder: Path, names: Iterable[str], addresses: Iterable[str]) -> Certificates:
    """Certificates in a folder: the authority of an earlier start is used again, the server certificate is always new.

    Raises:
        ConfigError: the folder cannot be written, or its authority cannot be used.
    """
    known = (folder / "ca.pem").exists() or (folder / "ca.key").exists()
    authority, authority_key = _read_authority(folder) if known else _make_authority(folder)
    key = ec.generate_private_key(ec.SECP256R1())
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pveops simulated cluster")])
    certificate = (
        _builder(subject, authority.subject, key, _DAYS)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    write_whole(folder / "server.key", _pem_key(key))
    write_whole(folder / "server.pem", pem + authority.public_bytes(serialization.Encoding.PEM), mode=0o644)
    fingerprint = certificate.fingerprint(hashes.SHA256()).hex().upper()
    pairs = ":".join(fingerprint[index : index + 2] for index in range(0, len(fingerprint), 2))
    facts: dict[str, Any] = {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "fingerprint": pairs,
        "notbefore": int(certificate.not_valid_before_utc.timestamp()),
        "notafter": int(certificate.not_valid_after_utc.timestamp()),
        "public-key-type": "id-ecPublicKey",
        "public-key-bits": key.key_size,
        "san": [str(item.value) for item in alternatives],
        "pem": pem.decode(),
    }
    return Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key", pairs, facts)
