"""Measurements against other tools and against the machine's own limits: `make bench`."""
