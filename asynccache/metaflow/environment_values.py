"""A resolved environment as programs know it from metaflow-netflixext (contract, sections 6.3 and 13).

Where ids are made, `asynccache.model` is asked: it comes with the call. Standard library, Python 3.7.
"""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Sequence

from asynccache.metaflow.package_values import PackageSpecification
from asynccache.metaflow.values import EnvID, EnvType, TStr, dict_to_tstr, tstr_to_dict


class ResolvedEnvironment:
    """An environment: what was asked for and what was found.

    Args:
        user_dependencies: Category -> requirements.
        user_sources: Category -> channels and indexes.
        user_extra_args: Category -> flags of the resolver.
        arch: conda platform; None for this machine's.
        env_id: Its identity; None to compute it.
        all_packages: What it consists of, in the order of installation.
        resolved_on: Local time; None for now.
        resolved_by: User name; None for this user's.
        co_resolved: Architectures that were resolved together; None for its own.
        env_type: What it consists of.
        accurate_source: False if it was resolved on top of another one.
        full_id_unique_keys: What else makes it its own.
    """

    def __init__(
        self,
        user_dependencies: Mapping[str, Sequence[str]],
        user_sources: Mapping[str, Sequence[str]] | None,
        user_extra_args: Mapping[str, Sequence[str]] | None,
        arch: str | None = None,
        env_id: EnvID | None = None,
        all_packages: Iterable[PackageSpecification] = (),
        resolved_on: Any = None,
        resolved_by: str | None = None,
        co_resolved: Sequence[str] | None = None,
        env_type: EnvType = EnvType.MIXED,
        accurate_source: bool = True,
        full_id_unique_keys: Mapping[str, str] | None = None,
    ) -> None:
        from datetime import datetime  # noqa: PLC0415 - a third of what this module would import

        from asynccache.boot.manifest import this_architecture  # noqa: PLC0415
        from asynccache.node.user import user_name  # noqa: PLC0415

        place = arch or (env_id.arch if env_id else this_architecture())
        self.packages = list(all_packages)
        deps = dict_to_tstr(user_dependencies)
        self.deps = sorted(deps, key=lambda each: each.value)
        self.sources = dict_to_tstr(user_sources or {})
        self.extras = dict_to_tstr(user_extra_args or {})
        self.resolved_on = resolved_on or datetime.now()  # noqa: DTZ005 - documents have no zone
        self.resolved_by = resolved_by or user_name()
        self.co_resolved_archs = list(co_resolved or [place])
        self.env_type = EnvType(env_type)
        self.is_info_accurate = accurate_source
        self.full_id_unique_keys = dict(full_id_unique_keys or {})
        self.env_id = env_id or self._identified(place)

    def _identified(self, arch: str) -> EnvID:
        from asynccache.api.flows import full_id  # noqa: PLC0415 - Python 3.11

        entries = [(package.filename, package.pkg_hash(package.url_format)) for package in self.packages]
        req_id = self.get_req_id(*map(tstr_to_dict, (self.deps, self.sources, self.extras)))
        return EnvID(req_id, full_id(entries, arch, self.full_id_unique_keys), arch)

    @staticmethod
    def get_req_id(
        deps: Mapping[str, Sequence[str]],
        sources: Mapping[str, Sequence[str]] | None = None,
        extra_args: Mapping[str, Sequence[str]] | None = None,
    ) -> str:
        """Return the id of a request."""
        from asynccache.api import Request  # noqa: PLC0415 - Python 3.11

        return Request(deps, sources or {}, extra_args or {}).req_id

    def to_dict(self) -> dict[str, Any]:
        """Return the document."""
        return {
            "deps": [str(each) for each in self.deps],
            "sources": [str(each) for each in self.sources],
            "extras": [str(each) for each in self.extras],
            "packages": [package.to_dict() for package in self.packages],
            "resolved_on": self.resolved_on.isoformat(),
            "resolved_by": self.resolved_by,
            "resolved_archs": list(self.co_resolved_archs),
            "env_type": self.env_type.value,
            "accurate_source": self.is_info_accurate,
            "full_id_unique_keys": dict(self.full_id_unique_keys),
        }

    @classmethod
    def from_dict(cls, env_id: Sequence[str], d: Mapping[str, Any]) -> ResolvedEnvironment:
        """Read a document."""
        from datetime import datetime  # noqa: PLC0415 - a third of what this module would import

        deps, sources, extras = (
            tstr_to_dict(map(TStr.from_str, d.get(part) or [])) for part in ("deps", "sources", "extras")
        )
        kind = d.get("env_type", "mixed")
        return cls(
            deps,
            sources,
            extras,
            env_id=EnvID(*env_id),
            all_packages=[PackageSpecification.from_dict(package) for package in d["packages"]],
            resolved_on=datetime.fromisoformat(d["resolved_on"]),
            resolved_by=str(d["resolved_by"]),
            co_resolved=d["resolved_archs"],
            env_type=EnvType("pypi-only" if kind == "pip-only" else kind),
            accurate_source=bool(d.get("accurate_source", True)),
            full_id_unique_keys=d.get("full_id_unique_keys"),
        )

    def __repr__(self) -> str:
        return "<environment {}:{} for {}>".format(*self.env_id)
