"""Pure values and algorithms: block map, diff, tokens, checksums, ids, errors. No I/O, no clock, no randomness."""
