"""What people and programs touch. Surfaces render and pass on; they decide nothing, and know nothing of each other."""
