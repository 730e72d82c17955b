"""Metaflow and its extensions as a run had them, for a step that kept no code (contract, section 6.1.5).

If this Python has the same versions, its files are copied, as a code package holds them; otherwise they are installed
from the index, without dependencies.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from asynccache.config import Settings
from asynccache.errors import FetchRefusedError
from asynccache.model.platform import current_architecture
from asynccache.node.disk import disk_errors
from asynccache.runtime.late_loop import in_thread

_EXTENSION: Final = re.compile(r"([^;()]+)\(([^()]*)\)")
# of extensions that are not installed; Metaflow's text has the names that they give themselves
_DISTRIBUTIONS: Final = {"netflixext": "metaflow-netflixext"}
_WAY_OUT: Final = "use --no-strict to do without"


def read_version(text: str) -> dict[str, str]:
    """Return Metaflow and its extensions with their versions, from Metaflow's text.

    >>> read_version("2.19.39+asynccache(0.1.0);netflixext(1.3.17)")
    {'metaflow': '2.19.39', 'asynccache': '0.1.0', 'netflixext': '1.3.17'}
    """
    core, _, extensions = text.partition("+")
    return {"metaflow": core.partition("-git")[0], **dict(_EXTENSION.findall(extensions))}


async def place_metaflow(settings: Settings, text: str, directory: Path, below: str) -> None:
    """Put Metaflow and its extensions into a directory.

    Args:
        settings: All settings.
        text: What Metaflow recorded about itself with a run.
        directory: The target.
        below: Name of the directory in it for the modules.

    Raises:
        FetchRefusedError: They cannot be obtained, or it is unknown from where.
        DiskError: The directory cannot be written.
    """
    if await in_thread(_copied, text, directory):
        return
    distributions = await in_thread(_distributions, text)
    await _installed(settings, [f"{name}=={version}" for name, version in distributions.items()], directory / below)
    await in_thread(_marked, text, directory)


def _is_installed() -> bool:
    """Import Metaflow; return whether that is possible: any directory of its name is found as a package."""
    try:
        return importlib.util.find_spec("metaflow.metaflow_version") is not None
    except ModuleNotFoundError:
        return False


def _copied(text: str, directory: Path) -> bool:
    """Copy the files of this Python's Metaflow if its version matches. Blocking; importing it takes a second."""
    if not _is_installed():
        return False
    if importlib.import_module("metaflow.metaflow_version").get_version() != text:
        return False
    try:
        packaging: Any = importlib.import_module("metaflow.packaging_sys.v1")
    except ImportError:
        return False  # Metaflow before 2.16 packs code in another way
    try:
        content = packaging.MetaflowCodeContentV1(
            criteria=lambda module: getattr(module, "METAFLOW_PACKAGE_POLICY", None) == "include"
        )
    except RuntimeError:
        return False  # it does not know which files are its own, for instance if two installations are mixed
    environment = importlib.import_module("metaflow.metaflow_environment").MetaflowEnvironment(None)
    content.add_info(environment.get_environment_info(include_ext_info=True))
    with disk_errors(directory):
        for value, name in content.contents():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(value if isinstance(value, bytes) else Path(value).read_bytes())
    return True


def _distributions(text: str) -> dict[str, str]:
    """Return the requirements to install; the distribution of an extension is known only if it is installed."""
    wanted = read_version(text)
    known = dict(_DISTRIBUTIONS)
    if _is_installed():
        importlib.import_module("metaflow.metaflow_version").get_version()  # asks extensions for their names
        here = importlib.import_module("metaflow.extension_support").extension_info()["installed"]
        known.update((each["extension_name"], name) for name, each in here.items())
    known |= {"metaflow": "metaflow", "asynccache": "asynccache"}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise FetchRefusedError(
            f"the run had {text}, and what is to be installed for {', '.join(unknown)} is not known here",
            hint=f"install the extension, or {_WAY_OUT}",
        )
    return {known[name]: version for name, version in wanted.items()}


async def _installed(settings: Settings, requirements: list[str], directory: Path) -> None:
    from asynccache.resolve.explain import last_lines  # noqa: PLC0415
    from asynccache.resolve.program import run_program  # noqa: PLC0415
    from asynccache.resolve.pypi.problem import Flags, Logins, PypiProblem  # noqa: PLC0415
    from asynccache.resolve.pypi.uv_program import UvProgram  # noqa: PLC0415
    from asynccache.resolve.requests.assemble import Machine, sources_of  # noqa: PLC0415 - most steps kept their code
    from asynccache.resolve.requests.requirements import Requirements  # noqa: PLC0415

    sources = await in_thread(sources_of, {}, Requirements(), "pypi-only", settings, Machine(channels=()))
    known = replace(settings, auth={**sources.auth, **settings.auth})
    flags = Flags.read(sources.pip_flags)
    problem = PypiProblem(current_architecture(), (), tuple(sources.public["pypi"]), flags, None, ())
    logins = Logins(known.auth)
    program = await in_thread(UvProgram, known, logins)
    words: list[str | Path] = [program.path, "pip", "install", *program.flags, "--quiet", "--no-deps"]
    words += [*program.index_flags(problem), *(["--offline"] if settings.offline else [])]
    words += ["--python", sys.executable, "--target", directory, *requirements]
    environment = await in_thread(program.environment, problem)
    what = " ".join(requirements)
    done = await run_program(words, env=environment, timeout=settings.resolve_timeout, name=f"installing {what}")
    if done.returncode:
        said = last_lines(done.stderr, logins.secrets(problem.addresses))
        raise FetchRefusedError(f"{what}, which the run had, cannot be installed:\n{said}", hint=_WAY_OUT)


def _marked(text: str, directory: Path) -> None:
    """Write the marker by which Metaflow finds its modules and its version."""
    with disk_errors(directory):
        (directory / ".mf_meta").mkdir(exist_ok=True)
        (directory / ".mf_meta" / "INFO").write_text(json.dumps({"metaflow_version": text}))
        (directory / ".mf_install").write_text(json.dumps({"version": 1, "module_files": []}))
