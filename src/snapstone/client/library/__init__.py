"""Snapshots as Python objects: blocks to iterate, a file to read, a file to write, and fsspec's file system."""
