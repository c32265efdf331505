"""One record with the proof that a signed checkpoint covers it: enough for somebody who must not see the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pveops.base.errors import AuditError, InputError
from pveops.guard.audit.check import finished_lines
from pveops.guard.audit.checkpoint import Checkpoint, check_checkpoint, parse_checkpoint
from pveops.guard.audit.lines import GENESIS, Misfit, check_line, parse_line
from pveops.guard.audit.merkle import included, inclusion_proof, leaf_hash


def prove(path: Path, seq: int, checkpoints: Iterable[Checkpoint]) -> dict[str, Any]:
    """The record with that number, the newest checkpoint, and the audit path between them.

    Raises:
        InputError: no checkpoint covers such a record.
        AuditError: the ledger is damaged.
    """
    newest = max(checkpoints, key=lambda one: one.size, default=None)
    if newest is None or not 1 <= seq <= newest.size:
        covered = newest.size if newest else 0
        raise InputError(f"No checkpoint covers record {seq}; {covered} are covered.", hint="A running executor signs within a minute.")
    leaves: list[bytes] = []
    line, prev = b"", GENESIS.encode()
    for raw in finished_lines(path):
        try:
            prev = check_line(raw, seq=len(leaves) + 1, prev=prev)
        except Misfit as err:
            raise AuditError(f"Record {len(leaves) + 1} is damaged: {err}.", hint="Run `pveops audit verify`.") from err
        leaves.append(leaf_hash(bytes.fromhex(prev.decode())))
        line = raw if len(leaves) == seq else line
        if len(leaves) == newest.size:
            break
    path_hashes = [one.hex() for one in inclusion_proof(leaves, seq - 1)]
    made = {"line": line.decode(), "proof": path_hashes, "checkpoint": newest.body | {"signature": newest.signature}}
    check_proof(made, newest.key)
    return made


def check_proof(made: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The record that a proof proves, if it does.

    Raises:
        AuditError: it does not.
    """
    try:
        one = parse_checkpoint(made["checkpoint"])
        raw = str(made["line"]).encode()
        record = parse_line(raw)
        own = check_line(raw, seq=record["seq"], prev=record["prev"].encode())
        proof = [bytes.fromhex(step) for step in made["proof"]]
    except (KeyError, TypeError, ValueError, Misfit) as err:
        raise AuditError(f"This is no proof: {err}.", hint="`pveops audit prove` makes one.") from err
    check_checkpoint(one, key)
    if not included(leaf_hash(bytes.fromhex(own.decode())), record["seq"] - 1, one.size, proof, bytes.fromhex(one.root)):
        raise AuditError(f"Record {record['seq']} is not in the ledger that the checkpoint of {one.at} has seen.", hint="It was changed.")
    return record
