"""The contract of a catalog: rows as frozen values, and one protocol for each subject."""
