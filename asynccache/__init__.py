"""asynccache: fetch, verify, transmute and publish conda and PyPI packages.

Importing this package costs nothing: it uses the standard library only and loads the engine when it is first
asked for. It is written so that every Python from 3.7 on can import it, because Metaflow ships it into steps.
"""

__version__ = "0.1.0"

# Metaflow ships a module that says this, whole, to where steps run
METAFLOW_PACKAGE_POLICY = "include"
