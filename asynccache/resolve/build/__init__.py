"""Wheels out of sources."""
