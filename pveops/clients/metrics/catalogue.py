"""What a Prometheus knows: names, labels, targets. The only module that knows prometheus-api-client.

That library serves these small answers well. Samples go another way: its frames have no time zone, repeat samples at the borders of pieces, and
overwrite a label called ``value``.
"""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.util.retry import Retry

from pveops.base.errors import TransportError, Unreachable
from pveops.base.redact import redact
from pveops.base.secret import Secret

_TIMEOUT_S = 10


class Catalogue:
    """The catalogue of one Prometheus. Every method may raise ``TransportError``."""

    def __init__(self, url: str, *, token: Secret | None = None, ca: Path | None = None) -> None:
        self._url = url
        session = requests.Session()
        weakref.finalize(self, session.close)
        session.trust_env = False
        session.verify = str(ca) if ca else True
        headers = {"Authorization": f"Bearer {token.reveal()}"} if token else {}
        self._client = PrometheusConnect(url, headers=headers, session=session, retry=Retry(0), timeout=_TIMEOUT_S)

    def names(self) -> tuple[str, ...]:
        """Names of all metrics."""
        return tuple(sorted(self._ask(self._client.all_metrics)))

    def values(self, label: str) -> tuple[str, ...]:
        """The values that a label has."""
        return tuple(sorted(self._ask(self._client.get_label_values, label)))

    def targets(self) -> tuple[dict[str, Any], ...]:
        """What is scraped: ``job instance health error last``, one row per target."""
        found = self._ask(self._client.get_targets, "active")
        return tuple(
            {
                "job": row.get("labels", {}).get("job"),
                "instance": row.get("labels", {}).get("instance"),
                "health": row.get("health"),
                "error": row.get("lastError") or None,
                "last": row.get("lastScrape"),
            }
            for row in found.get("activeTargets", [])
        )

    def _ask(self, call: Any, *args: Any) -> Any:
        try:
            return call(*args)
        except requests.exceptions.ConnectionError as err:
            raise Unreachable(f"{self._url} gives no connection.", hint="Is Prometheus up, and the address right?") from err
        except (requests.exceptions.RequestException, PrometheusApiClientException, ValueError, KeyError) as err:
            raise TransportError(f"{self._url} gave no catalogue ({redact(str(err))[:200]}).", hint="Is this a Prometheus?") from err
