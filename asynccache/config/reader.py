"""Where the value of each setting comes from: the one reader of all fronts.

A value is read from the first of: a command line flag, `ASYNCCACHE_<NAME>`, the variables that Metaflow's users have
already set, asynccache's own file, Metaflow's configuration files, the default.

Its own file is TOML with the field names as keys: `$ASYNCCACHE_CONFIG`, else `$XDG_CONFIG_HOME/asynccache/config.toml`
(`~/.config/...`). Metaflow's files are those that Metaflow reads (`asynccache.node.metaflow_configuration`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from asynccache.config.settings import ROWS, Settings
from asynccache.errors import ConfigurationError
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.model.root import StoreRoot
from asynccache.model.url import redacted
from asynccache.node.metaflow_configuration import MetaflowConfiguration, Said, metaflow_tables, root_name, with_scheme
from asynccache.node.setting import Setting
from asynccache.node.store_kinds import DATASTORES, LOCAL
from asynccache.node.user import home_directory

_DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a setting's value came from.

    Attributes:
        kind: `flag`, `environment`, `file`, `extension` (another extension of Metaflow) or `default`.
        name: The flag, variable, `path:key` or name; empty for a default.
    """

    kind: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".strip()


@dataclass(frozen=True, slots=True)
class ShownSetting(Documented):
    """One setting as shown to users.

    Attributes:
        setting: Its name.
        value: Its value; a credential is not shown.
        origin: Where that came from: `default`, `flag`, or the variable or file.
        environment: Variables that set it; the first one that is set counts.
        help: Its description, in one sentence.
    """

    setting: str
    value: Any
    origin: Origin
    environment: Sequence[str]
    help: str


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings and their origins.

    Attributes:
        settings: All settings.
        origins: Field -> where its value came from.
        bare_keys: Keys of Metaflow's files that lack `METAFLOW_`; only asynccache accepts them.
        warnings: Warnings for users of the store, one sentence each.
    """

    settings: Settings
    origins: Mapping[str, Origin]
    bare_keys: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def shown(self) -> list[ShownSetting]:
        """Each setting with its value, its origin and its variables; credentials are not shown."""
        return [
            ShownSetting(name, self._shown(row), self.origins[name], row.variables, row.text)
            for name, row in ROWS.items()
        ]

    def _shown(self, row: Setting) -> Any:
        value = getattr(self.settings, row.name)
        if row.name == "store" and value is None and self.settings.datastore == LOCAL:
            return str(self.settings.root)
        if row.secret:
            return "(set, not shown)" if value else value
        return json.loads(redacted(json.dumps(value, default=str)))


def load_settings(
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    config_file: Path | None = None,
    extensions: Mapping[str, object] | None = None,
) -> LoadedSettings:
    """Collect the settings.

    Args:
        flags: Field name -> value; None means not given. `conda_root` is the store's root in the notation that Metaflow
            has for the datastore.
        environ: Environment variables; None for the process's own.
        config_file: asynccache's own file; None to find it as described above.
        extensions: Field, or name of a root -> value that other extensions of Metaflow have put into its
            configuration; takes precedence only over the default.

    Raises:
        ConfigurationError: A value is invalid, a key or profile unknown, or a file unreadable.
    """
    env = os.environ if environ is None else environ
    path, required = _own_path(env, config_file)
    own = _read_toml(path, required=required)
    unknown = sorted(set(own) - set(ROWS))
    if unknown:
        raise ConfigurationError(
            f"{path} has the unknown setting {unknown[0]!r}", hint="`asynccache config` lists the settings"
        )
    try:
        metaflow = MetaflowConfiguration(env, metaflow_tables(env))
        sources = _Sources(flags or {}, env, (path, own), metaflow, extensions or {})
        values: dict[str, Any] = {}
        origins: dict[str, Origin] = {}
        for name, row in ROWS.items():
            if name != "store":  # its location depends on the datastore
                values[name], origins[name] = sources.value(row)
        datastore = values["datastore"] or ROWS["datastore"].default
        values["store"], origins["store"], derived = sources.root(datastore)
    except ValueError as exc:
        raise ConfigurationError(redacted(str(exc))) from None
    settings = Settings(**{name: value for name, value in values.items() if value is not None}, root_is_derived=derived)
    warnings = () if values["store"] is not None else tuple(_unused_roots(metaflow, datastore))
    return LoadedSettings(settings, origins, tuple(metaflow.bare), warnings)


def settings_environment(loaded: LoadedSettings) -> dict[str, str]:
    """Return the variables that give a child process the same settings, for those that it cannot read itself."""
    chosen = [name for name, origin in loaded.origins.items() if origin.kind in {"flag", "extension"}]
    values = {name: getattr(loaded.settings, name) for name in chosen}
    texts = {n: json.dumps(v) if isinstance(v, list | dict) else str(v) for n, v in values.items()}
    return {f"ASYNCCACHE_{name.upper()}": text for name, text in texts.items()}


@dataclass(frozen=True, slots=True)
class _Sources:
    flags: Mapping[str, object]
    env: Mapping[str, str]
    own: tuple[Path, Mapping[str, object]]
    metaflow: MetaflowConfiguration
    extensions: Mapping[str, object]

    def value(self, row: Setting) -> tuple[Any, Origin]:
        """Return a setting's value, None for its default, and the origin."""
        for kind, said, strict in self._said(row, row.metaflow):  # lists have to be JSON in Metaflow's notation
            raw = row.null if said.raw is None else said.raw
            if raw is None or (raw == "" and row.blank_is_unset):
                continue
            value = row.read(raw, said.name, strict=strict)
            return Path(value).expanduser() if row.kind == "path" else value, Origin(kind, said.name)
        return None, Origin(_DEFAULT)

    def root(self, datastore: str) -> tuple[str | None, Origin, bool]:
        """Return the store's root, None for the embedded one, the origin, and whether it is a datastore's default."""
        default = self.metaflow.default_root(datastore)
        derived = [] if default is None else [("file" if default.key else "environment", default, True)]
        for kind, said, theirs in (*self._said(ROWS["store"], root_name(datastore)), *derived):
            if said.raw is None or said.raw == "":
                continue
            text = ROWS["store"].read(str(said.raw) if isinstance(said.raw, Path) else said.raw, said.name)
            try:
                StoreRoot.parse(text, datastore=datastore if theirs else None)
            except ConfigurationError as exc:
                raise ConfigurationError(f"{said.name}: {exc}") from None
            return with_scheme(text, datastore) if theirs else text, Origin(kind, said.name), said is default
        return None, Origin(_DEFAULT), False

    def _said(self, row: Setting, theirs: str | None) -> Iterator[tuple[str, Said, bool]]:
        """Yield the possible sources of a setting's value: kind of origin, value, whether in Metaflow's notation.

        Args:
            row: The setting.
            theirs: Metaflow's name for it.
        """
        name, is_root = row.name, row.name == "store"
        candidates = (
            ("flag", self._flag(name), False),
            ("flag", self._flag("conda_root") if is_root else None, True),
            ("environment", self._variable(f"ASYNCCACHE_{name.upper()}"), False),
            ("environment", self.metaflow.variable(theirs) if theirs else None, True),
            *(("environment", self._variable(other), False) for other in row.also),
            ("file", self._own(name), False),
            ("file", self.metaflow.in_files(theirs) if theirs else None, True),
            ("extension", self._extension(theirs if theirs and is_root else name), is_root),
        )
        yield from ((kind, said, in_theirs) for kind, said, in_theirs in candidates if said is not None)

    def _flag(self, name: str) -> Said | None:
        value = self.flags.get(name)
        flag = ROWS[name].flag if name in ROWS else ""
        return None if value is None else Said(value, flag or "--" + name.replace("_", "-"))

    def _variable(self, name: str) -> Said | None:
        return Said(self.env[name], name) if self.env.get(name) else None

    def _own(self, name: str) -> Said | None:
        path, table = self.own
        return Said(table[name], str(path), name) if name in table else None

    def _extension(self, name: str) -> Said | None:
        value = self.extensions.get(name)
        return None if value is None else Said(value, f"metaflow_config of another extension, {name}")


def _unused_roots(metaflow: MetaflowConfiguration, datastore: str) -> Iterator[str]:
    """Warn of roots that are set but not used, since another datastore is in use."""
    for other in DATASTORES:
        said = metaflow.said(root_name(other)) or metaflow.default_root(other)
        if other != datastore and said is not None and said.raw:
            yield (
                f"{said.name} is set but not used, since the datastore in use is {datastore}:"
                f" set METAFLOW_DEFAULT_DATASTORE={other} to use it"
            )


def _own_path(env: Mapping[str, str], config_file: Path | None) -> tuple[Path, bool]:
    if config_file is not None:
        return config_file, True
    if named := env.get("ASYNCCACHE_CONFIG"):
        return Path(named).expanduser(), True
    base = env.get("XDG_CONFIG_HOME") or os.path.join(home_directory() or os.devnull, ".config")  # noqa: PTH118
    return Path(base) / "asynccache" / "config.toml", False


def _read_toml(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            import tomllib  # noqa: PLC0415 - most have no such file

            return tomllib.load(file)
    except (FileNotFoundError, NotADirectoryError):
        if required:
            raise ConfigurationError(f"the configuration file {path} does not exist") from None
        return {}
    except (OSError, ValueError) as exc:
        raise ConfigurationError(f"the configuration file {path} cannot be read ({exc})") from exc
