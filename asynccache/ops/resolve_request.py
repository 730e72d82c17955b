"""What is asked of `resolve`: environments by name, each for one or several architectures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from datetime import UTC, datetime, timedelta

from asynccache.errors import ConfigurationError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.resolve.requests.assemble import Assembled
from asynccache.resolve.resolver import Resolver


@dataclass(frozen=True, slots=True)
class Wanted:
    """One environment that is asked for.

    Attributes:
        name: How rows and errors call it: a file, a step, a name.
        asked: Architecture -> what is asked for; the architectures of one `Wanted` are resolved together.
        aliases: Names to give it.
        lock: Who reads what is found out of a lock; None to let the settings say who solves.
        unique_keys: What else makes it its own (contract, section 1.4).
        auth: What the addresses of the lock held, in the shape of the setting `auth`. Never recorded.
    """

    name: str
    asked: Mapping[str, Assembled]
    aliases: tuple[str, ...] = ()
    lock: Resolver | None = None
    unique_keys: Mapping[str, str] = field(default_factory=dict)
    auth: Mapping[str, list[str]] = field(default_factory=dict, repr=False, compare=False)

    def as_document(self) -> dict[str, object]:
        """Return it as plain values."""
        requests = {arch: asked.request for arch, asked in self.asked.items()}
        return {
            "name": self.name,
            "asked": {
                arch: {"req_id": r.req_id, "deps": dict(r.deps), "sources": dict(r.sources), "extras": dict(r.extras)}
                for arch, r in requests.items()
            },
            "aliases": list(self.aliases),
            "unique_keys": dict(self.unique_keys),
        }


@dataclass(frozen=True, slots=True)
class ResolveOptions:
    """How to resolve.

    Attributes:
        force: Solve although an environment is known for the request.
        dry_run: Write nothing into the store, the list of environments and the names.
        cache: Bring packages and documents into the store.
        set_default: Make what is found the one that its request means on this machine.
        local_only: Look for what is known on this machine only.
        pack: Make packs of what is cached; None as the setting says.
        create: Make this machine's environments on disk as well, while their packages are brought.
    """

    force: bool = False
    dry_run: bool = False
    cache: bool = True
    set_default: bool = True
    local_only: bool = False
    pack: bool | None = None
    create: bool = False


@dataclass(slots=True)
class Group:
    """Requests that are one: equal but for the architecture.

    Attributes:
        asked: Architecture -> what is asked for.
        lock: Who reads what is found out of a lock.
        unique_keys: What else makes it its own.
        members: Who asks.
        together: Whether somebody asks for several architectures that must share one id.
    """

    asked: dict[str, Assembled] = field(default_factory=dict)
    lock: Resolver | None = None
    unique_keys: Mapping[str, str] = field(default_factory=dict)
    members: list[Wanted] = field(default_factory=list)
    together: bool = False

    @property
    def name(self) -> str:
        """How errors and events call it."""
        return self.members[0].name

    @property
    def req_id(self) -> str:
        """Identity of the request."""
        return next(iter(self.asked.values())).request.req_id

    @property
    def aliases(self) -> list[str]:
        """All names to give, each once."""
        return list(dict.fromkeys(name for member in self.members for name in member.aliases))


def grouped(wanted: Iterable[Wanted]) -> list[Group]:
    """Put equal requests together, so that each is solved once.

    Raises:
        UsageError: Something is asked for without an architecture, or is no ASCII.
    """
    groups: dict[object, Group] = {}
    for each in wanted:
        if not each.asked:
            raise UsageError(f"{each.name} is asked for without an architecture", expected="linux-64, osx-arm64, ...")
        requests: dict[str, dict[str, Assembled]] = {}
        for arch, asked in each.asked.items():
            requests.setdefault(asked.request.req_id, {})[arch] = asked
        for req_id, by_arch in requests.items():
            bases = tuple(sorted({str(a.base.id) for a in by_arch.values() if a.base is not None}))
            kind = next(iter(by_arch.values())).environment_type
            key = (req_id, kind, bases, each.lock, tuple(sorted(each.unique_keys.items())))
            group = groups.setdefault(key, Group(lock=each.lock, unique_keys=each.unique_keys))
            for arch, asked in by_arch.items():
                first = group.asked.setdefault(arch, asked)
                group.asked[arch] = replace(first, gpu=first.gpu or asked.gpu)
            group.members.append(each)
            group.together |= len(by_arch) > 1
    return list(groups.values())


def publication_limit(text: str | None) -> datetime | None:
    """Read the setting `exclude_newer`: a day counts to its end (UTC), a time without zone is UTC.

    Raises:
        ConfigurationError: It is neither a day nor a time.

    >>> publication_limit("2026-01-31")
    datetime.datetime(2026, 2, 1, 0, 0, tzinfo=datetime.timezone.utc)
    """
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            "exclude_newer is no date", expected="2026-01-31, or 2026-01-31T12:00:00Z", found=repr(text[:40])
        ) from None
    if len(text) <= len("2026-01-31"):
        moment += timedelta(days=1)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
