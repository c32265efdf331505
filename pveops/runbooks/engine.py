"""Runs a notebook with papermill, and reads its outcome off the result."""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pveops.base.errors import ConfigError, InputError
from pveops.runbooks.outcome import MIME

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Result:
    """How a notebook run ended. ``ending`` is ``finished`` where the notebook declares no outcome, ``broken`` where a cell raised."""

    ending: str
    text: str
    notebook: Path
    duration_s: float


def declared(notebook: Path) -> dict[str, Any]:
    """Parameters that a notebook declares (its cell tagged ``parameters``), with their defaults as source text.

    Raises:
        InputError: there is no such notebook.
    """
    import papermill  # noqa: PLC0415 - loads a second of libraries

    if not notebook.is_file():
        raise InputError(f"There is no notebook {notebook}.", hint="Name its file.")
    return {name: found["default"] for name, found in papermill.inspect_notebook(str(notebook)).items()}


def run(notebook: Path, result: Path, parameters: Mapping[str, Value], *, kernel: str = "python3", timeout_s: int | None = None) -> Result:
    """Run a notebook from top to bottom into ``result``.

    Args:
        notebook: the runbook.
        result: gets the notebook with all outputs, also of a run that broke.
        parameters: only names that the notebook declares: anything else would become code in it.
        kernel: the Jupyter kernel.
        timeout_s: longest time for one cell, in seconds.

    Raises:
        InputError: no such notebook, an undeclared parameter, or a value that is no plain value.
        ConfigError: the kernel does not start.
    """
    import papermill  # noqa: PLC0415 - loads a second of libraries
    from jupyter_client.kernelspec import NoSuchKernel  # noqa: PLC0415
    from traitlets.config import Config  # noqa: PLC0415

    known = declared(notebook)
    for name, value in parameters.items():
        if name not in known:
            raise InputError(f"{notebook.name} declares no parameter {name!r}.", hint=f"It declares: {', '.join(known) or 'none'}.")
        if not isinstance(value, (str, int, float, bool)):
            raise InputError(f"{name} must be a text, a number or true/false.")
    started = time.monotonic()
    broken = ""
    try:
        with warnings.catch_warnings(), _private_runtime():
            warnings.simplefilter("ignore")  # of the kernel's own libraries; they are no message to people
            papermill.execute_notebook(
                str(notebook),
                str(result),
                parameters=dict(parameters),
                kernel_name=kernel,
                progress_bar=False,
                log_output=False,
                execution_timeout=timeout_s,
                cwd=str(notebook.parent),
                # over TCP every user of the machine could listen to the kernel's output
                # and what the kernel tells of its own end is no message to people
                config=Config(
                    {"KernelManager": {"transport": "ipc"}, "NotebookClient": {"extra_arguments": ["--IPKernelApp.log_level=50"]}}
                ),
            )
    except papermill.PapermillExecutionError as err:
        broken = f"{err.ename}: {err.evalue}"
    except NoSuchKernel as err:
        raise ConfigError(f"There is no Jupyter kernel called {kernel}.", hint="Run `pip install ipykernel`.") from err
    ending, text = ("broken", broken) if broken else read_outcome(result)
    return Result(ending, text, result, time.monotonic() - started)


@contextmanager
def _private_runtime() -> Iterator[None]:
    """A short folder of our own for the kernel's sockets: a socket address holds 107 bytes, and nobody else may look in."""
    before = os.environ.get("JUPYTER_RUNTIME_DIR")
    with tempfile.TemporaryDirectory(prefix="pvo") as folder:
        os.environ["JUPYTER_RUNTIME_DIR"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["JUPYTER_RUNTIME_DIR"]
            else:
                os.environ["JUPYTER_RUNTIME_DIR"] = before


def read_outcome(result: Path) -> tuple[str, str]:
    """The last outcome that a run notebook shows."""
    import nbformat  # noqa: PLC0415

    ending, text = "finished", "all cells ran"
    notebook = nbformat.read(str(result), as_version=4)  # type: ignore[no-untyped-call]
    for cell in notebook.cells:
        for shown in cell.get("outputs", ()):
            data = shown.get("data", {}).get(MIME)
            if isinstance(data, dict):
                ending, text = str(data.get("ending")), str(data.get("text"))
    return ending, text
