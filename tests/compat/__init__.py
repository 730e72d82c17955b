"""A round trip with the extension that shares the cache, run with its own code in a virtual environment of its own."""
