"""What the arguments of `@conda`, `@pypi` and their kin mean (contract, section 7.1).

Standard library and Metaflow, Python 3.7: steps import it, though only a launch asks it anything.
"""

from __future__ import annotations

from typing import Any, Callable, Sequence

from metaflow.metaflow_environment import InvalidEnvironmentException

from asynccache.metaflow.merge import Ask, AskError, checked

_NAMED: dict[str, Any] = {"name": None, "pathspec": None, "fetch_at_exec": None, "disabled": None}
_PACKAGES: dict[str, Any] = {"packages": {}, "sources": [], "python": None, **_NAMED}
_NAMED_INSTEAD = {name: f"@named_env({name}=...)" for name in ("fetch_at_exec", "name", "pathspec")}
Canonical = Callable[[str], str]
"""A version as ids have it: `1.4.0` becomes `1.4`."""


class Arguments:
    """What all of these decorators share, of a step and of a flow.

    Attributes:
        defaults: Argument -> its value when nothing is written.
        deprecated: Argument -> the new form.
    """

    name = ""
    attributes: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    deprecated: dict[str, str] = {}

    def ask(self, canonical: Canonical) -> Ask:
        """Return what is asked for.

        Raises:
            InvalidEnvironmentException: The arguments contradict each other, or one has a type it cannot have.
        """
        try:
            return checked(self._ask(canonical), self.name)
        except AskError as error:
            raise InvalidEnvironmentException(str(error)) from error

    def notice(self) -> str | None:
        """Return what the user should write instead of deprecated arguments, None if there is none."""
        used = [name for name in self.deprecated if self.attributes.get(name)]
        if not used:
            return None
        return "*DEPRECATED*: Using '{}' in '@{}' is deprecated. Please use {} instead.".format(
            "', '".join(used), self.name, " and ".join(dict.fromkeys(self._new_spelling(name) for name in used))
        )

    def _new_spelling(self, argument: str) -> str:
        form = self.deprecated[argument]
        return form.replace("(", "_base(", 1) if self.name.endswith("_base") else form

    def _ask(self, canonical: Canonical) -> Ask:
        raise NotImplementedError

    def _map(self, argument: str) -> dict[str, str]:
        value = self.attributes.get(argument) or {}
        if not isinstance(value, dict):
            raise AskError(f"@{self.name}({argument}=...) takes a map such as {{'pandas': '1.4.0'}}, not {value!r}")
        return {str(name): "" if text is None else str(text) for name, text in value.items()}

    def _list(self, *arguments: str) -> tuple[str, ...]:
        values: list[str] = []
        for argument in arguments:
            value = self.attributes.get(argument) or ()
            if isinstance(value, str) or not isinstance(value, (list, tuple, set, frozenset)):
                raise AskError(f"@{self.name}({argument}=...) takes a list of texts, not {value!r}")
            values.extend(str(each) for each in value)
        return tuple(dict.fromkeys(values))

    def _versions(self, argument: str, canonical: Canonical) -> dict[str, str]:
        return {name: canonical(text) for name, text in self._map(argument).items()}

    def _named(self, canonical: Canonical, disabled: bool | None) -> dict[str, Any]:
        pathspec = str(self.attributes.get("pathspec") or "")
        python = self.attributes.get("python")
        return {
            "name": self.attributes.get("name") or None,
            "pathspec": (pathspec[len("step:") :] if pathspec.startswith("step:") else pathspec) or None,
            "fetch_at_exec": self.attributes.get("fetch_at_exec"),
            "python": canonical(str(python)) if python else None,
            "disabled": self._disabled(disabled),
        }

    def _disabled(self, unsaid: bool | None) -> bool | None:
        value = self.attributes.get("disabled")
        if isinstance(value, str):  # as --with passes it
            return value.strip().lower() not in {"", "0", "false", "none"}
        return unsaid if value is None else bool(value)


class CondaArguments(Arguments):
    """Of `@conda` and `@conda_base`."""

    defaults = {"libraries": {}, "channels": [], "pip_packages": {}, "pip_sources": [], **_PACKAGES}
    deprecated = {
        "pip_packages": "@pypi(packages=...)",
        "pip_sources": "@pypi(extra_indices=...)",
        "sources": "@conda(channels=...)",
        **_NAMED_INSTEAD,
    }

    def _ask(self, canonical: Canonical) -> Ask:
        libraries = {**self._map("libraries"), **self._map("packages")}
        packages = {"conda": libraries, "pypi": self._pip_packages(canonical)}
        sources = {"conda": self._list("channels", "sources"), "pypi": self._list("pip_sources")}
        return Ask(packages=packages, sources=sources, **self._named(canonical, disabled=False))

    def _pip_packages(self, canonical: Canonical) -> dict[str, str]:
        value = self.attributes.get("pip_packages")
        if not isinstance(value, (list, tuple)):
            return self._versions("pip_packages", canonical)
        packages = {}
        for line in value:  # the documentation shows it as a list, too
            name, equal, version = str(line).partition("==")
            if not equal and set(name) & set("<>!~= "):
                raise AskError(f"@{self.name}(pip_packages=...) has {line!r}, which is no NAME==VERSION")
            packages[name.strip()] = canonical(version.strip())
        return packages


class PypiArguments(Arguments):
    """Of `@pypi` and `@pypi_base`."""

    defaults = {"conda_only": {}, "extra_indices": [], "extras": [], **_PACKAGES}
    deprecated = {"sources": "@pypi(extra_indices=...)", **_NAMED_INSTEAD}

    def _ask(self, canonical: Canonical) -> Ask:
        packages = {"pypi": self._versions("packages", canonical), "npconda": self._versions("conda_only", canonical)}
        sources = {"pypi": self._list("extra_indices", "sources")}
        named = self._named(canonical, disabled=False)
        return Ask(packages=packages, sources=sources, extras=self._flags(), **named)

    def _flags(self) -> Sequence[str]:
        value = self.attributes.get("extras") or ()
        if isinstance(value, dict):  # as the parser of requirements.txt returns them
            value = value.get("pypi") or ()
        if isinstance(value, str) or not isinstance(value, (list, tuple)):
            raise AskError(f"@{self.name}(extras=...) takes a list such as ['pre'], not {value!r}")
        return tuple(flag if str(flag).startswith("-") else f"--{flag}" for flag in value)


class PipArguments(PypiArguments):
    """Of the deprecated `@pip` and `@pip_base`."""

    def notice(self) -> str | None:
        """Return what the user should write instead of the decorator."""
        new = "@pypi_base" if self.name.endswith("_base") else "@pypi"
        return f"*DEPRECATED*: Using '@{self.name}' is deprecated. Please use '{new}' instead."


class NamedEnvArguments(Arguments):
    """Of `@named_env` and `@named_env_base`."""

    defaults = _NAMED

    def _ask(self, canonical: Canonical) -> Ask:
        names_one = self.attributes.get("name") or self.attributes.get("pathspec")
        return Ask(**self._named(canonical, disabled=False if names_one else None))


class SysPackagesArguments(Arguments):
    """Of `@sys_packages` and `@sys_packages_base`."""

    defaults = {"packages": None, "disabled": None}

    def _ask(self, canonical: Canonical) -> Ask:
        packages = self._map("packages")
        for name, version in packages.items():
            if name not in {"__cuda", "__glibc"}:
                raise AskError(
                    f"@{self.name} has '{name}': virtual packages that can be asked for are '__cuda' and '__glibc'"
                )
            if not version:
                raise AskError(f"@{self.name} names '{name}' without a version, which it needs")
        return Ask(packages={"sys": packages}, disabled=self._disabled(False if packages else None))


class PylockTomlArguments(Arguments):
    """Of what `@resolved_uv` and `@resolved_req` add."""

    defaults = {
        "path": None,
        "disabled": None,
        "user_deps_for_hash": {},
        "user_sources_for_hash": [],
        "full_id_unique_keys": {},
    }

    def _ask(self, canonical: Canonical) -> Ask:
        wanted = self._versions("user_deps_for_hash", canonical)
        python = wanted.get("python")
        path = self.attributes.get("path")
        return Ask(
            packages={"pypi": wanted},
            sources={"pypi": self._list("user_sources_for_hash")},
            python=python or None,
            disabled=self._disabled(False),
            files=(str(path),) if path else (),
            unique_keys=self._map("full_id_unique_keys"),
        )
