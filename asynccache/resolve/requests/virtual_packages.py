"""Virtual packages: properties of a machine that packages can require, and which of them enter a request.

A request records `__cuda` and `__glibc` only (contract, section 1.2.1 e). A solver needs the whole profile of the
architecture: `__unix`, `__linux`, `__glibc`, `__archspec`, `__osx`, `__cuda`. The variables `CONDA_OVERRIDE_GLIBC`,
`..._CUDA`, `..._OSX`, `..._LINUX` and `..._ARCHSPEC` override what is detected; set to an empty value, they mean that
the machine does not have it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from asynccache.config import Settings
from asynccache.model.dataclass import dataclass
from asynccache.model.platform import current_architecture
from asynccache.resolve.requests.requirement_text import split_value
from asynccache.resolve.requests.requirements import SYS_PACKAGES

_NVIDIA: Final = "nvidia-smi"
_NVIDIA_SECONDS: Final = 2.0
_CUDA_LIBRARIES: Final = ("libcuda.so.1", "libcuda.so", "/usr/lib/wsl/lib/libcuda.so.1", "libcuda.dylib")
# Assumed for an architecture other than this machine's; glibc and macOS as for wheels (python_target).
_ASSUMED_LINUX: Final = "5.10"
_ASSUMED_GLIBC: Final = "2.28"
_ASSUMED_OSX: Final = "14.0"
_BASELINE: Final = {
    "linux-64": "x86_64",
    "linux-32": "x86",
    "linux-aarch64": "aarch64",
    "osx-64": "x86_64",
    "osx-32": "x86",
    "osx-arm64": "m1",
}


@dataclass(frozen=True, slots=True, order=True)
class VirtualPackage:
    """What a machine has, as conda names it.

    Attributes:
        name: With its two underscores.
        version: The version; `0` if it has none.
        build: `0` if it has none; for `__archspec` the microarchitecture.

    >>> str(VirtualPackage("__glibc", "2.36"))
    '__glibc=2.36=0'
    """

    name: str
    version: str
    build: str = "0"

    def __str__(self) -> str:
        return f"{self.name}={self.version}={self.build}"


def detect_virtual_packages(
    environ: Mapping[str, str] | None = None, *, gpu: bool = True
) -> tuple[VirtualPackage, ...]:
    """Return this machine's virtual packages. Blocking: may run `nvidia-smi` for up to two seconds.

    Args:
        environ: Environment variables; None for the process's own.
        gpu: Whether to look for a GPU.
    """
    env = os.environ if environ is None else environ
    machine_arch = os.uname()  # `platform` says the same, and takes longer to import than all of this
    system = machine_arch.sysname
    versions: dict[str, str | None] = {"__unix": "0"}
    if system == "Linux":
        versions["__linux"] = env.get("CONDA_OVERRIDE_LINUX", _release(machine_arch.release))
        versions["__glibc"] = env.get("CONDA_OVERRIDE_GLIBC", _glibc())
    elif system == "Darwin":
        versions["__osx"] = env.get("CONDA_OVERRIDE_OSX", platform.mac_ver()[0])
    if gpu:
        versions["__cuda"] = env["CONDA_OVERRIDE_CUDA"] if "CONDA_OVERRIDE_CUDA" in env else _cuda()
    found = [VirtualPackage(name, version) for name, version in versions.items() if version]
    # environments also run on other machines with possibly older processors: the oldest is assumed unless configured
    oldest = _BASELINE.get(current_architecture(), machine_arch.machine)
    microarchitecture = env.get("CONDA_OVERRIDE_ARCHSPEC", oldest)
    if microarchitecture:
        found.append(VirtualPackage("__archspec", "1", microarchitecture))
    return tuple(found)


def sys_values(
    arches: Iterable[str],
    settings: Settings,
    *,
    given: Mapping[str, str] | None = None,
    gpu: bool = False,
    detected: Sequence[VirtualPackage] = (),
    machine_arch: str | None = None,
) -> dict[str, str]:
    """Return the category `sys` of a request: name -> version text.

    The user's values are kept. The rest comes from this machine for its own architecture (unless `pin_virtual_packages`
    is set), otherwise from `sys_default_packages`; the versions end in one `=0`. For several architectures it is the
    union; if versions differ, the smaller one, which all of them have.

    Args:
        arches: conda platforms that are resolved together.
        settings: Provides the defaults.
        given: What the user requested.
        gpu: Whether a GPU was requested, which adds `sys_default_gpu_packages`.
        detected: This machine's virtual packages.
        machine_arch: This machine's architecture; None to detect it.
    """
    union: dict[str, str] = {}
    for arch in dict.fromkeys(arches):
        values: Mapping[str, str] = settings.sys_default_packages.get(arch, {})
        if detected and is_local(arch, settings, machine_arch):
            values = {package.name: package.version for package in detected}
        if gpu:
            values = {**values, **settings.sys_default_gpu_packages}
        for name, version in values.items():
            if name in SYS_PACKAGES:
                text = f"{version.partition('=')[0]}=0"
                union[name] = smaller(union[name], text) if name in union else text
    return {**union, **(given or {})}


def machine_profile(
    arch: str,
    sys: Iterable[str],
    settings: Settings,
    *,
    detected: Sequence[VirtualPackage] | None = None,
    machine_arch: str | None = None,
) -> tuple[VirtualPackage, ...]:
    """Return all virtual packages that an environment is solved with, by name.

    `__archspec` is the architecture's oldest processor, unless `CONDA_OVERRIDE_ARCHSPEC` or `sys_default_packages`
    (such as `{"linux-64": {"__archspec": "1=x86_64_v3"}}`) names another.

    Args:
        arch: conda platform to solve for.
        sys: The request's values of category `sys`, which determine `__cuda` and `__glibc`.
        settings: `sys_default_packages` can name others for an architecture, such as `__osx`.
        detected: This machine's virtual packages; None to detect them if needed.
        machine_arch: This machine's architecture; None to detect it.
    """
    profile = {"__unix": VirtualPackage("__unix", "0")}
    if arch.startswith("linux"):
        profile["__linux"] = VirtualPackage("__linux", _ASSUMED_LINUX)
        profile["__glibc"] = VirtualPackage("__glibc", _ASSUMED_GLIBC)
    else:
        profile["__osx"] = VirtualPackage("__osx", _ASSUMED_OSX)
    profile["__archspec"] = VirtualPackage("__archspec", "1", _BASELINE.get(arch, arch))
    if is_local(arch, settings, machine_arch):
        # the request says whether there is a GPU
        found = detect_virtual_packages(gpu=False) if detected is None else detected
        profile |= {package.name: package for package in found}
    for name, text in settings.sys_default_packages.get(arch, {}).items():
        if name not in SYS_PACKAGES:
            profile[name] = _package(name, text)
    # The request says which of these the environment may use: others, such as this machine's GPU, do not exist for it.
    profile.pop("__cuda", None)
    for value in sys:
        name, text, _marker = split_value(value)
        profile[name] = _package(name, text)
    return tuple(sorted(profile.values()))


def smaller(first: str, second: str) -> str:
    """Return the text with the smaller version; builds do not count.

    >>> smaller("2.31=0", "2.4=0")
    '2.4=0'
    """
    return min(first, second, key=_version_key)


def _version_key(text: str) -> tuple[int, Any]:
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415 - few environments need several

    number = re.sub(r"^[<>=!~]+", "", text).partition("=")[0].partition(",")[0]
    try:
        return 0, Version(number)
    except InvalidVersion:
        return 1, number


def _package(name: str, text: str) -> VirtualPackage:
    """Read `2.36=0`; for a range such as `>=11,<13`, its first version."""
    version, _, build = re.sub(r"^[<>=!~]+", "", text).partition(",")[0].partition("=")
    return VirtualPackage(name, version.strip(), build or "0")


def is_local(arch: str, settings: Settings, machine_arch: str | None = None) -> bool:
    """Whether this machine's virtual packages apply to an architecture: it is this machine's, and they are not
    pinned.
    """
    return not settings.pin_virtual_packages and arch == (machine_arch or current_architecture())


def _release(text: str) -> str:
    """Return the version at the beginning of a kernel release.

    >>> _release("6.1.0-18-amd64"), _release("unknown")
    ('6.1.0', '0')
    """
    match = re.match(r"\d+(\.\d+)+", text)
    return match.group() if match else "0"


def _glibc() -> str | None:
    """Return the C library's version, None when it is not glibc."""
    try:
        library, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (AttributeError, ValueError, OSError):  # other C libraries do not have this name
        return None
    return version if library == "glibc" else None


def _can_be_loaded(library: str) -> bool:
    """Return whether a library exists; `ctypes`, which is needed to call it, takes much longer to import."""
    try:
        import _ctypes  # noqa: PLC0415 - not every Python has it

        _ctypes.dlopen(library, 0)
    except (ImportError, OSError):
        return False
    return True


def _cuda() -> str | None:
    """Return the newest CUDA version that the driver supports, None without a driver."""
    for library in filter(_can_be_loaded, _CUDA_LIBRARIES):
        try:
            driver = ctypes.CDLL(library)
            version = ctypes.c_int(0)
            # needs no initialisation of the device; 12040 is 12.4
            if driver.cuDriverGetVersion(ctypes.byref(version)) == 0 and version.value:
                return f"{version.value // 1000}.{version.value % 1000 // 10}"
        except (OSError, AttributeError):
            continue
    if not any(os.access(os.path.join(directory, _NVIDIA), os.X_OK) for directory in os.get_exec_path()):  # noqa: PTH118
        return None
    program = shutil.which(_NVIDIA)
    if program is None:
        return None
    try:
        answer = subprocess.run(  # noqa: S603 - a program found on PATH, without arguments from outside
            [program], capture_output=True, text=True, timeout=_NVIDIA_SECONDS, check=False, stdin=subprocess.DEVNULL
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"CUDA Version:\s*(\d+\.\d+)", answer)
    return match[1] if match else None
