"""Property strings that the schema knows by name only: their keys and rules."""

from __future__ import annotations

from typing import Any

_TEXT: dict[str, Any] = {"type": "string", "optional": 1}
_FLAG: dict[str, Any] = {"type": "boolean", "optional": 1}
_COUNT: dict[str, Any] = {"type": "integer", "optional": 1, "minimum": 0}
_VOLUME: dict[str, Any] = {"type": "string", "optional": 1, "format": "pve-volume-id"}

NAMED_PROPS: dict[str, dict[str, dict[str, Any]]] = {
    "backup-fleecing": {
        "enabled": {"type": "boolean", "optional": 1, "default_key": 1},
        "storage": {"type": "string", "optional": 1, "format": "pve-storage-id"},
    },
    "backup-performance": {
        "max-workers": {"type": "integer", "optional": 1, "minimum": 1, "maximum": 256},
        "pbs-entries-max": {"type": "integer", "optional": 1, "minimum": 1},
    },
    "prune-backups": {
        "keep-all": _FLAG,
        **{f"keep-{span}": _COUNT for span in ("last", "hourly", "daily", "weekly", "monthly", "yearly")},
    },
    "pve-qm-cicustom": {"meta": _VOLUME, "network": _VOLUME, "user": _VOLUME, "vendor": _VOLUME},
    "pve-qm-ipconfig": {
        "gw": {"type": "string", "optional": 1, "format": "ipv4", "requires": "ip"},
        "gw6": {"type": "string", "optional": 1, "format": "ipv6", "requires": "ip6"},
        "ip": {"type": "string", "optional": 1, "format": "pve-ipv4-config"},
        "ip6": _TEXT,
    },
    "pve-qm-rng": {
        "max_bytes": _COUNT,
        "period": _COUNT,
        "source": {"type": "string", "default_key": 1, "enum": ["/dev/urandom", "/dev/random", "/dev/hwrng"]},
    },
    "pve-qm-smbios1": {
        "base64": _FLAG,
        "uuid": {"type": "string", "optional": 1, "pattern": "[a-fA-F0-9]{8}(?:-[a-fA-F0-9]{4}){3}-[a-fA-F0-9]{12}"},
        **dict.fromkeys(("family", "manufacturer", "product", "serial", "sku", "version"), _TEXT),
    },
    "pve-qm-watchdog": {
        "action": {"type": "string", "optional": 1, "enum": ["reset", "shutdown", "poweroff", "pause", "debug", "none"]},
        "model": {"type": "string", "optional": 1, "default_key": 1, "enum": ["i6300esb", "ib700"]},
    },
}
