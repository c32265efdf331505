"""The executor's server: ASGI over a Unix socket."""
