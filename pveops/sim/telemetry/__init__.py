"""What the simulated cluster tells to whoever collects: metrics in the names of known exporters, log lines, and the same of past weeks.

Everything follows from the state and the curves that the API answers from. Nothing here knows who stores it.
"""

DEFAULT_INDEX = "logs-pve-sim"
"""Where log lines go in Elasticsearch: a data stream, as far as the server has its usual templates."""
