"""Messages in the words of Metaflow's users: a setting is called by the variable that sets it.

The engine calls settings by their names in its own configuration. Standard library, Python 3.7.
"""

from __future__ import annotations

import re

from asynccache.node.settings_table import SETTINGS

_VARIABLES = {
    row.name: "METAFLOW_" + row.metaflow if row.metaflow else "ASYNCCACHE_" + row.name.upper()
    for row in SETTINGS
    if row.name
}
# a name that is an ordinary word is a setting's where the text says so
_SAID = re.compile(
    r"(?P<said>\b[Ss]ettings? `?)(?P<word>{})(?![\w=-])|(?<![\w./@:=-])(?P<name>{})(?![\w/@=-]|\.\w)".format(
        "|".join(_VARIABLES), "|".join(name for name in _VARIABLES if "_" in name)
    )
)


def in_metaflows_words(text: str) -> str:
    """Return a message with the variables that Metaflow's users set.

    >>> in_metaflows_words("raise lock_timeout, or give it in the setting auth; auth stays")
    'raise METAFLOW_CONDA_LOCK_TIMEOUT, or give it in the setting METAFLOW_CONDA_SRCS_AUTH_INFO; auth stays'
    """
    return _SAID.sub(lambda m: (m["said"] or "") + _VARIABLES[m["word"] or m["name"]], text)
