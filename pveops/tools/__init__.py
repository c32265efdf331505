"""Tools: one definition each, rendered by every surface. A read tool reads, a plan tool returns a plan; none ever holds a writer."""
