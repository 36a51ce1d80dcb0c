"""EC2's operations for snapshot users."""
