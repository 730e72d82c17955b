"""`asynccache env`."""

from __future__ import annotations

from typing import Final

from asynccache_cli.lazy_group import LazyGroup

_MODULES: Final = {
    "ls": ("env_read", "ls", "List environments: aliases, when and by whom they were resolved."),
    "show": ("env_read", "show", "Show requirements, packages and aliases of an environment."),
    "diff": ("env_read", "diff", "Compare two environments package by package."),
    "history": ("env_names", "history", "Show every move of an alias: when, by whom, from, to."),
    "get": ("env_names", "get", "Add an environment to the local list."),
    "alias": ("env_names", "alias", "Give an environment aliases."),
    "rollback": ("env_names", "rollback", "Move an alias back to an earlier environment."),
    "export": ("env_files", "export", "Write an environment as a list, a lock or a document."),
    "import": ("env_files", "import_", "Create an environment from a lock file or a list."),
}
_HELP: Final = """Environments: what was asked for, what was found, and how it is called.

An environment can be named by team/env:TAG (`latest` without a tag), by REQ:FULL or its full id, also shortened, by the
step of a run (Flow/123/train; Flow/123 and Flow mean the end step, of the latest run), by the name or path of one on
this machine, or by the file of its document.

Tags `latest`, `candidate` and `stable` move, with a history; every other tag is given once.

\b
Try:
  asynccache env ls
  asynccache env show team/env:v1
  asynccache env import conda-lock.yml --alias team/env:v1
"""

command = LazyGroup(name="env", modules=_MODULES, help=_HELP)
