"""What each operation means: plain functions named after the operations."""
