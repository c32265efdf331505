"""Profiles: how to reach a cluster, from ``config.toml`` and the environment."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pveops.base.errors import ConfigError
from pveops.base.files import read_secret
from pveops.base.secret import Secret
from pveops.settings.home import Home
from pveops.settings.secrets import Chain, SecretsOptions, Wanted

_FINGERPRINT = re.compile(r"^(?:[0-9A-Fa-f]{2}:){31}[0-9A-Fa-f]{2}$|^[0-9A-Fa-f]{64}$")
_TOKEN = re.compile(r"^[^\s@!=:]+@[A-Za-z][\w.-]*![A-Za-z][\w.-]*=[^\s=]+$")
_HOST = re.compile(r"^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]+)$")
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")


class SshOptions(BaseModel):
    """Reading over SSH, by this machine's own OpenSSH; off unless ``enabled``. What is left empty, its configuration decides.

    ``hosts``: address per node, where it is not the one that the cluster tells. ``connect_timeout_s`` bounds a connection, ``timeout_s`` a command.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = False
    user: str = ""
    port: Annotated[int, Field(ge=0, le=65_535)] = 0
    key_file: str = ""
    known_hosts: str = ""
    config: str = ""
    hosts: dict[str, str] = {}
    connect_timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 30.0


class Profile(BaseModel):
    """One cluster. Several URLs are endpoints of the same cluster; the first that answers is used.

    ``timeout_s`` bounds a read, ``write_timeout_s`` a write, both in seconds. ``fingerprints`` (SHA-256) pin the certificate of each
    URL in order, or one for all; ``ca`` is a PEM file; with neither, the system's authorities decide.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    urls: tuple[str, ...] = ()
    read_token_file: str = ""
    write_token_file: str = ""
    ca: str = ""
    fingerprints: tuple[str, ...] = ()
    connect_timeout_s: Annotated[float, Field(gt=0, le=60)] = 4.0
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 30.0
    write_timeout_s: Annotated[float, Field(gt=0, le=600)] = 30.0
    prometheus_url: str = ""
    """A Prometheus that scrapes this cluster; without one, measurements come from Proxmox VE's own RRD."""
    prometheus_ca: str = ""
    prometheus_token_file: str = ""
    elasticsearch_url: str = ""
    """An Elasticsearch 8 for log lines; without one, they are kept in a file of ``PVEOPS_HOME``."""
    elasticsearch_user: str = ""
    elasticsearch_password_file: str = ""
    elasticsearch_ca: str = ""
    ssh: SshOptions = SshOptions()


class ExecutorOptions(BaseModel):
    """How the executor decides. ``approval_ttl_s``: how long a proposal waits, in seconds. ``bulk_targets``: from how many targets on a plan is RED."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    approval_ttl_s: Annotated[int, Field(ge=5, le=86_400)] = 900
    bulk_targets: Annotated[int, Field(ge=2, le=1000)] = 10
    task_timeout_s: Annotated[int, Field(ge=1, le=864_000)] = 86_400
    own_guests: tuple[int, ...] = ()
    """Guests that pveops itself runs on: nothing may touch them."""
    store_url: str = ""
    """``postgresql://user@host/database`` instead of SQLite in the home; needed for several workers."""
    dispatcher: Literal["in-process", "dbos"] = "in-process"
    """Who wakes runs: threads of the executor itself, or a DBOS queue that several workers share."""
    callers: tuple[str, ...] = ()
    """Users of this machine (names or numbers) who may talk to the executor, besides its own and root."""
    socket_group: str = ""
    """Group that may open the socket; empty for its own user alone."""
    own_nodes: tuple[str, ...] = ()
    """Nodes that pveops itself runs on; those that hold its guests are added."""


class Notify(BaseModel):
    """Who is told that an approval waits. ``command`` gets JSON on its standard input; ``webhook`` (on this machine alone) gets it posted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: tuple[str, ...] = ()
    webhook: str = ""


class AuditOptions(BaseModel):
    """How the ledger is sealed. ``anchors``: where signed checkpoints are kept as well; ``checkpoint_every_s``: seconds from a new record to the next."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    anchors: tuple[str, ...] = ()
    checkpoint_every_s: Annotated[float, Field(ge=1, le=86_400)] = 60.0
    checkpoint_every_records: Annotated[int, Field(ge=1, le=1_000_000)] = 1000


class InventoryOptions(BaseModel):
    """What clusters held and when. ``url``: a PostgreSQL instead of a file of the home; ``requests_per_min``: to one node at rest, at most.

    ``keep_days``: states that ended, tasks and looks of before are forgotten; what still holds is kept.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = ""
    requests_per_min: Annotated[int, Field(ge=20, le=6000)] = 60
    keep_days: Annotated[int, Field(ge=1, le=36_500)] = 400


class Config(BaseModel):
    """The whole of ``config.toml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    default_profile: str = ""
    operator: str = "operator"
    """The person whose card confirms on this machine."""
    set_up: Literal["one-person", "team"] = "one-person"
    profiles: dict[str, Profile] = {}
    executor: ExecutorOptions = ExecutorOptions()
    audit: AuditOptions = AuditOptions()
    secrets: SecretsOptions = SecretsOptions()
    notify: Notify = Notify()
    inventory: InventoryOptions = InventoryOptions()


class Target(BaseModel):
    """A profile with the environment applied and paths resolved. Tokens are read when they are needed."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    name: str
    home: Home
    profile: Profile
    env: Mapping[str, str] = Field(repr=False)
    secrets: SecretsOptions = SecretsOptions()
    inventory: InventoryOptions = InventoryOptions()

    @property
    def inventory_url(self) -> str:
        """The PostgreSQL that keeps the inventory; empty for a file of the home."""
        return self.env.get("PVEOPS_INVENTORY_URL", "") or self.inventory.url

    @property
    def ca(self) -> Path | None:
        """The PEM file to check certificates with, where one is set.

        Raises:
            ConfigError: it is not there.
        """
        return self._authority(self.profile.ca)

    @property
    def prometheus_url(self) -> str:
        """The address of the cluster's Prometheus; empty where none is set."""
        return self.env.get("PVEOPS_PROMETHEUS_URL", "") or self.profile.prometheus_url

    @property
    def prometheus_ca(self) -> Path | None:
        """The PEM file to check the Prometheus' certificate with, where one is set.

        Raises:
            ConfigError: it is not there.
        """
        return self._authority(self.profile.prometheus_ca)

    def prometheus_token(self) -> Secret | None:
        """The bearer token for the Prometheus, where it needs one.

        Raises:
            ConfigError: its file is missing or open to others.
        """
        file = self.profile.prometheus_token_file
        return read_secret(self.home.root / Path(file).expanduser(), "the token of the Prometheus") if file else None

    @property
    def elasticsearch_url(self) -> str:
        """The address of the Elasticsearch for log lines; empty where none is set."""
        return self.env.get("PVEOPS_ELASTICSEARCH_URL", "") or self.profile.elasticsearch_url

    @property
    def elasticsearch_ca(self) -> Path | None:
        """The PEM file to check the Elasticsearch's certificate with, where one is set.

        Raises:
            ConfigError: it is not there.
        """
        return self._authority(self.profile.elasticsearch_ca)

    def elasticsearch_login(self) -> tuple[str, Secret | None]:
        """User and password for the Elasticsearch, where it needs them.

        Raises:
            ConfigError: the file of the password is missing or open to others.
        """
        file = self.profile.elasticsearch_password_file
        return self.profile.elasticsearch_user, read_secret(
            self.home.root / Path(file).expanduser(), "the password of the Elasticsearch"
        ) if file else None

    def _authority(self, file: str) -> Path | None:
        if not file:
            return None
        path = self.home.root / Path(file).expanduser()
        if not path.is_file():
            raise ConfigError(
                f"The certificate authority file {path} of profile {self.name} is not there.",
                hint="Run `pveops init`, or name the right file.",
            )
        return path

    def read_token(self) -> Secret:
        """The token for reading.

        Raises:
            ConfigError: none is set, its file is missing or open to others, or it has not the form ``user@realm!name=value``.
        """
        return self._token("read")

    def write_token(self) -> Secret:
        """The token for writing: for the executor only.

        Raises:
            ConfigError: as ``read_token``.
        """
        return self._token("write")

    def wanted(self, role: Literal["read", "write"]) -> Wanted:
        """What is looked for as the token of this role."""
        file = self.profile.read_token_file if role == "read" else self.profile.write_token_file
        return Wanted(name=f"{self.name}-{role}-token", what=f"the {role} token", variable=f"PVEOPS_{role.upper()}_TOKEN", file=file)

    @property
    def chain(self) -> Chain:
        """Where secrets are looked for."""
        return Chain(self.home.root, self.env, self.secrets)

    def _token(self, role: Literal["read", "write"]) -> Secret:
        wanted = self.wanted(role)
        try:
            found = self.chain.get(wanted)
        except ConfigError as err:
            if "missing" not in err.details:
                raise
            raise ConfigError(
                f"Profile {self.name} has no {role} token.",
                hint=f"Set {wanted.variable}, or {role}_token_file in {self.home.config}. {err.hint}",
            ) from err
        return check_token(found.secret, found.source)


def load_config(home: Home) -> Config:
    """Read ``config.toml``; a missing file is an empty one.

    Raises:
        ConfigError: unreadable, no TOML, an unknown key or a value out of bounds: the place is named.
    """
    try:
        text = home.config.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Config()
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"Cannot read {home.config}: {err}.", hint="Check its owner and mode.") from err
    try:
        return Config.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as err:
        raise ConfigError(
            f"{home.config} is no valid TOML: {err}.", hint="Mend that line, or move the file away and run `pveops init`."
        ) from err
    except ValidationError as err:
        first = err.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"{home.config}: {where}: {first['msg']}.", hint="Mend or remove that key; docs/configuration.md lists all of them."
        ) from err


def check_token(token: Secret, where: str) -> Secret:
    """The token, if it has the form ``user@realm!name=value``.

    Raises:
        ConfigError: it has not.
    """
    if not _TOKEN.match(token.reveal()):
        raise ConfigError(
            f"The token in {where} has not the form user@realm!name=value.",
            hint="Proxmox VE shows full-tokenid and value; join them with =.",
        )
    return token


def check_url(url: str, where: str) -> str:
    """The address as ``https://host:port``.

    Raises:
        ConfigError: it is no address of a node.
    """
    try:
        parts = urlsplit(url if "//" in url else f"https://{url}")
        port = parts.port or 8006
    except ValueError as err:
        raise ConfigError(f"{where}: {url!r} has no usable port or address.", hint="Write https://host:8006.") from err
    host_fits = bool(parts.hostname and _HOST.match(parts.hostname))
    if parts.scheme != "https" or not host_fits or parts.username is not None or parts.query or parts.fragment or parts.path.strip("/"):
        raise ConfigError(
            f"{where}: {url!r} is no address of a Proxmox VE node.", hint="Write https://host:8006, without user, path or http."
        )
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    return f"https://{host}:{port}"


def _split(text: str) -> tuple[str, ...]:
    return tuple(part for part in re.split(r"[,\s]+", text.strip()) if part)


def resolve(name: str | None, home: Home, env: Mapping[str, str]) -> Target:
    """The profile to use: the named one, else ``PVEOPS_PROFILE``, else ``default_profile``, else the only one; the environment wins over the file.

    Raises:
        ConfigError: no such profile, no URL, a bad URL or fingerprint.
    """
    config = load_config(home)
    wanted = (
        name or env.get("PVEOPS_PROFILE") or config.default_profile or (next(iter(config.profiles)) if len(config.profiles) == 1 else "")
    )
    if wanted and not _NAME.match(wanted):
        raise ConfigError(f"{wanted!r} cannot be the name of a profile.", hint="Letters, digits, - _ and . are allowed.")
    if wanted and wanted not in config.profiles and (name or not env.get("PVEOPS_URLS")):
        known = ", ".join(sorted(config.profiles)) or "none yet"
        raise ConfigError(f"There is no profile called {wanted}.", hint=f"Known: {known}. `pveops init` makes one.")
    base = config.profiles.get(wanted, Profile())
    changes: dict[str, object] = {}
    if env.get("PVEOPS_URLS"):
        changes["urls"] = _split(env["PVEOPS_URLS"])
    if env.get("PVEOPS_CA"):
        changes.update(ca=str(Path(env["PVEOPS_CA"]).expanduser().absolute()), fingerprints=())
    if env.get("PVEOPS_FINGERPRINTS"):
        changes.update(fingerprints=_split(env["PVEOPS_FINGERPRINTS"]), ca="")
    profile = base.model_copy(update=changes)
    where = "PVEOPS_URLS" if "urls" in changes else f"profile {wanted}"
    if not profile.urls:
        raise ConfigError(
            "No cluster is set up yet.", hint=f"Run `pveops init`, set PVEOPS_URLS, or try `pveops up --sim`. (Looked in {home.config}.)"
        )
    urls = tuple(check_url(url, where) for url in profile.urls)
    for print_ in profile.fingerprints:
        if not _FINGERPRINT.match(print_):
            raise ConfigError(
                f"{where}: {print_!r} is no SHA-256 fingerprint.",
                hint="It has 64 hexadecimal digits, often written as AA:BB:…; `pveops init` shows it.",
            )
    if len(profile.fingerprints) not in (0, 1, len(urls)):
        raise ConfigError(
            f"{where}: {len(profile.fingerprints)} fingerprints for {len(urls)} URLs.",
            hint="Give one fingerprint for all, or one per URL in the same order.",
        )
    return Target(
        name=wanted or "env",
        home=home,
        profile=profile.model_copy(update={"urls": urls}),
        env=dict(env),
        secrets=config.secrets,
        inventory=config.inventory,
    )
