"""What tests of pveops, and of things built on it, stand on: a real executor over a simulated cluster, in a folder of their own."""
