"""Every setting, in one frozen dataclass, and where its value comes from.

A value is taken from the first of: a command line flag, an environment variable (`ASYNCCACHE_<NAME>`, then the names
that Metaflow's users have already set), the configuration file, Metaflow's configuration file, the default.

The configuration file is TOML with the field names as keys: `$ASYNCCACHE_CONFIG`, else
`$XDG_CONFIG_HOME/asynccache/config.toml` (`~/.config/...`). Metaflow's is `config.json` (or the profile's file) in
`$METAFLOW_HOME`, `~/.metaflowconfig` by default; of it only the keys that start with `METAFLOW_` are read.
"""

from __future__ import annotations

import json
import os
import sys
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from asynccache.config.values import CONVERTERS
from asynccache.errors import ConfigurationError
from asynccache.model.package import Format
from asynccache.model.root import StoreRoot

_MIB: Final = 1 << 20
_GIB: Final = 1 << 30
_USER_VARIABLES: Final = ("METAFLOW_USER", "SUDO_USER", "USERNAME", "USER")


def cpu_count() -> int:
    """Return the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_cache_dir() -> Path:
    """Return the user's cache directory for asynccache."""
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "asynccache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "asynccache"
    return Path.home() / ".cache" / "asynccache"


def default_username() -> str:
    """Return who works here, as Metaflow finds it out: the first of four variables, `root` not counting."""
    names = (os.environ.get(variable) for variable in _USER_VARIABLES)
    return next((name for name in names if name and name != "root"), "unknown")


def default_sys_packages() -> dict[str, dict[str, str]]:
    """Return the virtual packages that an architecture is taken to have (contract, section 8)."""
    return {"linux-64": {"__glibc": os.environ.get("CONDA_OVERRIDE_GLIBC") or "2.27"}}


def default_builder_packages() -> list[str]:
    """Return what builds need besides pip: the keyring of Google's registry where its credentials are set."""
    return ["keyrings.google-artifactregistry-auth"] if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS") else []


def default_s3_endpoint() -> str | None:
    """Return the S3 server that AWS's own tools are told of, so that it is part of what a store is."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def _setting(
    default: object = None,
    help_text: str = "",
    *,
    factory: Callable[[], Any] | None = None,
    also: tuple[str, ...] = (),
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    secret: bool = False,
) -> Any:
    metadata = {"help": help_text, "also": also, "choices": choices, "minimum": minimum, "secret": secret}
    if factory is not None:
        return field(default_factory=factory, metadata=metadata, repr=not secret)
    return field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What can be set. Each field's help stands in `asynccache config --json` and in docs/settings.md."""

    store: str | None = _setting(
        None,
        "Root of the store: a path, file://, or s3://bucket/prefix. Unset: `store` in cache_dir.",
        also=("METAFLOW_CONDA_S3ROOT", "METAFLOW_CONDA_LOCALROOT"),
    )
    cache_dir: Path = _setting(  # noqa: RUF009 - a field like the others
        help_text="This machine's working directory: partial downloads, locks, the embedded store.",
        factory=default_cache_dir,
    )
    packages_dirname: str = _setting(
        "packages", "Directory of the packages below the root.", also=("METAFLOW_CONDA_PACKAGES_DIRNAME",)
    )
    envs_dirname: str = _setting(
        "envs", "Directory of the environments below the root.", also=("METAFLOW_CONDA_ENVS_DIRNAME",)
    )
    use_remote_latest: str = _setting(
        ":none:",
        "Whose resolutions are taken from the store: `:none:`, `:username:`, `:any:`, or user names with commas.",
        also=("METAFLOW_CONDA_USE_REMOTE_LATEST",),
    )
    manifest_name: str = _setting(
        "conda_v2.cnd",
        "File name of this machine's list of environments in Metaflow's local datastore.",
        also=("METAFLOW_CONDA_MAGIC_FILE_V2",),
    )
    datastore_root: Path | None = _setting(  # noqa: RUF009 - a field like the others
        None,
        "Directory that holds Metaflow's local datastore `.metaflow`; unset: the nearest one at or above here.",
        also=("METAFLOW_DATASTORE_SYSROOT_LOCAL",),
    )
    username: str = _setting(
        help_text="Who resolves environments and moves their names.", factory=default_username, also=("METAFLOW_USER",)
    )
    preferred_format: str = _setting(
        "none",
        "Format that conda packages are wanted in; none: as published.",
        also=("METAFLOW_CONDA_PREFERRED_FORMAT",),
        choices=(".conda", ".tar.bz2", "none"),
    )
    zstd_level: int = _setting(3, "zstd level of written .conda archives, 1 to 22.", minimum=1)
    verify_transmute: bool = _setting(default=True, help_text="Compare all members of source and result.")
    lock_timeout: float = _setting(
        3600.0,
        "Seconds to wait for another process that works on the same package.",
        also=("METAFLOW_CONDA_LOCK_TIMEOUT",),
        minimum=0,
    )
    in_flight: int = _setting(64, "Packages being worked on at once.", minimum=1)
    connections: int = _setting(48, "Connections to package sources at once, in all.", minimum=1)
    connections_per_host: int = _setting(16, "Connections to one host at once.", minimum=1)
    store_connections: int = _setting(64, "Connections to the store at once.", minimum=1)
    cpu_slots: int = _setting(
        help_text="Cores used for decompressing, compressing and verifying.", factory=cpu_count, minimum=1
    )
    memory_bytes: int = _setting(128 * _MIB, "Bytes of package data held in memory at once.", minimum=16 * _MIB)
    temp_bytes: int = _setting(20 * _GIB, "Bytes of temporary files at once.", minimum=64 * _MIB)
    attempts: int = _setting(5, "Tries per source before the next source is asked.", minimum=1)
    connect_timeout: float = _setting(10.0, "Seconds to wait for a connection.", minimum=0.001)
    read_timeout: float = _setting(
        60.0, "Seconds without a byte after which a download counts as stalled.", minimum=0.001
    )
    package_timeout: float = _setting(3600.0, "Seconds that one package may take in all.", minimum=0.001)
    retry_cap: float = _setting(
        30.0, "Longest pause between two tries, in seconds; Retry-After up to ten times that.", minimum=0
    )
    mirrors: Mapping[str, list[str]] = _setting(
        help_text="URL prefix -> prefixes to try before it, in order.", factory=dict
    )
    auth: Mapping[str, list[str]] = _setting(
        help_text="Host (or host:port) -> [user, password].",
        factory=dict,
        also=("METAFLOW_CONDA_SRCS_AUTH_INFO",),
        secret=True,
    )
    conda_dependency_resolver: str | None = _setting(
        None,
        "Who solves conda environments; unset: mamba when it is found, else the built-in rattler, said in one line.",
        also=("METAFLOW_CONDA_DEPENDENCY_RESOLVER",),
        choices=("mamba", "conda", "micromamba", "rattler"),
    )
    pypi_dependency_resolver: str = _setting(
        "uv",
        "Who solves environments of PyPI packages; none: refuse them.",
        also=("METAFLOW_CONDA_PYPI_DEPENDENCY_RESOLVER",),
        choices=("uv", "pip", "none"),
    )
    mixed_dependency_resolver: str | None = _setting(
        None,
        "Who solves environments of both kinds; unset: conda-lock when it and an executable are found, else built in.",
        also=("METAFLOW_CONDA_MIXED_DEPENDENCY_RESOLVER",),
        choices=("conda-lock", "builtin", "none"),
    )
    channels: list[str] = _setting(  # noqa: RUF009 - a field like the others
        help_text="Channels that requests are solved against after their own, highest priority first.",
        factory=lambda: ["conda-forge"],
        also=("CONDA_CHANNELS",),
    )
    channel_alias: str = _setting("https://conda.anaconda.org", "Where a channel that is a bare name lies.")
    hack_channel_alias: str | None = _setting(
        None,
        "Host and path of a mirror that counts as conda.anaconda.org in requests and documents.",
        also=("METAFLOW_CONDA_HACK_CHANNEL_ALIAS",),
    )
    conda_local_path: Path | None = _setting(  # noqa: RUF009 - a field like the others
        None,
        "Installation whose programs are used instead of those on PATH, once it holds `.metaflow-local-env`.",
        also=("METAFLOW_CONDA_LOCAL_PATH",),
    )
    local_dist_dirname: str | None = _setting(
        None, "Directory below the root that holds local_dist.", also=("METAFLOW_CONDA_LOCAL_DIST_DIRNAME",)
    )
    local_dist: str | None = _setting(
        None,
        "Tar archive in the store that is unpacked into conda_local_path when that is missing, `{arch}` replaced.",
        also=("METAFLOW_CONDA_LOCAL_DIST",),
    )
    default_pypi_source: str | None = _setting(
        None,
        "Index asked first, instead of those that pip is configured with.",
        also=("METAFLOW_CONDA_DEFAULT_PYPI_SOURCE",),
    )
    sys_default_packages: Mapping[str, dict[str, str]] = _setting(
        help_text="Architecture -> virtual package -> version, where the machine itself does not tell.",
        factory=default_sys_packages,
        also=("METAFLOW_CONDA_SYS_DEFAULT_PACKAGES",),
    )
    sys_default_gpu_packages: Mapping[str, str] = _setting(
        help_text="Virtual package -> version, laid over the defaults for a step that asks for a GPU.",
        factory=dict,
        also=("METAFLOW_CONDA_SYS_DEFAULT_GPU_PACKAGES",),
    )
    sys_markers: Mapping[str, dict[str, str]] = _setting(
        help_text="Architecture -> environment marker -> value, where it differs from what the architecture implies.",
        factory=dict,
        also=("METAFLOW_CONDA_SYS_MARKERS",),
    )
    pin_virtual_packages: bool = _setting(
        default=False,
        help_text="Take virtual packages from sys_default_packages also for this machine, so that a team shares ids.",
    )
    builder_env_packages: list[str] = _setting(  # noqa: RUF009 - a field like the others
        help_text="Conda packages that environments for building wheels get in addition.",
        factory=default_builder_packages,
        also=("METAFLOW_CONDA_BUILDER_ENV_PACKAGES",),
    )
    all_archs: list[str] = _setting(  # noqa: RUF009 - a field like the others
        help_text="Architectures searched for the source of a request that is resolved again.",
        factory=lambda: ["linux-64", "osx-64", "osx-arm64"],
        also=("METAFLOW_CONDA_ALL_ARCHS",),
    )
    resolve_timeout: float = _setting(600.0, "Seconds that resolving one environment may take.", minimum=0.001)
    offline: bool = _setting(default=False, help_text="Ask no channel and no index: what was fetched before must do.")
    exclude_newer: str | None = _setting(
        None, "Leave out what was published after this date (2026-01-31, or with a time and zone)."
    )
    name_mapping: Path | None = _setting(  # noqa: RUF009 - a field like the others
        None, "JSON file: name on conda -> name on PyPI, where they differ; laid over the built-in one."
    )
    environments_dir: Path | None = _setting(  # noqa: RUF009 - a field like the others
        None, "Directory of this machine's environments; unset: `envs` in cache_dir."
    )
    package_dirs: list[str] = _setting(  # noqa: RUF009 - a field like the others
        help_text="Further directories of packages on this machine: searched, never written.", factory=list
    )
    link_scripts: bool = _setting(default=True, help_text="Run the scripts that packages bring for after linking.")
    pack: str = _setting(
        "auto",
        "Packed environments: `auto` makes them of what is cached in a store that other machines read (S3) and of "
        "steps that run elsewhere, `always` of all that is cached; `never` makes and reads none.",
        also=("METAFLOW_CONDA_PACK", "CONDA_PACK"),
        choices=("auto", "always", "never"),
    )
    remote_installer_dirname: str | None = _setting(
        None,
        "Directory below the root that holds remote_installer.",
        also=("METAFLOW_CONDA_REMOTE_INSTALLER_DIRNAME", "CONDA_REMOTE_INSTALLER_DIRNAME"),
    )
    remote_installer: str | None = _setting(
        None,
        "Name of the engine's bundle for nodes, `{arch}` replaced; unset: published where asynccache chooses.",
        also=("METAFLOW_CONDA_REMOTE_INSTALLER", "CONDA_REMOTE_INSTALLER"),
    )
    compile_bytecode: bool = _setting(default=False, help_text="Compile the Python files of new environments.")
    s3_endpoint_url: str | None = _setting(
        help_text="Address of a private S3 server; implies path-style addressing. Unset: as AWS tools decide.",
        factory=default_s3_endpoint,
        also=("METAFLOW_S3_ENDPOINT_URL",),
    )
    s3_profile: str | None = _setting(None, "AWS profile; unset: as AWS tools decide.")
    s3_region: str | None = _setting(None, "AWS region; unset: as AWS tools decide.")

    def __post_init__(self) -> None:
        # programs that run elsewhere, and addresses made of paths, need to know where it is
        object.__setattr__(self, "cache_dir", self.cache_dir.absolute())

    @property
    def root(self) -> StoreRoot:
        """The store's root: the setting, or the embedded default below the cache directory.

        Raises:
            ConfigurationError: The setting is not a root.
        """
        if self.store is None:
            return StoreRoot.local(self.cache_dir / "store")
        return StoreRoot.parse(self.store, endpoint=self.s3_endpoint_url)

    @property
    def wanted_format(self) -> Format | None:
        """The format that conda packages are wanted in; None: as published."""
        return None if self.preferred_format == "none" else Format(self.preferred_format)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a setting's value came from.

    Attributes:
        kind: `flag`, `environment`, `file` or `default`.
        name: The flag, variable or `path:key`; empty for a default.
    """

    kind: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".strip()


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings and the origin of each field's value."""

    settings: Settings
    origins: Mapping[str, Origin]


def load_settings(
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    config_file: Path | None = None,
) -> LoadedSettings:
    """Collect the settings.

    Args:
        flags: Field name -> value; None values count as not given.
        environ: Environment variables; the process's own when None.
        config_file: The configuration file; found as the module says when None.

    Raises:
        ConfigurationError: A value that its setting cannot have, an unknown key, or an unreadable file.
    """
    env = os.environ if environ is None else environ
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    hints = typing.get_type_hints(Settings)
    path, required = _config_path(env, config_file)
    table = _read_toml(path, required=required)
    unknown = sorted(set(table) - set(hints))
    if unknown:
        raise ConfigurationError(
            f"{path} has the unknown setting {unknown[0]!r}",
            hint="`asynccache config` lists the settings",
        )
    metaflow_path = _metaflow_path(env)
    metaflow = _read_json(metaflow_path)
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for item in fields(Settings):
        raw, origin = _first_given(item, given, env, (path, table), (metaflow_path, metaflow))
        origins[item.name] = origin
        if origin.kind != "default":
            values[item.name] = _converted(item, hints[item.name], raw, origin)
    return LoadedSettings(Settings(**values), origins)


def _first_given(
    item: Field[Any],
    flags: Mapping[str, object],
    env: Mapping[str, str],
    own: tuple[Path, Mapping[str, object]],
    metaflow: tuple[Path, Mapping[str, object]],
) -> tuple[object, Origin]:
    if item.name in flags:
        return flags[item.name], Origin("flag", "--" + item.name.replace("_", "-"))
    for variable in (f"ASYNCCACHE_{item.name.upper()}", *item.metadata["also"]):
        if env.get(variable):
            return env[variable], Origin("environment", variable)
    if item.name in own[1]:
        return own[1][item.name], Origin("file", f"{own[0]}:{item.name}")
    for key in item.metadata["also"]:
        if metaflow[1].get(key) not in {None, ""}:
            return metaflow[1][key], Origin("file", f"{metaflow[0]}:{key}")
    return None, Origin("default")


def _converted(item: Field[Any], hint: Any, raw: object, origin: Origin) -> object:
    """Turn text or a TOML/JSON value into the field's type and check it."""
    wanted = hint
    if isinstance(hint, types.UnionType):
        wanted = next(arm for arm in typing.get_args(hint) if arm is not type(None))
    shown = "(not shown)" if item.metadata["secret"] else repr(raw)
    try:
        value = CONVERTERS[wanted](raw)
    except (ValueError, TypeError) as exc:
        raise ConfigurationError(
            f"{item.name} (from {origin}) has a value it cannot have", expected=exc, found=shown
        ) from None
    choices, minimum = item.metadata["choices"], item.metadata["minimum"]
    if choices and value not in choices:
        name = origin.name if origin.kind == "environment" else item.name
        raise ConfigurationError(f"{name} must be set to one of {list(choices)}. Got {shown}.")
    if minimum is not None and isinstance(value, int | float) and value < minimum:
        raise ConfigurationError(
            f"{item.name} (from {origin}) is too small", expected=f"at least {minimum}", found=shown
        )
    return value


def _config_path(env: Mapping[str, str], config_file: Path | None) -> tuple[Path, bool]:
    if config_file is not None:
        return config_file, True
    if named := env.get("ASYNCCACHE_CONFIG"):
        return Path(named).expanduser(), True
    base = Path(env["XDG_CONFIG_HOME"]) if env.get("XDG_CONFIG_HOME") else Path.home() / ".config"
    return base / "asynccache" / "config.toml", False


def _metaflow_path(env: Mapping[str, str]) -> Path:
    home = Path(env["METAFLOW_HOME"]).expanduser() if env.get("METAFLOW_HOME") else Path.home() / ".metaflowconfig"
    profile = env.get("METAFLOW_PROFILE")
    return home / (f"config_{profile}.json" if profile else "config.json")


def _read_toml(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        if required:
            raise ConfigurationError(f"the configuration file {path} does not exist") from None
        return {}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"the configuration file {path} cannot be read ({exc})") from exc


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise ConfigurationError(f"Metaflow's configuration file {path} cannot be read ({exc})") from exc
    if not isinstance(document, dict):
        raise ConfigurationError(f"Metaflow's configuration file {path} is wrong", expected="a JSON object")
    return document
