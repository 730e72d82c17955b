"""`python -m asynccache_cli`: the command line without its console script."""

from __future__ import annotations

from asynccache_cli.main import main

if __name__ == "__main__":
    main()
