"""Proxmox VE over its HTTPS API. ``wire`` carries, ``read`` reads, ``tasks`` follows; ``write`` is the executor's alone."""
