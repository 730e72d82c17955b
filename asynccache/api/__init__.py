"""The public surface: `Session` has every verb of the product; the rest are its arguments and results.

    from asynccache.api import Session

    async with Session() as session:
        resolved = await session.resolve("requirements.txt")
        resolved.raise_for_failures()
        for row in resolved.rows:
            print(row.name, row.arch, row.environment.id)

Settings come from the environment and the configuration files unless they are given. Nothing is printed; progress goes
to `emit`, notes go to `say` or are in the results. A name is imported on first use, so importing this module costs
nothing; docs/api.md says what is promised about it.
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
    from asynccache.catalog.leases import Lease, Leases
    from asynccache.catalog.listing import Listed
    from asynccache.config import Settings
    from asynccache.engine import events
    from asynccache.engine.pipeline import Job
    from asynccache.engine.progress import PhaseTotals, Progress
    from asynccache.engine.report import Outcome, Report, StoredFormat
    from asynccache.hydrate.activate import Activation
    from asynccache.hydrate.hydrated import Hydrated, HydrateOptions
    from asynccache.hydrate.pack_find import Packed
    from asynccache.hydrate.prefix import PrefixKind
    from asynccache.model.alias import Alias
    from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
    from asynccache.model.identity import EnvID, Request
    from asynccache.model.package import Format, Package
    from asynccache.model.shard import Shard, ShardChoice
    from asynccache.node.resolver_table import RESOLVERS
    from asynccache.node.store_kinds import DATASTORES
    from asynccache.ops.audit_result import Audit, AuditFinding, AuditRun
    from asynccache.ops.backfill import Backfilled, Plan
    from asynccache.ops.backfill_run import BackfillRun, Counts
    from asynccache.ops.catalog import Aliased
    from asynccache.ops.clean import Cleaned, Removal
    from asynccache.ops.code_package import Placed
    from asynccache.ops.collect import Collected
    from asynccache.ops.collect_rules import Amount, Garbage, KindAmount
    from asynccache.ops.contents import Totals
    from asynccache.ops.create_environments import Attempt, Attempts
    from asynccache.ops.doctor import Examination, Finding
    from asynccache.ops.hydrate_environments import Created
    from asynccache.ops.hydrated import Presence, Removed
    from asynccache.ops.import_environment import Imported
    from asynccache.ops.installer import Published
    from asynccache.ops.leftovers import Leftover, StoreCleaned
    from asynccache.ops.node_supplies import NodeSupplies
    from asynccache.ops.on_disk import OnDisk
    from asynccache.ops.pack_cached import PacksMade
    from asynccache.ops.plan import Planned
    from asynccache.ops.readiness import Readiness, Ready
    from asynccache.ops.replicated import ReplicaFinding, Replicated, Tally
    from asynccache.ops.report_result import Duplicate, Duplicates, LastRun, NamedEnvironment, StoreReport
    from asynccache.ops.resolve_inputs import InputFile, InputKind, Inputs
    from asynccache.ops.resolve_request import ResolveOptions, Wanted
    from asynccache.ops.resolve_result import Resolved, Row
    from asynccache.ops.resolve_steps import Known, StepInputs
    from asynccache.ops.transmute_files import Conversion, Conversions
    from asynccache.ops.verify import Damage, Verification
    from asynccache.ops.verify_environments import EnvironmentDamage, EnvironmentsVerification
    from asynccache.ops.verify_run import VerifyRun
    from asynccache.ops.verify_whole import StoreVerification
    from asynccache.ops.warm import Target
    from asynccache.ops.warm_environments import Warmed
    from asynccache.resolve.formats.registry import format_names
    from asynccache.runtime.author import named_command
    from asynccache.runtime.failures import as_failure, leaves, without_secrets
    from asynccache.runtime.late_loop import run_late
    from asynccache.runtime.tasks import with_beside
    from asynccache.store.admission import Floor, Writer, Writers
    from asynccache.store.stored import StoredArchive

__all__ = [
    "DATASTORES",
    "EXPORT_FORMATS",
    "RESOLVERS",
    "Activation",
    "Alias",
    "Aliased",
    "Amount",
    "Attempt",
    "Attempts",
    "Audit",
    "AuditFinding",
    "AuditRun",
    "BackfillRun",
    "Backfilled",
    "Change",
    "Cleaned",
    "Collected",
    "Conversion",
    "Conversions",
    "Counts",
    "Created",
    "Damage",
    "Difference",
    "Duplicate",
    "Duplicates",
    "EnvID",
    "EnvironmentDamage",
    "EnvironmentPackage",
    "EnvironmentsVerification",
    "Examination",
    "Export",
    "Finding",
    "Floor",
    "Format",
    "Garbage",
    "History",
    "HydrateOptions",
    "Hydrated",
    "Imported",
    "InputFile",
    "InputKind",
    "Inputs",
    "Job",
    "KindAmount",
    "Known",
    "LastRun",
    "Lease",
    "Leases",
    "Leftover",
    "Listed",
    "Move",
    "NamedEnvironment",
    "NodeSupplies",
    "OnDisk",
    "Outcome",
    "Package",
    "Packed",
    "PacksMade",
    "PhaseTotals",
    "Placed",
    "Plan",
    "Planned",
    "PrefixKind",
    "Presence",
    "Progress",
    "Published",
    "Readiness",
    "Ready",
    "Removal",
    "Removed",
    "ReplicaFinding",
    "Replicated",
    "Report",
    "Request",
    "ResolveOptions",
    "Resolved",
    "ResolvedEnvironment",
    "RolledBack",
    "Row",
    "Session",
    "Settings",
    "Shard",
    "ShardChoice",
    "Shown",
    "StepInputs",
    "StoreCleaned",
    "StoreReport",
    "StoreVerification",
    "StoredArchive",
    "StoredFormat",
    "Taken",
    "Tally",
    "Target",
    "Totals",
    "Verification",
    "VerifyRun",
    "Wanted",
    "Warmed",
    "Writer",
    "Writers",
    "as_failure",
    "events",
    "format_names",
    "leaves",
    "named_command",
    "run_late",
    "with_beside",
    "without_secrets",
]
# module -> names taken from it; each is imported on first use
_PLACES: Final = {
    "api.environment_results": ("History", "RolledBack", "Shown", "Taken"),
    "api.session": ("Session",),
    "catalog.aliases": ("Move",),
    "catalog.diff": ("Change", "Difference"),
    "catalog.export": ("EXPORT_FORMATS", "Export"),
    "catalog.leases": ("Lease", "Leases"),
    "catalog.listing": ("Listed",),
    "config": ("Settings",),
    "engine": ("events",),
    "engine.pipeline": ("Job",),
    "engine.progress": ("PhaseTotals", "Progress"),
    "engine.report": ("Outcome", "Report", "StoredFormat"),
    "hydrate.activate": ("Activation",),
    "hydrate.hydrated": ("HydrateOptions", "Hydrated"),
    "hydrate.pack_find": ("Packed",),
    "hydrate.prefix": ("PrefixKind",),
    "model.alias": ("Alias",),
    "model.environment": ("EnvironmentPackage", "ResolvedEnvironment"),
    "model.identity": ("EnvID", "Request"),
    "model.package": ("Format", "Package"),
    "model.shard": ("Shard", "ShardChoice"),
    "node.resolver_table": ("RESOLVERS",),
    "node.store_kinds": ("DATASTORES",),
    "ops.audit_result": ("Audit", "AuditFinding", "AuditRun"),
    "ops.backfill": ("Backfilled", "Plan"),
    "ops.backfill_run": ("BackfillRun", "Counts"),
    "ops.clean": ("Cleaned", "Removal"),
    "ops.code_package": ("Placed",),
    "ops.collect": ("Collected",),
    "ops.collect_rules": ("Amount", "Garbage", "KindAmount"),
    "ops.contents": ("Totals",),
    "ops.create_environments": ("Attempt", "Attempts"),
    "store.admission": ("Floor", "Writer", "Writers"),
    "store.stored": ("StoredArchive",),
    "ops.doctor": ("Examination", "Finding"),
    "ops.catalog": ("Aliased",),
    "ops.hydrate_environments": ("Created",),
    "ops.hydrated": ("OnDisk", "Presence", "Removed"),
    "ops.import_environment": ("Imported",),
    "ops.installer": ("Published",),
    "ops.leftovers": ("Leftover", "StoreCleaned"),
    "ops.node_supplies": ("NodeSupplies",),
    "ops.pack_cached": ("PacksMade",),
    "ops.plan": ("Planned",),
    "ops.replicated": ("ReplicaFinding", "Replicated", "Tally"),
    "ops.report_result": ("Duplicate", "Duplicates", "LastRun", "NamedEnvironment", "StoreReport"),
    "ops.resolve_inputs": ("InputFile", "InputKind", "Inputs"),
    "ops.resolve_request": ("ResolveOptions", "Wanted"),
    "ops.resolve_result": ("Resolved", "Row"),
    "ops.resolve_steps": ("Known", "StepInputs"),
    "ops.transmute_files": ("Conversion", "Conversions"),
    "ops.verify": ("Damage", "Verification"),
    "ops.verify_environments": ("EnvironmentDamage", "EnvironmentsVerification"),
    "ops.readiness": ("Readiness", "Ready"),
    "ops.verify_run": ("VerifyRun",),
    "ops.verify_whole": ("StoreVerification",),
    "ops.warm": ("Target",),
    "ops.warm_environments": ("Warmed",),
    "resolve.formats.registry": ("format_names",),
    "runtime.author": ("named_command",),
    "runtime.failures": ("as_failure", "leaves", "without_secrets"),
    "runtime.late_loop": ("run_late",),
    "runtime.tasks": ("with_beside",),
}
_MODULES: Final = {name: f"asynccache.{module}" for module, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(_MODULES[name])
    value = getattr(module, name, None) or importlib.import_module(f"{_MODULES[name]}.{name}")
    globals()[name] = value
    return value
