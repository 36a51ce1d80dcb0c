"""What keeps the tree in order: checks of the source and the documents themselves."""
