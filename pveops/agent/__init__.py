"""From a sentence to tools: a model behind a port, a loop that can read and propose, and nothing else."""
