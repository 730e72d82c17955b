"""Settings: one frozen dataclass, one table, one reader for all fronts."""

from asynccache.config.settings import LoadedSettings, Origin, Settings, load_settings

__all__ = ["LoadedSettings", "Origin", "Settings", "load_settings"]
