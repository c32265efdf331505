"""Durable memory in SQL: proposals, run journals, the feed. SQLite (WAL, synchronous FULL) by default."""
