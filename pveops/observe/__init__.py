"""What we say about our own work: one correlation id, JSON log lines. Never a secret."""
