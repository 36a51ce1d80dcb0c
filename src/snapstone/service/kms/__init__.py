"""KMS: keys, aliases, their states and policies, and what is encrypted by them."""
