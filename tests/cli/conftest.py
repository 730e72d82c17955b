"""A server of small packages for all tests of the command line: nothing of it changes."""

from collections.abc import Iterator

import pytest

from tests.cli.resolving import serve
from tests.support.small_channel import SyntheticChannel


@pytest.fixture(scope="session")
def url(channel: SyntheticChannel) -> Iterator[str]:
    with serve(channel.root, "--ttl", "3600") as address:
        yield address
