"""AWS protocols: signatures, rest-json and EC2 query. Requests in, operations called, faults out."""
