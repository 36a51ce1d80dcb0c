"""Keys below KMS's operations: the root key, KMS keys and their materials, data keys, ciphertexts."""
