"""Faults on demand: each is a documented ill with a cause, a place, and a right action that ends it."""
