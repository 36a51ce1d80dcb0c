"""The operating system's services that several floors need: files, locks, SQLite, sockets, clocks, processes."""
