"""What a Jupyter kernel needs, on top of a locked environment."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from asynccache.model.environment import ResolvedEnvironment
from asynccache.ops.opening import Opening
from asynccache.ops.resolve import resolve
from asynccache.ops.resolve_request import ResolveOptions, Wanted
from asynccache.resolve.extend import extend
from asynccache.resolve.requests.requirements import Requirements
from asynccache.runtime.late_loop import in_thread

_KERNEL_PACKAGE: Final = "ipykernel"


async def with_kernel(opening: Opening, environment: ResolvedEnvironment, name: str) -> ResolvedEnvironment:
    """Resolve what a kernel needs on top of an environment, whose packages stay as they are locked.

    Args:
        opening: Opens the store that gets what is resolved.
        environment: The environment; one that has the kernel's package is returned as it is.
        name: Its name for messages.

    Raises:
        ResolutionError: What a kernel needs is incompatible with the environment.
    """
    if any(package.name == _KERNEL_PACKAGE for package in environment.packages):
        return environment
    arch = environment.id.arch
    category = "pypi" if environment.environment_type == "pypi-only" else "conda"
    settings = replace(opening.settings, use_remote_latest=":any:")  # a resolution by any user will do
    asked = await in_thread(
        extend,
        {arch: environment},
        Requirements.of({category: {_KERNEL_PACKAGE: ""}}),
        arches=[arch],
        settings=settings,
        datastore=None,
        name=name,
    )
    wanted = Wanted(f"{name} with {_KERNEL_PACKAGE}", asked)
    resolved = await resolve(
        settings, [wanted], options=ResolveOptions(set_default=False), engine=await opening.engine(writing=True)
    )
    resolved.raise_for_failures()
    return resolved.environments[0]
