"""Talking to servers: Proxmox VE and the executor. Each turns foreign answers into the model and foreign errors into ours."""
