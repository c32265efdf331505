"""Runbooks: notebooks with declared parameters and one outcome. They read and propose; a person elsewhere decides."""

from pveops.runbooks.outcome import Outcome, outcome

__all__ = ["Outcome", "outcome"]
