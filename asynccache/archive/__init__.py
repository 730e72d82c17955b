"""The bytes of packages: read, inspect, transmute, refuse hostile ones. Synchronous, no network."""

from asynccache.archive.check import check
from asynccache.archive.limits import Limits
from asynccache.archive.receipt import Receipt
from asynccache.archive.same import compare_archives
from asynccache.archive.transmute import transmute

__all__ = ["Limits", "Receipt", "check", "compare_archives", "transmute"]
