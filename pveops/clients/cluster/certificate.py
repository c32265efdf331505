"""The certificate that a node shows: to be looked at by a person and pinned."""

from __future__ import annotations

import hashlib
import socket
import ssl
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from cryptography import x509

from pveops.base.errors import Unreachable


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a server showed. ``fingerprint`` is the SHA-256, as ``AA:BB:…``."""

    url: str
    subject: str
    issuer: str
    not_after: datetime
    fingerprint: str


def look(url: str, *, timeout_s: float = 5.0) -> Certificate:
    """Fetch the certificate without trusting it.

    Raises:
        Unreachable: no connection, or no TLS.
    """
    parts = urlsplit(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # we only look: a person decides whether this is the right one
    try:
        with (
            socket.create_connection((str(parts.hostname), parts.port or 8006), timeout=timeout_s) as plain,
            context.wrap_socket(plain, server_hostname=parts.hostname) as secured,
        ):
            der = secured.getpeercert(binary_form=True) or b""
    except OSError as err:
        raise Unreachable(
            f"{url} shows no certificate: {err}.", hint="Is the address right, the node up, and port 8006 open from here?"
        ) from err
    seen = x509.load_der_x509_certificate(der)
    digest = hashlib.sha256(der).hexdigest().upper()
    return Certificate(
        url=url,
        subject=seen.subject.rfc4514_string(),
        issuer=seen.issuer.rfc4514_string(),
        not_after=seen.not_valid_after_utc,
        fingerprint=":".join(digest[index : index + 2] for index in range(0, 64, 2)),
    )
