"""The catalog on SQLite: for any number of processes on one machine."""
