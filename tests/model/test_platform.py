from __future__ import annotations

import pytest

from asynccache.errors import UsageError
from asynccache.model.platform import ARCHITECTURES, architecture, checked_architecture, current_architecture


@pytest.mark.parametrize(
    ("system", "machine", "name"),
    [
        ("Linux", "x86_64", "linux-64"),
        ("Linux", "i686", "linux-32"),
        ("Linux", "aarch64", "linux-aarch64"),
        ("Linux", "arm64", "linux-aarch64"),
        ("Darwin", "x86_64", "osx-64"),
        ("Darwin", "arm64", "osx-arm64"),
    ],
)
def test_a_machine_has_its_conda_name(system: str, machine: str, name: str) -> None:
    assert architecture(system, machine) == name
    assert name in ARCHITECTURES


def test_this_machine_has_a_name() -> None:
    assert checked_architecture(current_architecture()) in ARCHITECTURES


def test_other_systems_and_names_are_refused() -> None:
    with pytest.raises(UsageError, match="expected Linux or macOS, found Windows"):
        architecture("Windows", "AMD64")
    with pytest.raises(UsageError, match="found 'linux'"):
        checked_architecture("linux")
