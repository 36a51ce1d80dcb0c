"""What a catalog promises: rows as frozen values, and one protocol for each subject."""
