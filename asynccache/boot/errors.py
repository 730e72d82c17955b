"""What can go wrong on a bare node; each message is one sentence for the log of a task."""


class BootError(Exception):
    """The environment cannot be made; the message says what was expected, what was found and what to do."""


class PackUnusableError(BootError):
    """The packed environment is absent, damaged or cannot be read; its packages may still do."""


class NoPackError(PackUnusableError):
    """There is no packed environment."""
