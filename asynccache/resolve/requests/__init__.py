"""Requests: requirements, channels and indexes, credentials, and the target machine."""
