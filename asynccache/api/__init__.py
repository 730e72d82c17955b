"""The public surface: `Session` has every verb of the product; the rest are its arguments and results.

    from asynccache.api import Session

    async with Session() as session:
        resolved = await session.resolve("requirements.txt")
        resolved.raise_for_failures()
        for row in resolved.rows:
            print(row.name, row.arch, row.environment.id)

Settings come from the environment and the configuration files unless they are given. Nothing is printed; progress goes
to `emit`, notes go to `say` or stand in the results. A name is imported when it is first asked for, so importing this
module costs nothing; docs/api.md says what is promised about it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from asynccache.api.environment_results import History, RolledBack, Shown, Taken
    from asynccache.api.session import Session
    from asynccache.catalog.aliases import Move
    from asynccache.catalog.diff import Change, Difference
    from asynccache.catalog.export import EXPORT_FORMATS, Export
    from asynccache.catalog.listing import Listed
    from asynccache.config import Settings
    from asynccache.engine import events
    from asynccache.engine.pipeline import Job
    from asynccache.engine.report import Outcome, Report, StoredForm
    from asynccache.hydrate.activate import Activation
    from asynccache.hydrate.hydrated import Hydrated, HydrateOptions
    from asynccache.hydrate.pack_find import Packed
    from asynccache.hydrate.prefix import PrefixKind
    from asynccache.model.alias import Alias
    from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
    from asynccache.model.identity import EnvID, Request
    from asynccache.model.package import Format, Package
    from asynccache.ops.audit import Audit
    from asynccache.ops.backfill import Backfilled, Plan
    from asynccache.ops.clean import Cleaned, Removal
    from asynccache.ops.code_package import Placed
    from asynccache.ops.contents import Totals
    from asynccache.ops.doctor import Examination, Finding
    from asynccache.ops.environments import Aliased
    from asynccache.ops.hydrate_environments import Created
    from asynccache.ops.hydrated import OnDisk, Presence, Removed
    from asynccache.ops.import_environment import Imported
    from asynccache.ops.installer import Published
    from asynccache.ops.node_supplies import NodeSupplies
    from asynccache.ops.pack_cached import PacksMade
    from asynccache.ops.resolve_inputs import InputFile, InputKind, Inputs
    from asynccache.ops.resolve_request import ResolveOptions, Wanted
    from asynccache.ops.resolve_result import Resolved, Row
    from asynccache.ops.resolve_steps import Known, StepInputs
    from asynccache.ops.transmute_files import Conversion, Conversions
    from asynccache.ops.verify import Damage, Verification
    from asynccache.ops.verify_environments import EnvironmentDamage, EnvironmentsVerification
    from asynccache.ops.warm import Readiness, Ready, Target
    from asynccache.ops.warm_environments import Warmed
    from asynccache.resolve.formats.registry import format_names
    from asynccache.runtime.failures import as_failure, leaves, without_secrets
    from asynccache.store.stored import StoredArchive

__all__ = [
    "EXPORT_FORMATS",
    "Activation",
    "Alias",
    "Aliased",
    "Audit",
    "Backfilled",
    "Change",
    "Cleaned",
    "Conversion",
    "Conversions",
    "Created",
    "Damage",
    "Difference",
    "EnvID",
    "EnvironmentDamage",
    "EnvironmentPackage",
    "EnvironmentsVerification",
    "Examination",
    "Export",
    "Finding",
    "Format",
    "History",
    "HydrateOptions",
    "Hydrated",
    "Imported",
    "InputFile",
    "InputKind",
    "Inputs",
    "Job",
    "Known",
    "Listed",
    "Move",
    "NodeSupplies",
    "OnDisk",
    "Outcome",
    "Package",
    "Packed",
    "PacksMade",
    "Placed",
    "Plan",
    "PrefixKind",
    "Presence",
    "Published",
    "Readiness",
    "Ready",
    "Removal",
    "Removed",
    "Report",
    "Request",
    "ResolveOptions",
    "Resolved",
    "ResolvedEnvironment",
    "RolledBack",
    "Row",
    "Session",
    "Settings",
    "Shown",
    "StepInputs",
    "StoredArchive",
    "StoredForm",
    "Taken",
    "Target",
    "Totals",
    "Verification",
    "Wanted",
    "Warmed",
    "as_failure",
    "events",
    "format_names",
    "leaves",
    "without_secrets",
]
# module -> what is taken from it; each is imported when it is first asked for
_PLACES: Final = {
    "api.environment_results": ("History", "RolledBack", "Shown", "Taken"),
    "api.session": ("Session",),
    "catalog.aliases": ("Move",),
    "catalog.diff": ("Change", "Difference"),
    "catalog.export": ("EXPORT_FORMATS", "Export"),
    "catalog.listing": ("Listed",),
    "config": ("Settings",),
    "engine": ("events",),
    "engine.pipeline": ("Job",),
    "engine.report": ("Outcome", "Report", "StoredForm"),
    "hydrate.activate": ("Activation",),
    "hydrate.hydrated": ("HydrateOptions", "Hydrated"),
    "hydrate.pack_find": ("Packed",),
    "hydrate.prefix": ("PrefixKind",),
    "model.alias": ("Alias",),
    "model.environment": ("EnvironmentPackage", "ResolvedEnvironment"),
    "model.identity": ("EnvID", "Request"),
    "model.package": ("Format", "Package"),
    "ops.audit": ("Audit",),
    "ops.backfill": ("Backfilled", "Plan"),
    "ops.clean": ("Cleaned", "Removal"),
    "ops.code_package": ("Placed",),
    "ops.contents": ("Totals",),
    "store.stored": ("StoredArchive",),
    "ops.doctor": ("Examination", "Finding"),
    "ops.environments": ("Aliased",),
    "ops.hydrate_environments": ("Created",),
    "ops.hydrated": ("OnDisk", "Presence", "Removed"),
    "ops.import_environment": ("Imported",),
    "ops.installer": ("Published",),
    "ops.node_supplies": ("NodeSupplies",),
    "ops.pack_cached": ("PacksMade",),
    "ops.resolve_inputs": ("InputFile", "InputKind", "Inputs"),
    "ops.resolve_request": ("ResolveOptions", "Wanted"),
    "ops.resolve_result": ("Resolved", "Row"),
    "ops.resolve_steps": ("Known", "StepInputs"),
    "ops.transmute_files": ("Conversion", "Conversions"),
    "ops.verify": ("Damage", "Verification"),
    "ops.verify_environments": ("EnvironmentDamage", "EnvironmentsVerification"),
    "ops.warm": ("Readiness", "Ready", "Target"),
    "ops.warm_environments": ("Warmed",),
    "resolve.formats.registry": ("format_names",),
    "runtime.failures": ("as_failure", "leaves", "without_secrets"),
}
_MODULES: Final = {name: f"asynccache.{module}" for module, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(_MODULES[name])
    value = getattr(module, name, None) or importlib.import_module(f"{_MODULES[name]}.{name}")
    globals()[name] = value
    return value
