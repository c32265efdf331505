"""Descriptions of clusters (plain JSON-like data), and the cluster that is built from one."""
