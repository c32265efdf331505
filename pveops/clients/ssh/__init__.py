"""Commands on nodes over SSH: a closed list of those that only read, run by the machine's own OpenSSH."""
