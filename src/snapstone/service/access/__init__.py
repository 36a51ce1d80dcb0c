"""Authorization: which permissions each operation needs, and whether the caller has them."""
