"""Which module's names can be imported from `metaflow`."""

toplevel = "asynccache_names"
