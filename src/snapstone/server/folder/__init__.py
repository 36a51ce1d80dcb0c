"""The data folder on disk: its layout, lock, root key, first account, and whether all is still there."""
