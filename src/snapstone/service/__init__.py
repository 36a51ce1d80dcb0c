"""The operations: plain functions named after them."""
