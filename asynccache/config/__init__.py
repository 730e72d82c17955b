"""Settings: one frozen dataclass, one table (`asynccache.node.settings_table`), one reader for all fronts."""

from asynccache.config.reader import LoadedSettings, Origin, load_settings, settings_environment
from asynccache.config.settings import Settings

__all__ = ["LoadedSettings", "Origin", "Settings", "load_settings", "settings_environment"]
