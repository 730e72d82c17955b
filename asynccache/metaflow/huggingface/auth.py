"""Where the token for the hub comes from: the provider that `HUGGINGFACE_AUTH_PROVIDER` names.

No message, representation or traceback of these functions holds a token. Standard library and Metaflow, Python 3.7.
"""

from __future__ import annotations

import importlib
import os
import re
from typing import Any, Mapping

from asynccache.metaflow.huggingface.models import HuggingFaceException

_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_TOKEN = re.compile(r"[!-~]+")  # what can appear in a header: visible ASCII


class HuggingFaceAuthProvider:
    """What providers of tokens look like; a class with the same two members will do too.

    Attributes:
        TYPE: Its name.
    """

    TYPE = ""

    def get_token(self) -> str | None:
        """Return the token, None to ask the hub as anybody can."""
        raise NotImplementedError


class EnvironmentAuthProvider(HuggingFaceAuthProvider):
    """Takes the first variable that is set: `HF_TOKEN`, `HUGGING_FACE_TOKEN`, `HUGGING_FACE_HUB_TOKEN`."""

    TYPE = "env"

    def get_token(self) -> str | None:
        """Return the token, None if no variable has one."""
        values = (os.environ.get(name, "").strip() for name in _VARIABLES)
        return next((value for value in values if value), None)


def find_token(name: str, providers: Mapping[str, Any]) -> str | None:
    """Return the token of a provider, None to ask the hub as anybody can.

    Args:
        name: The provider's.
        providers: Name -> `module.Class`, besides the built-in `env`.

    Raises:
        HuggingFaceException: There is no such provider, it is none, or it failed.
    """
    provider = _provider(name, providers)
    try:
        token = provider().get_token()
    except Exception as error:  # noqa: BLE001 - it is anybody's code
        failure = type(error).__name__
    else:
        return _checked(token, name)
    # outside of the handler: a traceback would show what the provider said
    hidden = "What it said is not shown, because it may hold a secret: call its get_token() by itself to see it"
    raise _unusable(name, f"failed with {failure}. {hidden}")


def without_token(text: str, token: str | None) -> str:
    """Return a text in which the token is not."""
    return text.replace(token, "***") if token else text


def _provider(name: str, providers: Mapping[str, Any]) -> Any:
    path = providers.get(name)
    if path is None:
        if name == EnvironmentAuthProvider.TYPE:
            return EnvironmentAuthProvider
        known = sorted({EnvironmentAuthProvider.TYPE, *providers})
        raise HuggingFaceException(
            f"HUGGINGFACE_AUTH_PROVIDER names '{name}', which is none of {known}: register it in"
            f' HUGGINGFACE_AUTH_PROVIDERS as {{"{name}": "package.module.Class"}}'
        )
    module, dot, attribute = path.rpartition(".") if isinstance(path, str) else ("", "", "")
    if not dot or not module or not attribute:
        raise HuggingFaceException(
            f"HUGGINGFACE_AUTH_PROVIDERS has {path!r} for '{name}': a provider is written 'package.module.Class'"
        )
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except Exception as error:  # noqa: BLE001 - importing runs anybody's code
        said = f": {error}" if isinstance(error, ImportError) else ""
        failure = f"{type(error).__name__}{said}"
    else:
        typed = getattr(found, "TYPE", None)
        if isinstance(found, type) and isinstance(typed, str) and typed and callable(getattr(found, "get_token", None)):
            return found
        raise _unusable(name, f"is {path}, which is not a class with TYPE and get_token()")
    raise _unusable(name, f"cannot be imported from {path} ({failure}): the step's environment must have it")


def _unusable(name: str, why: str) -> HuggingFaceException:
    return HuggingFaceException(f"The Hugging Face authentication provider '{name}' {why}")


def _checked(token: Any, name: str) -> str | None:
    if token is None or token == "":
        return None
    if not isinstance(token, str) or not _TOKEN.fullmatch(token.strip()):
        found = f"returned a {type(token).__name__} that cannot be a token"
        raise _unusable(name, f"{found}: get_token() returns None or a text of visible ASCII characters")
    return token.strip()
