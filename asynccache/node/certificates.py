"""How the certificate of an S3 server is checked. Python 3.7, standard library."""

from __future__ import annotations


def verified_with(text: str | None) -> bool | str | None:
    """Return the value for AWS's clients: None for their own certificates, False for no check, otherwise a file.

    Args:
        text: Value of the setting.
    """
    if text is None or not text.strip():
        return None
    return False if text.strip().lower() in {"false", "0", "no"} else text.strip()
