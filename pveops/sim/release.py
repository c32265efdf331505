"""The two versions of Proxmox VE that can be simulated, where a client sees a difference."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Release:
    """A version.

    Args:
        name: what ``/version`` calls the release.
        version: the full version; a local version (PEP 440) or build metadata (semver), so it sorts as the real one and says what it is.
        message_in_body: whether a refusal says its words in the body too, or only in the reason phrase.
    """

    name: str
    version: str
    message_in_body: bool


NINE = Release("9.2", "9.2.11+sim", message_in_body=True)
EIGHT = Release("8.4", "8.4.14+sim", message_in_body=False)

RELEASES = {release.name: release for release in (NINE, EIGHT)}
