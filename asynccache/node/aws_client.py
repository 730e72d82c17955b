"""What Metaflow's settings of its AWS clients mean for the store and for nodes. Python 3.7, standard library.

`S3_CLIENT_RETRY_CONFIG` says how often a request is tried; its mode is ignored, since pauses and pacing follow one rule
(`asynccache.node.patience`). `DEFAULT_AWS_CLIENT_PROVIDER` names the plugin that provides credentials.
"""

from __future__ import annotations

from typing import Any

from asynccache.errors import ConfigurationError
from asynccache.node.client_provider import client_provider

RETRY_WORDS = "a JSON object of `max_attempts`, `total_max_attempts` and `mode`"
"""What is right for how a client retries."""
_COUNTS = ("max_attempts", "total_max_attempts")
_MODES = ("legacy", "standard", "adaptive")


def is_retry_config(value: Any) -> bool:
    """Return whether botocore takes this for how a client retries."""
    counts = [value[name] for name in _COUNTS if name in value]
    return (
        set(value) <= {"mode", *_COUNTS}
        and value.get("mode", _MODES[0]) in _MODES
        and all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts)
        and value.get("total_max_attempts", 1) > 0
    )


def tries_of(value: Any) -> int | None:
    """Return the total number of tries of a request, None if it is not set.

    `max_attempts` counts the tries after the first one (botocore's reference, "retries").

    >>> tries_of({"max_attempts": 10, "mode": "adaptive"}), tries_of({"total_max_attempts": 3}), tries_of({})
    (11, 3, None)
    """
    if "total_max_attempts" in value:
        return int(value["total_max_attempts"])
    return int(value["max_attempts"]) + 1 if "max_attempts" in value else None


def provided_client(provider: str, parameters: dict[str, Any]) -> Any:
    """Return the boto3 client for S3 that a Metaflow plugin creates. Blocking; it may use the network.

    Args:
        provider: Its name.
        parameters: Parameters of boto3 clients.

    Raises:
        ConfigurationError: Metaflow is not installed, or has no such plugin.
    """
    return client_provider("s3", provider).get_client("s3", client_params=parameters)


def credentials_of(client: Any) -> Any:
    """Return the credentials, which may renew themselves, that a boto3 client signs with.

    Raises:
        ConfigurationError: It has none.
    """
    signer = getattr(client, "_request_signer", None)  # botocore has no public access to them
    found = getattr(signer, "_credentials", None)
    if found is None:
        raise ConfigurationError(
            "the client of METAFLOW_DEFAULT_AWS_CLIENT_PROVIDER has no AWS credentials", hint="log in, or unset it"
        )
    return found
