"""The command line of asynccache: parses, calls one function of the library, prints."""
