"""Where objects live: the `Store` seam, its implementations and the key layout."""
