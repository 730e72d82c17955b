"""Conda packages: channels, programs, and the solvers of them."""
