"""Who calls, below IAM's operations: names and ARNs, policies, sessions, and what an access key stands for."""
