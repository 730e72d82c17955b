"""Every setting, in one frozen dataclass; `asynccache.node.settings_table` describes each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Final, TypeVar

from asynccache.errors import ConfigurationError
from asynccache.model.dataclass import dataclass
from asynccache.model.package import Format
from asynccache.model.root import StoreRoot
from asynccache.node.metaflow_configuration import root_name
from asynccache.node.patience import Patience
from asynccache.node.setting import Setting
from asynccache.node.settings_table import SETTINGS, SettingFields
from asynccache.node.store_kinds import KINDS, LOCAL, StoreKind

_C = TypeVar("_C")
ROWS: Final[Mapping[str, Setting]] = {row.name: row for row in SETTINGS if row.name}
"""Field -> its row of the table."""


def _field_of(row: Setting) -> Any:
    default = row.default
    if callable(default):
        factory = (lambda: Path(default())) if row.kind == "path" else default
        return field(default_factory=factory, repr=not row.secret)
    return field(default=default, repr=not row.secret)


def check(name: str, value: object) -> None:
    """Refuse an invalid value of a setting; None is unset.

    Raises:
        ConfigurationError: It is invalid; the message says what is valid.
    """
    if value is not None:
        try:
            ROWS[name].hold(value, name)
        except ValueError as exc:
            raise ConfigurationError(str(exc)) from None


def _with_fields(cls: type[_C]) -> type[_C]:
    """Give a class the fields of the table."""
    cls.__annotations__ = {**SettingFields.__annotations__, **cls.__annotations__}
    for name, row in ROWS.items():
        setattr(cls, name, _field_of(row))
    return cls


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
@_with_fields
class Settings(SettingFields):
    """All settings. The table, `asynccache config --json` and docs/settings.md describe each field.

    Raises:
        ConfigurationError: A value is invalid.
    """

    root_is_derived: bool = False
    """Whether nobody has named the store: its root follows from where Metaflow's datastore lies."""

    def __post_init__(self) -> None:
        if self.cache_dir.parts[:1] == ("~",):
            raise ConfigurationError(
                "this user has no home directory, so the location of the cache is unknown",
                hint="set ASYNCCACHE_CACHE_DIR, XDG_CACHE_HOME or HOME",
            )
        # programs in other directories, and addresses made from paths, need an absolute path
        object.__setattr__(self, "cache_dir", self.cache_dir.absolute())
        for name in ROWS:
            check(name, getattr(self, name))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and all(getattr(self, name) == getattr(other, name) for name in ROWS)

    def __hash__(self) -> int:
        return hash((self.cache_dir, self.store))

    def bundle_key(self, arch: str) -> str | None:
        """Return the key from `remote_installer` for the engine's bundle of an architecture; None if it is not set."""
        return _key(self.remote_installer_dirname, self.remote_installer, arch)

    def distribution_key(self, arch: str) -> str | None:
        """Return the key from `local_dist` for the installation of conda programs; None if it is not set."""
        return _key(self.local_dist_dirname, self.local_dist, arch)

    @property
    def root(self) -> StoreRoot:
        """The store's root: the setting; otherwise, with the datastore `local`, the embedded one in the cache
        directory.

        Raises:
            ConfigurationError: The setting is not a root, or another datastore is in use and its root is not set.
        """
        if self.store is None:
            if self.datastore != LOCAL:
                raise ConfigurationError(
                    f"the datastore in use is {self.datastore}, and the location of its cache is unknown",
                    hint=f"set METAFLOW_{root_name(self.datastore)}, or METAFLOW_DATASTORE_SYSROOT_"
                    f"{self.datastore.upper()}, or the store by `--store` or ASYNCCACHE_STORE",
                )
            return StoreRoot.local(self.cache_dir / "store")
        return self.other_root(self.store)

    def other_root(self, text: str) -> StoreRoot:
        """Return the root of a store that is reached as these settings say.

        Raises:
            ConfigurationError: The text is not a root.
        """
        endpoints = {kind.name: getattr(self, kind.endpoint) for kind in KINDS.values() if kind.endpoint}
        return StoreRoot.parse(text, endpoints=endpoints)

    def provider_of(self, kind: StoreKind) -> str | None:
        """Return the Metaflow plugin that provides credentials for stores of a kind; None if none is set."""
        return getattr(self, kind.provider) if kind.provider else None

    @property
    def root_is_named(self) -> bool:
        """Whether the store was named; a default one that was never written counts as empty, not absent."""
        return self.store is not None and not self.root_is_derived

    @property
    def patience(self) -> Patience:
        """How long temporary failures are retried."""
        return Patience(self.attempts, self.outage_timeout, self.throttle_timeout, self.retry_cap)

    @property
    def wanted_format(self) -> Format | None:
        """The preferred format of conda packages; None for the published one."""
        return None if self.preferred_format == "none" else Format(self.preferred_format)


def _key(dirname: str | None, name: str | None, arch: str) -> str | None:
    words = [word.strip("/") for word in (dirname, name) if word]
    return "/".join(words).replace("{arch}", arch) if name else None
