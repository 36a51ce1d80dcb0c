"""IAM policies as pure values: reading documents, and deciding whether a principal may do an action on a resource."""
