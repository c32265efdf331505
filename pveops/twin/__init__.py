"""The twin: a look at a live cluster becomes a seed, a simulated cluster starts from it, and a plan is tried there.

What belongs here: looking (GETs only), making a seed of what was seen, driving a plan, the report. What does not: starting processes,
sockets and tokens (``ports.py`` names what is needed, ``app`` brings it), approvals, anything that could write to the live cluster.
"""
