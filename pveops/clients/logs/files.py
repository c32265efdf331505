"""Log files that grow, are moved away and begin anew: every line of them once, also over the death of the process that reads them.

The place that was reached is kept beside the store, after the lines are. A piece that was under way when the process died is read again, with the
same bounds and the same time, so its lines have the same ids and stay one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import IO

import orjson

from pveops.base.clock import Clock
from pveops.base.errors import ConfigError, InputError
from pveops.base.files import write_whole
from pveops.clients.logs.made import made, taken_apart
from pveops.model.logs import LogLine

_PIECE = 1 << 20
_HEAD = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far a file was read: to ``offset``. ``until`` is where the piece under way ends, ``at_ms`` the time of its lines that tell none.

    ``inode`` and the first ``head_bytes`` tell whether a file is still the same one.
    """

    inode: int
    head: str = ""
    head_bytes: int = 0
    offset: int = 0
    until: int = 0
    at_ms: int = 0


class Places:
    """How far each file was read, in a file that is always whole.

    Raises:
        ConfigError: what is kept there cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            found = orjson.loads(path.read_bytes()) if path.exists() else {}
            self._places = {name: Place(**place) for name, place in found.items()}
        except (OSError, ValueError, TypeError, AttributeError) as err:
            hint = "Remove it: files are then read from their beginning; lines that hold their time are not kept twice."
            raise ConfigError(f"Cannot read {path}: {err}.", hint=hint) from err

    def get(self, name: str) -> Place | None:
        """How far a file was read, if it ever was."""
        return self._places.get(name)

    def keep(self, name: str, place: Place) -> None:
        """Keep a place; it is on disk when this returns.

        Raises:
            ConfigError: it cannot be written.
        """
        self._places[name] = place
        write_whole(self._path, orjson.dumps({name: asdict(place) for name, place in self._places.items()}))


class FollowedFile:
    """One file by its path, whichever file that is at the moment.

    Args:
        path: where lines are written.
        places: how far it was read.
        keep: takes lines and returns how many were new; what it took is kept.
        host: of lines that tell none.

    Raises:
        InputError: it is no file that can be read.
    """

    def __init__(self, path: Path, places: Places, keep: Callable[[Sequence[LogLine]], int], *, host: str, clock: Clock) -> None:
        self._path = path.absolute()
        self._places = places
        self._keep = keep
        self._host = host
        self._clock = clock
        self._open: IO[bytes] | None = None
        self.missed: list[str] = []
        """What may be lost, in sentences, since it was last emptied."""

    @property
    def name(self) -> str:
        """Its path."""
        return str(self._path)

    def close(self) -> None:
        """Let the file go."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def look(self) -> tuple[int, int]:
        """Read what is new, to its last whole line; returns how many lines there were and how many of them were not known.

        Raises:
            InputError: it cannot be read.
            TransportError: the store takes no lines; nothing is lost, look again.
        """
        read = new = 0
        try:
            for file in self._files():
                for lines in self._pieces(file):
                    read += len(lines)
                    new += self._keep(lines)
                    self._done()
        except OSError as err:
            raise InputError(f"{self._path} cannot be read: {err.strerror}.", hint="Is the path right, and may you read it?") from err
        return read, new

    def _files(self) -> Iterator[IO[bytes]]:
        """The file that was being read, to its end, then the one that has taken its place."""
        place = self._places.get(self.name)
        if self._open is None:
            self._open = self._found(place) if place else None
            if place and self._open is None:
                self.missed.append(f"{self._path} was moved away before its end was read; what was written there until then is missing.")
        if self._open is not None:
            if place and (os.fstat(self._open.fileno()).st_size < place.offset or not _same(self._open, place)):
                self.missed.append(f"{self._path} was cut; what was written since the last look may be missing.")
                self._places.keep(self.name, Place(inode=place.inode))
            yield self._open
            if not self._moved(self._open):
                return
            yield self._open  # whoever writes to the new one has written all there is to the old one
            self.close()
        self._open = self._path.open("rb")
        self._places.keep(self.name, Place(inode=os.fstat(self._open.fileno()).st_ino))
        yield self._open

    def _moved(self, file: IO[bytes]) -> bool:
        """Whether another file stands in its place, and lines in it."""
        found = self._path.stat() if self._path.exists() else None
        return found is not None and found.st_size > 0 and found.st_ino != os.fstat(file.fileno()).st_ino

    def _found(self, place: Place) -> IO[bytes] | None:
        """The file that was read last, under its path or, moved aside, under one that begins with it."""
        for path in (self._path, *sorted(self._path.parent.glob(f"{self._path.name}?*"))):
            if path.is_file() and path.stat().st_ino == place.inode:
                file = path.open("rb")
                if path == self._path or _same(file, place):
                    return file
                file.close()
        return None

    def _pieces(self, file: IO[bytes]) -> Iterator[list[LogLine]]:
        while True:
            place = self._places.get(self.name) or Place(inode=os.fstat(file.fileno()).st_ino)
            file.seek(place.offset)
            piece = file.read(place.until - place.offset if place.until > place.offset else _PIECE)
            if place.until <= place.offset:
                whole = piece.rfind(b"\n") + 1 or (len(piece) if len(piece) == _PIECE else 0)  # a line without an end is cut
                if not whole:
                    return
                piece = piece[:whole]
                now_ms = round(self._clock.now().timestamp() * 1000)
                place = replace(_with_head(file, place, place.offset + whole), until=place.offset + whole, at_ms=now_ms)
                self._places.keep(self.name, place)
            yield list(self._lines(piece, place))

    def _done(self) -> None:
        place = self._places.get(self.name)
        if place:
            self._places.keep(self.name, replace(place, offset=place.until))

    def _lines(self, piece: bytes, place: Place) -> Iterator[LogLine]:
        at = place.offset
        ahead_s = local_ahead_s(place.at_ms)
        for raw in piece.splitlines(keepends=True):
            text = raw.decode("utf-8", "replace").strip("\r\n\x00")
            if text.strip():
                parts = taken_apart(text, ahead_s=ahead_s, until_s=place.at_ms // 1000)
                yield made(
                    time_ms=place.at_ms if parts.time_ms is None else parts.time_ms,
                    host=parts.host or self._host,
                    unit=parts.unit or self._path.stem,
                    message=parts.message,
                    source="file",
                    mark=f"{self._path.name} {place.inode:x} {at}",
                )
            at += len(raw)


def local_ahead_s(at_ms: int) -> int:
    """How far the clock on this machine's wall is ahead of UTC at a time, seconds."""
    offset = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone().utcoffset()
    return int(offset.total_seconds()) if offset else 0


def _head(file: IO[bytes], size: int) -> str:
    file.seek(0)
    return blake2b(file.read(size), digest_size=12).hexdigest()


def _with_head(file: IO[bytes], place: Place, known: int) -> Place:
    if place.head_bytes >= _HEAD:
        return place
    size = min(_HEAD, known)
    return replace(place, head=_head(file, size), head_bytes=size)


def _same(file: IO[bytes], place: Place) -> bool:
    return not place.head_bytes or _head(file, place.head_bytes) == place.head
