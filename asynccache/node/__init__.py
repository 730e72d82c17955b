"""What any node does, with the engine or without: locks, names and markers of environments, making a prefix, packs.

Standard library and `asynccache.errors` only; every Python from 3.7 on. The engine, the bootstrap of bare nodes and
what runs in steps use the same functions, which block.
"""
