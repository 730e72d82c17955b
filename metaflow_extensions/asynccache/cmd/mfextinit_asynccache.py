"""Commands of `metaflow`."""

CMDS_DESC = [
    ("environment", "asynccache.metaflow.commands.cli"),
    ("env", "asynccache.metaflow.commands.short_cli"),
    ("debug", "asynccache.metaflow.debug_command.cli"),
]
