"""Where secrets come from: one chain, asked in one order, the first that has an answer wins, and it is told which that was.

environment, systemd credential, file (mode 0600), keyring, Vault. A place that was named and does not work stops the search with its reason: nothing else is tried
in silence. A keyring that is not there is no fault: servers have none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from pveops.base.errors import ConfigError
from pveops.base.files import read_secret
from pveops.base.secret import Secret

SERVICE = "pveops"
"""The service under which a keyring holds our secrets."""


class SecretsOptions(BaseModel):
    """Where secrets are looked for beyond environment, systemd and files. ``vault_timeout_s``: seconds to wait for Vault."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keyring: bool = True
    vault_url: str = ""
    vault_mount: str = "secret"
    vault_path: str = "pveops"
    vault_namespace: str = ""
    vault_ca: str = ""
    vault_token_file: str = ""
    vault_timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A secret that is looked for.

    Attributes:
        name: how it is called in systemd, keyring and Vault: ``home-read-token``.
        what: for people: ``the read token of home``.
        variable: its environment variable; empty for none.
        file: its file as the settings name it; empty for none.
    """

    name: str
    what: str
    variable: str = ""
    file: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A secret and who had it."""

    secret: Secret = field(repr=False)
    source: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What one place says to a question, without the secret."""

    source: str
    said: str
    has: bool


class Chain:
    """All places of one home.

    Args:
        root: the home; files are named relative to it.
        env: the environment.
        options: as set in ``config.toml``.
    """

    def __init__(self, root: Path, env: Mapping[str, str], options: SecretsOptions) -> None:
        self._root = root
        self._env = env
        self._options = options

    def get(self, wanted: Wanted) -> Found:
        """The secret, from the first place that has it.

        Raises:
            ConfigError: none has it (``details["missing"]``), or a place that was named does not work.
        """
        notes = []
        for name, ask in self._places():
            secret, said = ask(wanted)
            if secret is not None:
                return Found(secret, f"{name} ({said})")
            notes.append(f"{name}: {said}")
        raise ConfigError(
            f"There is no {wanted.what.removeprefix('the ')}.", hint=f"Looked in {'; '.join(notes)}.", details={"missing": wanted.name}
        )

    def tell(self, wanted: Wanted) -> list[Answer]:
        """What every place says, in order; the first that has it is the one that counts."""
        told = []
        for name, ask in self._places():
            try:
                secret, said = ask(wanted)
            except ConfigError as err:
                told.append(Answer(name, err.message, has=False))
                continue
            told.append(Answer(name, said, has=secret is not None))
        return told

    def keep(self, wanted: Wanted, secret: Secret) -> str:
        """Put a secret into the keyring; returns which keyring that is.

        Raises:
            ConfigError: there is none, or it refuses.
        """
        keyring, why = self._keyring()
        if keyring is None:
            raise ConfigError(f"There is no keyring: {why}.", hint="Use a file with mode 0600, or a systemd credential.")
        try:
            keyring.set_password(SERVICE, wanted.name, secret.reveal())
        except Exception as err:  # noqa: BLE001 - every back end has errors of its own
            raise ConfigError(f"The keyring did not take {wanted.what} ({type(err).__name__}).", hint="Unlock it, or use a file.") from None
        return str(keyring.get_keyring().name)

    def _places(self) -> list[tuple[str, Callable[[Wanted], tuple[Secret | None, str]]]]:
        return [
            ("environment", self._from_environment),
            ("systemd", self._from_systemd),
            ("file", self._from_file),
            ("keyring", self._from_keyring),
            ("vault", self._from_vault),
        ]

    def _from_environment(self, wanted: Wanted) -> tuple[Secret | None, str]:
        if not wanted.variable:
            return None, "has no variable"
        given = self._env.get(wanted.variable, "")
        return (Secret(given), wanted.variable) if given else (None, f"{wanted.variable} is not set")

    def _from_systemd(self, wanted: Wanted) -> tuple[Secret | None, str]:
        folder = self._env.get("CREDENTIALS_DIRECTORY", "")
        if not folder:
            return None, "no credentials were passed"
        path = Path(folder) / f"{SERVICE}-{wanted.name}"
        if not path.exists():
            return None, f"no credential {path.name}"
        return Secret(_text(path, wanted.what)), path.name

    def _from_file(self, wanted: Wanted) -> tuple[Secret | None, str]:
        if not wanted.file:
            return None, "none is named"
        path = self._root / Path(wanted.file).expanduser()
        return read_secret(path, wanted.what), str(path)

    def _from_keyring(self, wanted: Wanted) -> tuple[Secret | None, str]:
        keyring, why = self._keyring()
        if keyring is None:
            return None, why
        try:
            given = keyring.get_password(SERVICE, wanted.name)
        except Exception as err:  # noqa: BLE001 - every back end has errors of its own; their text may quote what they hold
            return None, f"does not answer ({type(err).__name__})"
        name = f"{wanted.name} in {keyring.get_keyring().name}"
        return (Secret(given), name) if given else (None, f"no {name}")

    def _keyring(self) -> tuple[Any, str]:
        """The module, where it has a back end that can hold something; else why not."""
        if not self._options.keyring:
            return None, "switched off"
        try:
            import keyring  # noqa: PLC0415 - an extra, and slow to load
        except ImportError:
            return None, "not installed (pveops[secrets])"
        try:
            usable = keyring.get_keyring().priority > 0
        except Exception as err:  # noqa: BLE001 - a back end that cannot even tell
            return None, f"does not work here ({type(err).__name__})"
        return (keyring, "") if usable else (None, "none on this machine")

    def _from_vault(self, wanted: Wanted) -> tuple[Secret | None, str]:
        url = self._options.vault_url or self._env.get("VAULT_ADDR", "")
        if not url:
            return None, "not set up"
        try:
            from pveops.settings.vault import read_vault  # noqa: PLC0415 - an extra, and slow to load
        except ImportError as err:
            raise ConfigError("Vault is set up, and its client is not installed.", hint="Install pveops[secrets].") from err
        options = self._options
        given = read_vault(
            url, self._vault_token(), mount=options.vault_mount, path=options.vault_path, namespace=options.vault_namespace,
            ca=str(self._root / options.vault_ca) if options.vault_ca else "", timeout_s=options.vault_timeout_s,
        ).get(wanted.name)  # fmt: skip
        place = f"{self._options.vault_mount}/{self._options.vault_path}"
        return (Secret(given), f"{wanted.name} in {place}") if given else (None, f"no {wanted.name} in {place}")

    def _vault_token(self) -> Secret:
        token = Wanted(name="vault-token", what="the token for Vault", variable="VAULT_TOKEN", file=self._options.vault_token_file)
        for ask in (self._from_environment, self._from_systemd, self._from_file):
            secret, _ = ask(token)
            if secret is not None:
                return secret
        raise ConfigError(
            "Vault is set up, and there is no token for it.", hint="Set VAULT_TOKEN, vault_token_file, or a credential pveops-vault-token."
        )


def _text(path: Path, what: str) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"Cannot read {what} from {path}.", hint="Check LoadCredential= of the unit.") from err
    if not text:
        raise ConfigError(f"{path} should hold {what} and is empty.", hint="Check LoadCredential= of the unit.")
    return text
