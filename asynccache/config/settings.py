"""Every setting, in one frozen dataclass; what each is stands in `asynccache.node.settings_table`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from asynccache.errors import ConfigurationError
from asynccache.model.package import Format
from asynccache.model.root import Datastore, StoreRoot
from asynccache.node.metaflow_configuration import root_name
from asynccache.node.setting import Setting
from asynccache.node.settings_table import DATASTORES, SETTINGS

ROWS: Final[Mapping[str, Setting]] = {row.name: row for row in SETTINGS if row.name}
"""Field -> its row of the table."""


def _setting(name: str) -> Any:
    row = ROWS[name]
    default = row.default
    if callable(default):
        factory = (lambda: Path(default())) if row.kind == "path" else default
        return field(default_factory=factory, repr=not row.secret)
    return field(default=default, repr=not row.secret)


def check(name: str, value: object) -> None:
    """Refuse a value that a setting cannot have; None is unset.

    Raises:
        ConfigurationError: It cannot; says in a sentence what it can.
    """
    if value is not None:
        try:
            ROWS[name].hold(value, name)
        except ValueError as exc:
            raise ConfigurationError(str(exc)) from None


# the comparison that the decorator writes of sixty fields takes ten times as long to compile as all else together
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Settings:
    """What can be set. What each field is stands in the table, `asynccache config --json` and docs/settings.md.

    Raises:
        ConfigurationError: A value that its setting cannot have.
    """

    store: str | None = _setting("store")
    datastore: Datastore = _setting("datastore")
    cache_dir: Path = _setting("cache_dir")
    packages_dirname: str = _setting("packages_dirname")
    envs_dirname: str = _setting("envs_dirname")
    use_remote_latest: str = _setting("use_remote_latest")
    manifest_name: str = _setting("manifest_name")
    datastore_root: Path | None = _setting("datastore_root")
    username: str = _setting("username")
    preferred_format: str = _setting("preferred_format")
    zstd_level: int = _setting("zstd_level")
    verify_transmute: bool = _setting("verify_transmute")
    unpacked_bytes: int = _setting("unpacked_bytes")
    unpacked_ratio: float = _setting("unpacked_ratio")
    links_outside: bool = _setting("links_outside")
    lock_timeout: float = _setting("lock_timeout")
    in_flight: int = _setting("in_flight")
    connections: int = _setting("connections")
    connections_per_host: int = _setting("connections_per_host")
    store_connections: int = _setting("store_connections")
    cpu_slots: int = _setting("cpu_slots")
    memory_bytes: int = _setting("memory_bytes")
    temp_bytes: int = _setting("temp_bytes")
    attempts: int = _setting("attempts")
    connect_timeout: float = _setting("connect_timeout")
    read_timeout: float = _setting("read_timeout")
    package_timeout: float = _setting("package_timeout")
    retry_cap: float = _setting("retry_cap")
    mirrors: Mapping[str, list[str]] = _setting("mirrors")
    auth: Mapping[str, list[str]] = _setting("auth")
    conda_dependency_resolver: str | None = _setting("conda_dependency_resolver")
    pypi_dependency_resolver: str = _setting("pypi_dependency_resolver")
    mixed_dependency_resolver: str | None = _setting("mixed_dependency_resolver")
    channels: list[str] = _setting("channels")
    channel_alias: str = _setting("channel_alias")
    hack_channel_alias: str | None = _setting("hack_channel_alias")
    conda_local_path: Path | None = _setting("conda_local_path")
    local_dist_dirname: str | None = _setting("local_dist_dirname")
    local_dist: str | None = _setting("local_dist")
    default_pypi_source: str | None = _setting("default_pypi_source")
    sys_default_packages: Mapping[str, dict[str, str]] = _setting("sys_default_packages")
    sys_default_gpu_packages: Mapping[str, str] = _setting("sys_default_gpu_packages")
    sys_markers: Mapping[str, dict[str, str]] = _setting("sys_markers")
    pin_virtual_packages: bool = _setting("pin_virtual_packages")
    builder_env_packages: list[str] = _setting("builder_env_packages")
    all_archs: list[str] = _setting("all_archs")
    resolve_timeout: float = _setting("resolve_timeout")
    offline: bool = _setting("offline")
    exclude_newer: str | None = _setting("exclude_newer")
    name_mapping: Path | None = _setting("name_mapping")
    environments_dir: Path | None = _setting("environments_dir")
    package_dirs: list[str] = _setting("package_dirs")
    link_scripts: bool = _setting("link_scripts")
    pack: str = _setting("pack")
    remote_installer_dirname: str | None = _setting("remote_installer_dirname")
    remote_installer: str | None = _setting("remote_installer")
    node_digests: list[str] = _setting("node_digests")
    compile_bytecode: bool = _setting("compile_bytecode")
    s3_endpoint_url: str | None = _setting("s3_endpoint_url")
    s3_profile: str | None = _setting("s3_profile")
    s3_region: str | None = _setting("s3_region")

    root_is_derived: bool = False
    """Whether nobody has named the store: its root follows from where Metaflow's datastore lies."""

    def __post_init__(self) -> None:
        if self.cache_dir.parts[:1] == ("~",):
            raise ConfigurationError(
                "this user has no home directory, so nothing says where the cache lies",
                hint="set ASYNCCACHE_CACHE_DIR, XDG_CACHE_HOME or HOME",
            )
        # programs that run elsewhere, and addresses made of paths, need to know where it is
        object.__setattr__(self, "cache_dir", self.cache_dir.absolute())
        for name in ROWS:
            check(name, getattr(self, name))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and all(getattr(self, name) == getattr(other, name) for name in ROWS)

    def __hash__(self) -> int:
        return hash((self.cache_dir, self.store))

    def bundle_key(self, arch: str) -> str | None:
        """Return the key that `remote_installer` gives the engine's bundle for an architecture; None without one."""
        return _key(self.remote_installer_dirname, self.remote_installer, arch)

    def distribution_key(self, arch: str) -> str | None:
        """Return the key that `local_dist` gives the installation of conda programs; None without one."""
        return _key(self.local_dist_dirname, self.local_dist, arch)

    @property
    def root(self) -> StoreRoot:
        """The store's root: the setting; else, with the datastore `local`, the embedded one in the cache directory.

        Raises:
            ConfigurationError: The setting is not a root, or another datastore is in use and its root is not set.
        """
        if self.store is None:
            if self.datastore != "local":
                raise ConfigurationError(
                    f"the datastore in use is {self.datastore}, and nothing says where its cache lies",
                    hint=f"set METAFLOW_{root_name(self.datastore)}, or METAFLOW_DATASTORE_SYSROOT_"
                    f"{DATASTORES[self.datastore]}, or the store by `--store` or ASYNCCACHE_STORE",
                )
            return StoreRoot.local(self.cache_dir / "store")
        return StoreRoot.parse(self.store, endpoint=self.s3_endpoint_url)

    @property
    def root_is_named(self) -> bool:
        """Whether somebody has named the store; a default one that was never written is empty, not absent."""
        return self.store is not None and not self.root_is_derived

    @property
    def wanted_format(self) -> Format | None:
        """The format that conda packages are wanted in; None: as published."""
        return None if self.preferred_format == "none" else Format(self.preferred_format)


def _key(dirname: str | None, name: str | None, arch: str) -> str | None:
    words = [word.strip("/") for word in (dirname, name) if word]
    return "/".join(words).replace("{arch}", arch) if name else None
