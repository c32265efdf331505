"""Settings that JupyterLab needs for cards: they go to ``labconfig/default_setting_overrides.json`` in its configuration folder."""

from __future__ import annotations

from typing import Any

LAB_SETTINGS: dict[str, dict[str, Any]] = {
    "@jupyterlab/apputils-extension:kernels-settings": {"commsOverSubshells": "perCommTarget"},  # clicks arrive while a cell runs
    "@jupyter-widgets/jupyterlab-manager:plugin": {"saveState": True},  # a saved card shows its last state without a kernel
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},  # nothing is asked from the internet
}
"""Plug-in id to settings."""
