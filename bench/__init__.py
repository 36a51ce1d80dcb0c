"""The benchmark: what Snapstone is measured by, its peers measured beside it, and the tools that measure."""
