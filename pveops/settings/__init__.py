"""Where things are and how to reach a cluster: ``PVEOPS_HOME``, ``config.toml`` and the environment. Holds no state."""
