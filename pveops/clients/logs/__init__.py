"""Log stores, and the one language to ask them in."""
