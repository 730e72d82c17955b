"""Requirements and lock files in, packages out: one module a format."""

from asynccache.resolve.package_list import ListFormat, PackageList, read_package_list
from asynccache.resolve.selection import Selection

__all__ = ["ListFormat", "PackageList", "Selection", "read_package_list"]
