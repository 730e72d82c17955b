"""How the certificate of an S3 server is checked. Python 3.7, standard library."""

from __future__ import annotations


def verified_with(text: str | None) -> bool | str | None:
    """Return what AWS's clients take: None for their own certificates, False for no check, else a file.

    Args:
        text: As the setting has it.
    """
    if text is None or not text.strip():
        return None
    return False if text.strip().lower() in {"false", "0", "no"} else text.strip()
