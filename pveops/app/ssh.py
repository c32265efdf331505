"""``ops.ssh``: commands on nodes that only read, for what the API has no answer to. Off until the profile says otherwise."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pveops.base.errors import ConfigError, PveopsError, UnknownName
from pveops.base.redact import redact
from pveops.clients.ssh.allowed import allowed, commands
from pveops.clients.ssh.shell import Shell, Way
from pveops.clients.ssh.typed import data_of, rows_of

if TYPE_CHECKING:
    import pandas as pd

    from pveops.clients.cluster.read import Reader
    from pveops.settings.profile import Target

_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class SshAnswer:
    """What a command on a node gave. ``data`` is JSON objects, rows, a mapping or text, as the command's shape is."""

    node: str
    command: str
    data: Any = field(repr=False)
    text: str = field(repr=False)
    said: str
    """What it wrote beside its output."""
    exit_code: int
    seconds: float
    cut: bool = False
    """Whether there was more than 16 MiB."""

    def frame(self) -> pd.DataFrame:
        """The rows in it, one column per name."""
        return _frame([{"node": self.node, **row} for row in rows_of(self.data)])


class Ssh:
    """Reading over SSH. Only commands of the list run, word by word; nothing is sent to a command's input."""

    def __init__(self, target: Target, reader: Reader) -> None:
        self._target = target
        self._reader = reader
        self._shell: Shell | None = None

    @staticmethod
    def commands() -> pd.DataFrame:
        """The list: ``usage shape doc``. ``{disk}`` stands for a word of that form, ``[ ]`` for what may be left out."""
        return _frame([{"usage": one.usage, "shape": one.shape, "doc": one.doc} for one in commands()])

    def run(self, node: str, command: str) -> SshAnswer:
        """Run a command of the list on a node. Credentials in what it prints are taken out.

        Raises:
            InputError: it is none of the list.
            ConfigError: SSH is off in this profile.
            UnknownName: there is no such node.
            CertificateMismatch: its host key is not known.
            AuthFailed: it does not let us in.
            TransportError: no connection, or no end in time.
        """
        which, words = allowed(command)
        way = self._ways([node])[node]
        output = self._open().run(way, words, node)
        text = redact(output.stdout)
        return SshAnswer(
            node, command, data_of(which, text), text, redact(output.stderr.strip()), output.exit_code, round(output.seconds, 3), output.cut
        )

    def read(self, command: str, nodes: list[str] | None = None) -> pd.DataFrame:
        """Run a command on several nodes (by default on all that are online) and put the rows together, with a column ``node``.

        ``.attrs``: ``source``, ``complete``, and ``gaps``: nodes that gave nothing, with the reason. Raises as ``run``, but for single nodes.
        """
        allowed(command)
        chosen = nodes or [node.name for node in self._reader.nodes().rows if node.status == "online"]
        self._ways(chosen)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = list(pool.map(lambda name: self._try(name, command), chosen))
        frame = _frame([row for rows, _ in found for row in rows])
        gaps = [gap for _, gap in found if gap]
        frame.attrs.update(source=f"SSH: {command}", complete=not gaps, gaps=gaps)
        return frame

    def close(self) -> None:
        """End the connections that are kept."""
        if self._shell is not None:
            self._shell.close()
            self._shell = None

    def _try(self, node: str, command: str) -> tuple[list[dict[str, Any]], dict[str, str] | None]:
        try:
            answer = self.run(node, command)
        except PveopsError as err:
            return [], {"what": node, "why": err.message, "needs": ""}
        rows = [{"node": node, **row} for row in rows_of(answer.data)]
        if answer.exit_code and not rows:
            return [], {"what": node, "why": f"it ended with {answer.exit_code}: {answer.said or 'no reason given'}", "needs": ""}
        return rows, {"what": node, "why": "it printed more than 16 MiB", "needs": ""} if answer.cut else None

    def _open(self) -> Shell:
        if self._shell is None:
            self._shell = Shell()
        return self._shell

    def _ways(self, nodes: list[str]) -> dict[str, Way]:
        options = self._target.profile.ssh
        if not options.enabled:
            raise ConfigError(
                f"SSH is off in profile {self._target.name}.",
                hint=f"Where the API has no answer, set enabled = true under [profiles.{self._target.name}.ssh] in {self._target.home.config}.",
            )
        known = {str(row.get("name")): str(row.get("ip") or "") for row in self._reader.cluster_status().raw if row.get("type") == "node"}
        found = {}
        for node in nodes:
            if node not in known:
                raise UnknownName(f"There is no node {node}.", hint=f"Nodes: {', '.join(sorted(known))}.")
            found[node] = Way(
                host=options.hosts.get(node) or known[node] or node, user=options.user, port=options.port, key_file=self._path(options.key_file),
                known_hosts=self._path(options.known_hosts), config=self._path(options.config), connect_timeout_s=options.connect_timeout_s,
                timeout_s=options.timeout_s,
            )  # fmt: skip
        return found

    def _path(self, file: str) -> str:
        return str(self._target.home.root / Path(file).expanduser()) if file else ""


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 - pandas is loaded when the first table is made

    return pd.DataFrame(rows)
