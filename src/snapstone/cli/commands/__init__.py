"""One module for each command, with a `register` that adds it to the command line and a `run`."""
