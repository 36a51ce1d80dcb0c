"""The recycle bin's retention rules: the operations of rbin."""
