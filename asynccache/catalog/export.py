"""Writing an environment in the formats of other tools.

What a format cannot express is left out and reported: packages built from a repository have no address, pylock.toml has
PyPI packages only, an environment.yml has versions and no archives.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import field
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from asynccache.errors import DiskError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.package import DistributionName, parse_stem
from asynccache.model.url import redacted

EXPORT_FORMATS: Final = ("explicit", "conda-lock", "pixi-lock", "pylock.toml", "environment.yml", "json")
IDS_KEY: Final = "env_id"  # key in an exported document; other readers ignore it
_CONDA: Final = "conda.anaconda.org"


@dataclass(slots=True)
class Export(Documented):
    """A written environment.

    Attributes:
        text: The file's content.
        left_out: What the format cannot express, one sentence each.
        format: One of `EXPORT_FORMATS`, as in `--format`.
        file: Where it was written; None if it was not.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("format", "left_out", "file", "told as text")

    text: str
    left_out: list[str] = field(default_factory=list)
    format: str = ""
    file: Path | None = None

    @property
    def told(self) -> str | None:
        """The file's content; None if it was written."""
        return self.text if self.file is None else None

    def write(self, path: Path) -> None:
        """Write the text into a file. Blocking.

        Raises:
            DiskError: It cannot be written.
        """
        try:
            path.write_text(self.text, "utf-8")
        except OSError as exc:
            raise DiskError(f"{path} cannot be written ({exc.strerror})", hint="check the path") from exc
        self.file = path


def export(environment: ResolvedEnvironment, fmt: str) -> Export:
    """Write an environment.

    Args:
        environment: The environment.
        fmt: One of `EXPORT_FORMATS`.

    Raises:
        UsageError: The format is unknown, or the environment has nothing that it can express.
    """
    if fmt not in _WRITERS:
        raise UsageError("there is no such export format", expected=", ".join(EXPORT_FORMATS), found=repr(fmt))
    result = Export("", format=fmt)
    result.text = _WRITERS[fmt](environment, result.left_out)
    return result


def channel_of(package: EnvironmentPackage) -> str:
    """Return the channel of a conda package: its name on anaconda.org, otherwise its address.

    >>> channel_of(EnvironmentPackage("conda", "a-1-0", "https://conda.anaconda.org/cf/noarch/a-1-0.conda", ".conda"))
    'cf'
    """
    parts = urlsplit(redacted(package.url))
    path = parts.path.strip("/").split("/")
    if parts.hostname == _CONDA:
        return path[0]
    return f"{parts.scheme}://{parts.netloc}/{'/'.join(path[:-2])}".rstrip("/")


def _json(environment: ResolvedEnvironment, _left_out: list[str]) -> str:
    document = {IDS_KEY: environment.id.as_list(), **environment.as_document()}
    return json.dumps(document, indent=1) + "\n"


def _explicit(environment: ResolvedEnvironment, left_out: list[str]) -> str:
    lines = [f"# {environment.id}", f"# platform: {environment.id.arch}", "@EXPLICIT"]
    for package in _archives(environment, left_out):
        url = _url(package)
        if package.kind == "conda":
            digest = package.published_hash or package.hashes.get("sha256", "")
            lines.append(f"{url}#{digest}" if digest else url)
        else:
            digest = _sha256(package)
            lines.append(f"# pip {_name(package).name} @ {url}" + (f" --hash=sha256:{digest}" if digest else ""))
    return "\n".join(lines) + "\n"


def _conda_lock(environment: ResolvedEnvironment, left_out: list[str]) -> str:
    arch = environment.id.arch
    packages: list[dict[str, Any]] = []
    for package in _archives(environment, left_out):
        name = _name(package)
        hashes = {"md5": package.published_hash if package.kind == "conda" else None, "sha256": _sha256(package)}
        packages.append(
            {
                "name": name.name,
                "version": name.version,
                "manager": "conda" if package.kind == "conda" else "pip",
                "platform": arch,
                "dependencies": {},
                "url": _url(package),
                "hash": {k: v for k, v in hashes.items() if v},
                "category": "main",
                "optional": False,
                **({"build": name.build} if package.kind == "conda" else {}),
            }
        )
    channels = [{"url": c, "used_env_vars": []} for c in _channels(environment)]
    metadata = {"content_hash": {arch: environment.id.req_id}, "channels": channels, "platforms": [arch], "sources": []}
    return _yaml({"version": 1, "metadata": metadata, "package": packages})


def _pixi_lock(environment: ResolvedEnvironment, left_out: list[str]) -> str:
    references: list[dict[str, str]] = []
    records: list[dict[str, Any]] = []
    for package in _archives(environment, left_out):
        url, name = _url(package), _name(package)
        references.append({package.kind: url})
        record: dict[str, Any] = {package.kind: url}
        if package.kind == "pypi":
            record |= {"name": name.name, "version": name.version}
        if sha256 := _sha256(package):
            record["sha256"] = sha256
        if package.kind == "conda" and package.published_hash:
            record["md5"] = package.published_hash
        records.append(record)
    channels = [{"url": c if "://" in c else f"https://{_CONDA}/{c}/"} for c in _channels(environment)]
    indexes = list(environment.request.sources.get("pypi", ()))
    default = {"channels": channels, "indexes": indexes, "packages": {environment.id.arch: references}}
    if not indexes:
        del default["indexes"]
    return _yaml({"version": 6, "environments": {"default": default}, "packages": records})


def _pylock(environment: ResolvedEnvironment, left_out: list[str]) -> str:
    lines = [
        'lock-version = "1.0"',
        f"environments = [{_toml(_marker(environment.id.arch))}]",
        'created-by = "asynccache"',
    ]
    count = 0
    for package in _archives(environment, left_out):
        if package.kind != "pypi":
            left_out.append(f"{package.filename} is a conda package, which a pylock.toml cannot hold")
            continue
        name, digest, url = _name(package), _sha256(package), _url(package)
        if not digest:
            left_out.append(f"{package.filename} has no sha256, which a pylock.toml needs")
            continue
        count += 1
        lines += ["", "[[packages]]", f"name = {_toml(name.name)}", f"version = {_toml(name.version)}"]
        entry = f"{{ url = {_toml(url)}, hashes = {{ sha256 = {_toml(digest)} }} }}"
        lines.append(f"wheels = [{entry}]" if package.url_format == ".whl" else f"sdist = {entry}")
    if not count:
        raise UsageError(
            f"{environment.id} has no PyPI package that a pylock.toml can hold", hint="choose another format"
        )
    return "\n".join(lines) + "\n"


def _environment_yml(environment: ResolvedEnvironment, left_out: list[str]) -> str:
    dependencies: list[Any] = []
    pip: list[str] = []
    for package in environment.packages:
        name = _name(package)
        if package.kind == "conda":
            dependencies.append(f"{name.name}={name.version}={name.build}")
        else:
            pip.append(f"{name.name}=={name.version}")
    if pip:
        dependencies.append({"pip": pip})
    left_out.append("an environment.yml names versions and builds, not archives: their digests are not in it")
    return _yaml({"channels": _channels(environment), "dependencies": dependencies})


_WRITERS: Final[dict[str, Callable[[ResolvedEnvironment, list[str]], str]]] = {
    "explicit": _explicit,
    "conda-lock": _conda_lock,
    "pixi-lock": _pixi_lock,
    "pylock.toml": _pylock,
    "environment.yml": _environment_yml,
    "json": _json,
}


def _archives(environment: ResolvedEnvironment, left_out: list[str]) -> Iterator[EnvironmentPackage]:
    """Yield packages with an address, and note the others."""
    for package in environment.packages:
        if package.downloadable:
            yield package
        else:
            left_out.append(f"{package.filename} was built from {redacted(package.url)} and has no address")


def _channels(environment: ResolvedEnvironment) -> list[str]:
    asked = list(environment.request.sources.get("conda", ()))
    used = [channel_of(p) for p in environment.packages if p.kind == "conda" and p.downloadable]
    return list(dict.fromkeys([redacted(c) if "://" in c else c for c in asked] or used))


def _name(package: EnvironmentPackage) -> DistributionName:
    return parse_stem(package.kind, package.filename)


def _url(package: EnvironmentPackage) -> str:
    return str(package.as_document()["url"])


def _sha256(package: EnvironmentPackage) -> str:
    return package.hashes.get("sha256") or (package.published_hash or "" if package.kind == "pypi" else "")


def _marker(arch: str) -> str:
    system, _, machine = arch.partition("-")
    names = {"64": "x86_64", "32": "i686"}
    platform = "linux" if system == "linux" else "darwin"
    return f"sys_platform == '{platform}' and platform_machine == '{names.get(machine, machine)}'"


def _toml(text: str) -> str:
    return json.dumps(text)  # a TOML basic string has the escapes of JSON


def _yaml(document: object) -> str:
    import yaml  # noqa: PLC0415 - slow to import, and needed for few formats

    text: str = yaml.safe_dump(document, sort_keys=False, default_flow_style=False, width=1000)
    return text
