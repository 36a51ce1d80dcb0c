"""Server processes: assembled, started, watched, replaced, stopped."""
