"""The command line. Data goes to stdout, messages to stderr; the exit code says what kind of end it was (docs/cli.md)."""
