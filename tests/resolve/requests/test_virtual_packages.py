from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from asynccache.config import Settings
from asynccache.model.platform import current_architecture
from asynccache.resolve.requests import virtual_packages
from asynccache.resolve.requests.virtual_packages import (
    VirtualPackage,
    detect_virtual_packages,
    machine_profile,
    sys_values,
)

HOST = (VirtualPackage("__glibc", "2.36"), VirtualPackage("__cuda", "12.4"), VirtualPackage("__unix", "0"))
DEFAULTS = {"linux-64": {"__glibc": "2.27"}}
SETTINGS = Settings(sys_default_packages=DEFAULTS)


def test_the_machines_own_architecture_has_what_the_machine_has() -> None:
    assert sys_values(["linux-64"], SETTINGS, detected=HOST, machine_arch="linux-64") == {
        "__glibc": "2.36=0",
        "__cuda": "12.4=0",
    }


@pytest.mark.parametrize("arch", ["osx-arm64", "linux-aarch64"])
def test_another_architecture_has_the_defaults_only(arch: str) -> None:
    assert not sys_values([arch], SETTINGS, detected=HOST, machine_arch="linux-64")


def test_a_machine_that_reports_nothing_has_the_defaults() -> None:
    assert sys_values(["linux-64"], SETTINGS, detected=(), machine_arch="linux-64") == {"__glibc": "2.27=0"}


def test_architectures_resolved_together_share_what_each_of_them_has() -> None:
    assert sys_values(["osx-arm64", "linux-64"], SETTINGS, detected=(), machine_arch="osx-arm64") == {
        "__glibc": "2.27=0"
    }
    settings = Settings(sys_default_packages={"linux-64": {"__glibc": "2.4"}, "linux-aarch64": {"__glibc": "2.31=0=0"}})
    for arches in (["linux-64", "linux-aarch64"], ["linux-aarch64", "linux-64"]):
        assert sys_values(arches, settings, detected=(), machine_arch="osx-64") == {"__glibc": "2.4=0"}


def test_what_the_user_gave_stays_as_it_is() -> None:
    given = {"__glibc": "2.17", "__cuda": "11.8=0=0"}
    assert sys_values(["linux-64"], SETTINGS, given=given, detected=HOST, machine_arch="linux-64") == given


def test_a_gpu_lays_its_packages_over_the_defaults() -> None:
    settings = Settings(sys_default_packages=DEFAULTS, sys_default_gpu_packages={"__cuda": "12.0", "__other": "1"})
    found = sys_values(["linux-64"], settings, gpu=True, detected=(), machine_arch="osx-64")
    assert found == {"__glibc": "2.27=0", "__cuda": "12.0=0"}
    assert "__cuda" not in sys_values(["linux-64"], settings, detected=(), machine_arch="osx-64")


def test_pinned_virtual_packages_are_the_same_on_every_machine() -> None:
    settings = Settings(sys_default_packages=DEFAULTS, pin_virtual_packages=True)
    found = [
        sys_values(["linux-64"], settings, detected=d, machine_arch=h) for d, h in ((HOST, "linux-64"), ((), "osx-64"))
    ]
    assert found == [{"__glibc": "2.27=0"}] * 2


def test_a_profile_has_all_that_an_architecture_implies() -> None:
    def names(arch: str, *sys: str) -> list[str]:
        return [str(p) for p in machine_profile(arch, sys, SETTINGS, detected=HOST, machine_arch="linux-64")]

    assert names("osx-arm64") == ["__archspec=1=m1", "__osx=14.0=0", "__unix=0=0"]
    assert names("linux-aarch64", "__cuda==12.4=0") == [
        "__archspec=1=aarch64", "__cuda=12.4=0", "__glibc=2.28=0", "__linux=5.10=0", "__unix=0=0",
    ]  # fmt: skip
    # the request decides: this machine's GPU is not there when it does not say so
    assert names("linux-64", "__glibc==2.17") == [
        "__archspec=1=x86_64", "__glibc=2.17=0", "__linux=5.10=0", "__unix=0=0",
    ]  # fmt: skip
    newer = Settings(sys_default_packages={"linux-64": {"__archspec": "1=x86_64_v3"}})
    assert VirtualPackage("__archspec", "1", "x86_64_v3") in machine_profile(
        "linux-64", [], newer, detected=HOST, machine_arch="linux-64"
    )
    older = Settings(sys_default_packages={"osx-64": {"__osx": "12.1"}})
    assert VirtualPackage("__osx", "12.1") in machine_profile("osx-64", [], older, detected=(), machine_arch="linux-64")


def test_a_profile_names_the_oldest_processor_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def processor() -> str:
        (found,) = [p.build for p in machine_profile(current_architecture(), [], SETTINGS) if p.name == "__archspec"]
        return found

    monkeypatch.delenv("CONDA_OVERRIDE_ARCHSPEC", raising=False)
    assert processor() in {"x86_64", "aarch64", "m1"}
    monkeypatch.setenv("CONDA_OVERRIDE_ARCHSPEC", "x86_64_v4")
    assert processor() == "x86_64_v4"


def test_variables_override_what_the_machine_has_and_empty_ones_remove_it() -> None:
    found = {p.name: p for p in detect_virtual_packages({
        "CONDA_OVERRIDE_CUDA": "11.2", "CONDA_OVERRIDE_GLIBC": "2.99", "CONDA_OVERRIDE_OSX": "99.1",
        "CONDA_OVERRIDE_ARCHSPEC": "zen4",
    })}  # fmt: skip
    assert found["__cuda"].version == "11.2"
    assert found["__archspec"].build == "zen4"
    machine_arch, version = ("__glibc", "2.99") if sys.platform == "linux" else ("__osx", "99.1")
    assert found[machine_arch].version == version
    removed = {p.name for p in detect_virtual_packages(dict.fromkeys(
        ("CONDA_OVERRIDE_CUDA", "CONDA_OVERRIDE_GLIBC", "CONDA_OVERRIDE_OSX", "CONDA_OVERRIDE_ARCHSPEC"), ""
    ))}  # fmt: skip
    assert removed <= {"__unix", "__linux"}


@pytest.mark.skipif(not hasattr(os, "confstr") or sys.platform != "linux", reason="reads glibc's own answer")
def test_this_machines_profile_is_what_another_library_finds() -> None:
    import rattler

    theirs = {p.name.normalized: str(p.version) for p in map(_generic, rattler.VirtualPackage.detect())}
    ours = {p.name: p.version for p in detect_virtual_packages({})}
    assert ours == theirs
    assert ours["__glibc"] == platform.libc_ver()[1]


def _generic(package: Any) -> Any:
    return package.into_generic()


def test_the_driver_is_asked_through_its_program_when_no_library_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '| NVIDIA-SMI 550.54  Driver Version: 550.54  CUDA Version: 12.4 |'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(virtual_packages, "_CUDA_LIBRARIES", ("libnothing-at-all.so",))
    assert VirtualPackage("__cuda", "12.4") in detect_virtual_packages({})

    def hang(*_args: object, **_options: object) -> None:
        raise subprocess.TimeoutExpired("nvidia-smi", 2)

    monkeypatch.setattr(subprocess, "run", hang)
    assert "__cuda" not in {p.name for p in detect_virtual_packages({})}
