"""The one folder that holds everything pveops keeps."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pveops.base.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Home:
    """``PVEOPS_HOME``, by default ``~/.local/state/pveops``. Private to its owner."""

    root: Path
    socket_at: Path | None = None

    @classmethod
    def find(cls, env: Mapping[str, str]) -> Home:
        """The folder that the environment names, or the default. It is not made here.

        Raises:
            ConfigError: the path is no folder.
        """
        named = env.get("PVEOPS_HOME")
        if named:
            root = Path(named).expanduser().absolute()
        else:
            state = env.get("XDG_STATE_HOME") or str(Path(env.get("HOME") or "~").expanduser() / ".local" / "state")
            root = Path(state) / "pveops"
        if root.exists() and not root.is_dir():
            raise ConfigError(f"PVEOPS_HOME is {root}, and that is no folder.", hint="Point it at a folder, or unset it.")
        at = env.get("PVEOPS_SOCKET")
        return cls(root, Path(at).absolute() if at else None)

    def make(self) -> Home:
        """Make the folder (mode 0700) if it is missing.

        Raises:
            ConfigError: it cannot be made, or others may write to it.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as err:
            raise ConfigError(f"Cannot make {self.root}: {err.strerror}.", hint="Set PVEOPS_HOME to a folder you may write to.") from err
        if self.root.stat().st_mode & 0o022:
            raise ConfigError(f"Others may write to {self.root}.", hint=f"Run: chmod 700 {self.root}")
        if not os.access(self.root, os.W_OK | os.X_OK):
            raise ConfigError(f"{self.root} is not writable for you.", hint="Set PVEOPS_HOME to a folder you may write to.")
        return self

    @property
    def config(self) -> Path:
        """Profiles and options."""
        return self.root / "config.toml"

    @property
    def policy(self) -> Path:
        """Cedar policies (``*.cedar``)."""
        return self.root / "policy"

    @property
    def principals(self) -> Path:
        """Who there is: names, kinds, token hashes, public keys."""
        return self.root / "principals.json"

    def credential(self, principal: str) -> Path:
        """Token and private key of one principal (mode 0600)."""
        return self.root / "credentials" / f"{principal}.json"

    @property
    def kill_switch(self) -> Path:
        """Missing, unreadable or corrupt means: nothing is written."""
        return self.root / "killswitch.json"

    @property
    def ledger(self) -> Path:
        """The audit ledger."""
        return self.root / "audit" / "ledger.jsonl"

    @property
    def ledger_index(self) -> Path:
        """Finds records; can be removed at any time."""
        return self.root / "audit" / "index.sqlite"

    @property
    def checkpoints(self) -> Path:
        """Signed statements on how the ledger stood."""
        return self.root / "audit" / "checkpoints.jsonl"

    @property
    def ledger_public_key(self) -> Path:
        """What checkpoints are checked with."""
        return self.root / "audit" / "ledger.pub"

    @property
    def ledger_key(self) -> Path:
        """What checkpoints are signed with: the executor's alone."""
        return self.root / "executor" / "ledger.key"

    @property
    def store(self) -> Path:
        """Proposals and run journal."""
        return self.root / "executor" / "store.sqlite"

    @property
    def socket(self) -> Path:
        """The executor's socket: where ``PVEOPS_SOCKET`` says, else in the home."""
        return self.socket_at or self.root / "executor" / "executor.sock"

    @property
    def executor_lock(self) -> Path:
        """Held by the one executor of this home."""
        return self.root / "executor" / "executor.lock"

    @property
    def executor_id(self) -> Path:
        """The executor's lasting name: the audience of approvals."""
        return self.root / "executor" / "executor.id"

    @property
    def costs(self) -> Path:
        """What each process costs, a file per process; can be removed at any time."""
        return self.root / "run" / "cost"

    def log(self, process: str) -> Path:
        """The JSON log of one process."""
        return self.root / "logs" / f"{process}.jsonl"
