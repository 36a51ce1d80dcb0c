"""The benchmark: what Snapstone is measured by, its peers, and the measuring tools."""
