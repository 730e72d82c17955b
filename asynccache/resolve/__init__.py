"""Requirements and lock files in, packages out: one module a resolver, one module a format in `formats`."""
