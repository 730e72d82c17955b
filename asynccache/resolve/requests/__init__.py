"""What is asked for: requirements, channels and indexes, credentials, the machine that it is for."""
