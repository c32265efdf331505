"""Speaks to the control door of a simulated cluster that runs."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pveops.base.errors import ConfigError, InputError, Unreachable

_TIMEOUT_S = 30.0


class ControlClient:
    """Adds, lists and clears faults of a cluster that another process simulates.

    Args:
        info: what it wrote into its info file.

    Raises:
        ConfigError: the info lacks the control door.
    """

    def __init__(self, info: Mapping[str, Any]) -> None:
        try:
            self._url = str(info["control"])
            self._authorities = str(info.get("control_ca") or info["ca"])
        except KeyError as err:
            raise ConfigError(f"This is no info file of a simulated cluster: {err!r}.", hint="Name the file that --info wrote.") from err

    @classmethod
    def of(cls, path: Path) -> ControlClient:
        """The client for an info file.

        Raises:
            ConfigError: it cannot be read: probably nothing runs.
        """
        try:
            info = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as err:
            raise ConfigError(
                f"Cannot read {path}: {err}.", hint="Is a simulated cluster running? Name its info file with --info."
            ) from err
        return cls(info if isinstance(info, dict) else {})

    def _ask(self, method: str, verb: str, body: Mapping[str, Any] | None = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        try:
            context = ssl.create_default_context(cafile=self._authorities)  # read again each time: a fault may add one
        except OSError as err:
            raise ConfigError(f"Cannot read {self._authorities}: {err}.", hint="Does the simulated cluster still run?") from err
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        request = urllib.request.Request(  # noqa: S310 - the address stands in the info file, and only HTTPS is handled
            f"{self._url}/{verb}", data=data, method=method, headers={"Content-Type": "application/json"}
        )
        try:
            with opener.open(request, timeout=_TIMEOUT_S) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as err:
            raise _refused(err) from err
        except (urllib.error.URLError, OSError, ValueError) as err:
            raise Unreachable(f"The simulated cluster does not answer: {err}.", hint="Is it still running?") from err

    def state(self) -> dict[str, Any]:
        """Simulated time, speed, seed, coverage."""
        return dict(self._ask("GET", ""))

    def advance(self, seconds: float) -> dict[str, Any]:
        """Jump forward in simulated time."""
        return dict(self._ask("POST", "advance", {"seconds": seconds}))

    def faults(self) -> list[dict[str, Any]]:
        """The truth about all faults so far."""
        return list(self._ask("GET", "faults"))

    def add(self, kind: str, given: Mapping[str, Any], *, in_s: float = 0.0, lasts_s: float | None = None) -> dict[str, Any]:
        """Bring a fault about; its truth.

        Raises:
            InputError: it is not possible, with the reason.
        """
        body: dict[str, Any] = {"kind": kind, "parameters": dict(given), "in_s": in_s}
        return dict(self._ask("POST", "faults", body | ({"lasts_s": lasts_s} if lasts_s is not None else {})))

    def play(self, document: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Plan a scenario (the content of its file); the truth of its faults."""
        return list(self._ask("POST", "scenario", document))

    def clear(self, ident: str) -> list[dict[str, Any]]:
        """Put a fault right by hand; ``all`` takes every one."""
        return list(self._ask("DELETE", f"faults/{ident}"))


def _refused(err: urllib.error.HTTPError) -> InputError | ConfigError:
    try:
        told = json.loads(err.read())
        text, hint = str(told["error"]), str(told.get("hint", ""))
    except (ValueError, KeyError, TypeError):
        return ConfigError(f"The control door answered {err.code}.", hint="Is this the info file of the cluster that runs now?")
    return InputError(text, hint=hint)
