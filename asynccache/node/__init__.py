"""What any node does, with or without the engine: locks, names and markers of environments, creating a prefix, packs.

Standard library and `asynccache.errors` only; every Python from 3.7 on. The engine, the bootstrap of bare nodes and
steps use the same functions, which block.
"""
