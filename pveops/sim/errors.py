"""What the API says when it says no. One exception, five ways to raise it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

PARAMETERS_REFUSED = "Parameter verification failed."


class RefusedError(Exception):
    """An answer that is not 200, or the reason why a task ended with an error.

    Args:
        status: HTTP status.
        message: text without a final newline; its first line becomes the reason phrase or the exit status of the task.
        errors: text per parameter (400 only).
        empty: the answer has no body at all, as for 401 and proxy errors.
    """

    def __init__(self, status: int, message: str, *, errors: dict[str, str] | None = None, empty: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.errors = errors
        self.empty = empty

    @property
    def reason(self) -> str:
        """The first line."""
        return self.message.split("\n", 1)[0]


def bad_parameters(errors: dict[str, str]) -> RefusedError:
    """400: each named parameter with what is wrong with it."""
    return RefusedError(400, PARAMETERS_REFUSED, errors=errors)


def bad_parameter(name: str, text: str) -> RefusedError:
    """400 for one parameter."""
    return bad_parameters({name: text})


def forbidden(what: str = "") -> RefusedError:
    """403; ``what`` is the path and privilege, or another reason, in parentheses."""
    return RefusedError(403, f"Permission check failed ({what})" if what else "Permission check failed")


def failed(text: str) -> RefusedError:
    """500: nearly every refusal for a reason of content (missing, exists, locked, running)."""
    return RefusedError(500, text)


def unauthorized(reason: str) -> RefusedError:
    """401 with an empty body."""
    return RefusedError(401, reason, empty=True)


def not_implemented(text: str) -> RefusedError:
    """501: no such route, or one that exists in Proxmox VE and is not simulated."""
    return RefusedError(501, text)


def modified() -> RefusedError:
    """500: the request was made for another state of a configuration file."""
    return failed("detected modified configuration - file changed by other user? Try again.")


def died(text: str, file: str, line: int) -> RefusedError:
    """500 where the real program names the place in its source after the words."""
    return failed(f"{text} at /usr/share/perl5/PVE/{file} line {line}.")


@contextmanager
def inside(what: str) -> Iterator[None]:
    """Refusals inside become one 500 that begins with ``what``; parameters that were wrong are told in the message only.

    Raises:
        RefusedError: 500.
    """
    try:
        yield
    except RefusedError as err:
        code = "" if err.status == 500 else f"{err.status} "
        details = "".join(f"\n{name}: {text}" for name, text in (err.errors or {}).items())
        raise failed(f"{what}: {code}{err.message}{details}" if what else f"{code}{err.message}{details}") from err
