"""Names that can be imported from `metaflow`; Metaflow shows the version beside its own."""

from metaflow.runner.metaflow_runner import Runner as FlowAPI  # noqa: F401

from asynccache import __version__  # noqa: F401
from asynccache.metaflow.mutators import resolved_req, resolved_uv  # noqa: F401
from asynccache.metaflow.other_names import install

__mf_extensions__ = "asynccache"  # beside the version in Metaflow's own, and in the tags of runs

install()
del install
