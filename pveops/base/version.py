"""The version, where every room can read it; ``pyproject.toml`` holds the same (a test compares them)."""

VERSION = "0.1.0"
