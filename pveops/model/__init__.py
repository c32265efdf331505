"""What we talk about: nodes, guests, storages, tasks, plans, proposals, runs. Frozen data, no I/O.

``.raw`` keeps every field of a server's answer that we do not name, so nothing a newer Proxmox VE says is lost.
"""
