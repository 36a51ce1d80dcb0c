"""HTTP/1.1 over blocking sockets: heads, bodies, connections, the listener."""
