"""What is inside a guest or node as far as anybody can reach it from outside: files, runs of programs, and a shell for a few of them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from datetime import UTC, datetime

MOST_BYTES = 16 * 1024**2
NOT_FOUND = 127
_FAILED = 1


@dataclass(slots=True)
class Outcome:
    """How a program ended: its exit code and what it wrote."""

    code: int = 0
    out: str = ""
    err: str = ""


@dataclass(slots=True)
class Inside:
    """The inside of one machine. ``frozen`` counts file systems that stand still; ``runs`` is process id to (end, outcome)."""

    name: str
    files: dict[str, str] = field(default_factory=dict)
    runs: dict[int, tuple[float, Outcome]] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)
    frozen: int = 0
    next_pid: int = 2100

    def read(self, path: str) -> str | None:
        """The content of a file; ``None`` when there is none."""
        return self.files.get(path, f"{self.name}\n" if path == "/etc/hostname" else None)

    def run(self, words: list[str], now_s: float, since_s: float) -> Outcome:
        """Run a program that the shell knows: what it does is done at once."""
        program, arguments = (words[0].rpartition("/")[2], words[1:]) if words else ("", [])
        simple = {
            "": "",
            "true": "",
            "hostname": self.name,
            "whoami": "root",
            "id": "uid=0(root) gid=0(root) groups=0(root)",
            "pwd": "/root",
            "uname": "Linux" + (f" {self.name} 6.12.48+deb13-amd64 x86_64" if arguments else ""),
            "date": f"{datetime.fromtimestamp(now_s, UTC):%a %b %e %H:%M:%S UTC %Y}",
            "uptime": f" {datetime.fromtimestamp(now_s, UTC):%H:%M:%S} up {int((now_s - since_s) // 60)} min,  1 user,  load average: 0.12, 0.08, 0.05",
            "echo": " ".join(arguments),
        }
        if program in simple:
            return Outcome(out=f"{simple[program]}\n" if simple[program] or program == "echo" else "")
        if program == "false":
            return Outcome(_FAILED)
        if program == "ls":
            return Outcome(out="".join(f"{path}\n" for path in sorted(self.files)))
        if program == "cat":
            return self._cat(arguments)
        if program in ("sh", "bash") and arguments[:1] == ["-c"] and len(arguments) > 1:
            return self.line(arguments[1], now_s, since_s)
        return Outcome(NOT_FOUND, err=f"{program}: command not found\n")

    def _cat(self, paths: list[str]) -> Outcome:
        found = Outcome()
        for path in paths:
            content = self.read(path)
            if content is None:
                found.code, found.err = _FAILED, f"{found.err}cat: {path}: No such file or directory\n"
            else:
                found.out += content
        return found

    def line(self, text: str, now_s: float, since_s: float) -> Outcome:
        """Run a line as a shell reads it; quotes that do not end are an error."""
        try:
            words = shlex.split(text)
        except ValueError as err:
            return Outcome(2, err=f"sh: {err}\n")
        return self.run(words, now_s, since_s)
