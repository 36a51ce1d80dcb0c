"""The running server: configuration, assembly, listener, worker processes."""
