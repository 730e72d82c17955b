"""The bytes of packages: read, inspect, transmute, refuse hostile ones. Synchronous, no network."""

from asynccache.archive.check import Summary, check
from asynccache.archive.limits import DEFAULT_LIMITS, Limits
from asynccache.archive.member import Component, Member, MemberType
from asynccache.archive.receipt import Receipt
from asynccache.archive.transmute import DEFAULT_LEVEL, transmute
from asynccache.archive.work import Cancelled, Progress

__all__ = [
    "DEFAULT_LEVEL",
    "DEFAULT_LIMITS",
    "Cancelled",
    "Component",
    "Limits",
    "Member",
    "MemberType",
    "Progress",
    "Receipt",
    "Summary",
    "check",
    "transmute",
]
