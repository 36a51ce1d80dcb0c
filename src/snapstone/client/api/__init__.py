"""One endpoint, Snapstone or AWS: credentials, signing, sending, faults and the one retry layer."""
