"""The contract with the real API: what exists, what is checked in which order, and how much of it is simulated."""

from pveops.sim.contract.coverage import Coverage, coverage
from pveops.sim.contract.dispatch import Api, Request

__all__ = ["Api", "Coverage", "Request", "coverage"]
