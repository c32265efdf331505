"""The audit ledger: append-only lines in a hash chain, a Merkle tree over them, signed checkpoints, anchors elsewhere. No audit, no action."""

from pveops.guard.audit.check import Finding, verify
from pveops.guard.audit.ledger import Entry, Ledger
from pveops.guard.audit.lines import GENESIS

__all__ = ["GENESIS", "Entry", "Finding", "Ledger", "verify"]
