"""Makes a home for a simulated cluster, from what the simulation says about itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pveops.app.setup import USUAL, add_policy, add_principals, add_profile, arm, write_secret
from pveops.base.errors import ConfigError
from pveops.base.secret import Secret
from pveops.settings.home import Home

PROFILE = "sim"


def read_info(path: Path) -> dict[str, Any] | None:
    """What a simulated cluster wrote when it was ready; None before that."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return None


def adopt(
    home: Home, info: Mapping[str, Any], *, profile: str = PROFILE, default: bool = True, extra: Mapping[str, Any] | None = None
) -> Home:
    """Principals, policy, kill switch, both tokens and a profile for this simulated cluster.

    Raises:
        ConfigError: the home cannot be written, or the description lacks something.
    """
    try:
        tokens, url, authority = info["tokens"], str(info["url"]), str(info["ca"])
        reader, operator = Secret(str(tokens["reader"])), Secret(str(tokens["operator"]))
    except (KeyError, TypeError) as err:
        raise ConfigError(f"The simulated cluster did not say its {err}.") from err
    home.make()
    add_principals(home, USUAL)
    add_policy(home)
    arm(home, by="up --sim")
    fields = {
        "urls": [url],
        "ca": authority,
        "read_token_file": write_secret(home, f"{profile}-read.token", reader),
        "write_token_file": write_secret(home, f"executor/{profile}-act.token", operator),
        **(extra or {}),
    }
    add_profile(home, profile, fields, default=default)
    return home
