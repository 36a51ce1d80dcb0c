"""The operating system's services that several floors need: files, and turns among processes."""
