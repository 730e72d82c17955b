"""Requirements and lock files in, packages out: one module per resolver, one module per format in `formats`."""
