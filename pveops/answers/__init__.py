"""The questions of operators. Each module reads what it needs through a port and judges it with pure functions; no answer hides what was not seen."""
