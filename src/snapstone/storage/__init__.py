"""Immutable objects (blocks, pages, manifests), kept as records in segment files."""
