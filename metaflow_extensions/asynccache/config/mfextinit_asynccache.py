"""The extension's variables in `metaflow.metaflow_config`."""

from asynccache.metaflow.configuration import configuration

globals().update(configuration())
del configuration
