"""Conda packages out of PyPI wheels: a pure wheel becomes `noarch: python`, another one a package for one Python."""

from __future__ import annotations

import configparser
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Final

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from tests.support.conda_package import PLACEHOLDER, Member, Metadata
from tests.support.python_package import Interpreter

# conda channels have other names for some projects: these would collide with packages of another content.
_CONDA_NAMES: Final = {"msgpack": "msgpack-python", "tzdata": "python-tzdata"}


def conda_name(project: str) -> str:
    """Return the conda package name of a PyPI project."""
    name = canonicalize_name(project)
    return _CONDA_NAMES.get(name, name)


def wheel_package(wheel: Path, interpreter: Interpreter, subdir: str) -> tuple[Metadata, list[Member]]:
    """Read a wheel as a conda package.

    Args:
        wheel: The file.
        interpreter: The Python that the channel offers; decides environment markers.
        subdir: conda platform of a wheel that is not pure.
    """
    pure = all(tag.platform == "any" for tag in parse_wheel_filename(wheel.name)[3])
    site_packages = "site-packages" if pure else interpreter.site_packages_path
    with zipfile.ZipFile(wheel) as archive:
        members = [
            _member(archive, entry, site_packages, pure=pure) for entry in archive.infolist() if not entry.is_dir()
        ]
        information = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA")).rpartition("/")
        fields = Parser().parsestr(archive.read(f"{information[0]}/METADATA").decode())
        entry_points = _entry_points(archive, f"{information[0]}/entry_points.txt")
    members = [member for member in members if not member.path.endswith(".dist-info/INSTALLER")]
    members.append(Member(f"{site_packages}/{information[0]}/INSTALLER", b"conda\n"))
    if not pure:
        members += [_script(entry_point) for entry_point in entry_points]
    metadata = Metadata(
        name=conda_name(fields["Name"]),
        version=fields["Version"],
        build="pyh0000000_0" if pure else f"py{interpreter.tag}h0000000_0",
        subdir="noarch" if pure else subdir,
        noarch="python" if pure else None,
        depends=_dependencies(fields, interpreter, subdir, pure=pure),
        license=(fields["License-Expression"] or fields["License"] or "").split("\n")[0][:60],
        entry_points=tuple(entry_points) if pure else (),
        summary=fields["Summary"] or "",
    )
    return metadata, members


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, site_packages: str, *, pure: bool) -> Member:
    top, _, rest = entry.filename.partition("/")
    data = archive.read(entry)
    executable = bool(entry.external_attr >> 16 & 0o111)
    if not top.endswith(".data"):
        return Member(f"{site_packages}/{entry.filename}", data, executable)
    scheme, _, rest = rest.partition("/")
    if scheme in {"purelib", "platlib"}:
        return Member(f"{site_packages}/{rest}", data, executable)
    if scheme == "scripts":
        first, newline, body = data.partition(b"\n")
        if first.startswith(b"#!python"):
            data = f"#!{PLACEHOLDER}/bin/python".encode() + newline + body
        return Member(f"{'python-scripts' if pure else 'bin'}/{rest}", data, executable=True)
    if scheme == "headers":
        return Member(f"include/{top.partition('-')[0]}/{rest}", data)
    return Member(rest, data, executable)


def _entry_points(archive: zipfile.ZipFile, name: str) -> list[str]:
    if name not in archive.namelist():
        return []
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    parser.read_string(archive.read(name).decode())
    sections = (section for section in ("console_scripts", "gui_scripts") if parser.has_section(section))
    return [
        f"{key} = {value.partition('[')[0].strip()}" for section in sections for key, value in parser.items(section)
    ]


def _script(entry_point: str) -> Member:
    name, _, reference = (part.strip() for part in entry_point.partition("="))
    module, _, function = reference.partition(":")
    text = (
        f"#!{PLACEHOLDER}/bin/python\nimport sys\nfrom {module} import {function.partition('.')[0]}\n"
        f"if __name__ == '__main__':\n    sys.exit({function}())\n"
    )
    return Member(f"bin/{name}", text.encode(), executable=True)


def _dependencies(fields: Message[str, str], interpreter: Interpreter, subdir: str, *, pure: bool) -> tuple[str, ...]:
    minor = interpreter.minor_version
    if pure:
        requires = (fields["Requires-Python"] or "").replace(" ", "")
        dependencies = [f"python {requires}".strip()]
    else:
        dependencies = [f"python {minor}.*", f"python_abi {minor}.* *_cp{interpreter.tag}"]
        if subdir.startswith("linux"):
            dependencies.append("__glibc >=2.17,<3.0.a0")
    environment = {name: str(value) for name, value in default_environment().items()}
    environment |= {"python_version": minor, "python_full_version": interpreter.version, "extra": ""}
    for text in fields.get_all("Requires-Dist") or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(environment):
            versions = ",".join(sorted(map(str, requirement.specifier))).replace("===", "==")
            dependencies.append(f"{conda_name(requirement.name)} {versions}".strip())
    return tuple(dependencies)
