"""What every room may use: errors, units, time, ids, canonical JSON, secrets. Standard library only; nothing about Proxmox VE."""
