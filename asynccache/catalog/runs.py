"""Which environment a step of a run used: read from Metaflow's local datastore, otherwise through Metaflow's own
client.

A local datastore holds `<Flow>/latest_run` and `<Flow>/<run>/<step>/<task>/_meta/sysmeta_conda_env_id_<time>.json`, a
JSON object whose `value` is the triple as JSON text and whose `ts_epoch` is milliseconds since the epoch. (Observed
with Metaflow 2.19; contract, section 2.5.) Other runs are looked up through the `metaflow` package if it can be
imported, with the metadata service that its user configured.
"""

from __future__ import annotations

import asyncio
import importlib.util
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from asynccache.errors import FetchError, RunNotFoundError, UsageError
from asynccache.model.identity import EnvID
from asynccache.node.json_text import read_json
from asynccache.runtime.late_loop import in_thread, loop_begins

Ids = tuple[str, str]
END: Final = "end"  # every flow's last step
_LATEST: Final = "latest"  # instead of a run
_FIELD: Final = "conda_env_id"
_CLIENT_SECONDS: Final = 60.0


class Runs:
    """Finds what steps used.

    Args:
        datastore: Metaflow's local datastore, `.metaflow`.
        client: Whether to ask Metaflow's client if the run is not in it.
    """

    def __init__(self, datastore: Path, *, client: bool = True) -> None:
        self._datastore = datastore
        self._client = client

    async def ids(self, pathspec: str) -> Ids:
        """Return (req_id, full_id) of the environment that a step used.

        Args:
            pathspec: `Flow`, `Flow/Run`, `Flow/Run/Step` or `Flow/Run/Step/Task`; the run may be `latest`.

        Raises:
            UsageError: The text is not a pathspec, or the step used no environment, or one of an older system.
            RunNotFoundError: There is no such run or step.
            FetchError: The metadata service did not answer.
        """
        parts = pathspec.split("/")
        if not 1 <= len(parts) <= 4 or not all(parts) or any(part in {".", ".."} for part in parts):
            raise UsageError(f"{pathspec!r} is no pathspec", expected="Flow, Flow/Run, Flow/Run/Step")
        found = await in_thread(self._local, parts)
        if found is None and self._client and importlib.util.find_spec("metaflow") is not None:
            await loop_begins()
            try:
                async with asyncio.timeout(_CLIENT_SECONDS):
                    found = await in_thread(_asked, parts)
            except TimeoutError:
                raise FetchError(
                    f"Metaflow's metadata service did not answer for {pathspec} within {_CLIENT_SECONDS:g} seconds",
                    hint="check METAFLOW_SERVICE_URL",
                ) from None
        if found is None:
            raise RunNotFoundError(f"no run is known as {pathspec}", hint=self._hint(parts[0]))
        step, values = found
        return _newest(step, values)

    def _local(self, parts: list[str]) -> tuple[str, list[tuple[float, str]]] | None:
        flow, run, step, task = _filled(parts)
        run = run or _latest(self._datastore / flow)
        directory = self._datastore / flow / run / step
        if not run or not directory.is_dir():
            return None
        values = []
        for path in directory.glob(f"{task or '*'}/_meta/sysmeta_{_FIELD}_*.json"):
            try:
                record = read_json(path.read_bytes())
                values.append((float(record.get("ts_epoch", 0)), str(record["value"])))
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
                raise UsageError(f"Metaflow's record {path} is damaged ({exc})", hint="name another run") from exc
        return f"{flow}/{run}/{step}", values

    def _hint(self, flow: str) -> str:
        if (self._datastore / flow).is_dir():
            return f"{self._datastore / flow} has other runs; a pathspec is Flow/Run/Step"
        return f"{self._datastore} has no such flow; run in the flow's directory, or configure Metaflow's service"


def in_full(datastore: Path, pathspec: str) -> list[str]:
    """Return the parts of a pathspec, with the run that `latest` means if the local datastore knows it. Blocking."""
    parts = pathspec.split("/")
    if parts[1:2] == [_LATEST] and (run := _latest(datastore / parts[0])):
        parts[1] = run
    return parts


def _filled(parts: list[str]) -> tuple[str, str, str, str]:
    """Return flow, run, step and task of a pathspec; the last step if none is given; other missing parts are empty."""
    flow, run, step, task = [*parts, "", "", ""][:4]
    return flow, "" if run == _LATEST else run, step or END, task


def _latest(flow: Path) -> str:
    try:
        return (flow / "latest_run").read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        runs = list(flow.glob("*/_parameters"))
        return max(runs, key=lambda p: p.stat().st_mtime).parent.name if runs else ""


def _asked(parts: list[str]) -> tuple[str, list[tuple[float, str]]] | None:
    """Ask Metaflow's client. Blocking; importing it takes a second."""
    metaflow: Any = importlib.import_module("metaflow")
    not_found = importlib.import_module("metaflow.exception").MetaflowNotFound
    flow, run, step, task = _filled(parts)
    try:
        if not run:
            latest = metaflow.Flow(flow, _namespace_check=False).latest_run
            if latest is None:
                return None
            run = latest.id
        name = f"{flow}/{run}/{step}"
        found = metaflow.Step(name, _namespace_check=False)
        tasks = [found[task] if task else found.task]
    except (not_found, KeyError):
        return None
    values = [(0.0, str(task.metadata_dict[_FIELD])) for task in tasks if task and task.metadata_dict.get(_FIELD)]
    return name, values


def _newest(step: str, values: list[tuple[float, str]]) -> Ids:
    text = max(values)[1] if values else ""
    if not text or text == '["", "", ""]':
        raise UsageError(
            f"the step {step} used no environment of this system", hint="it ran without --environment=conda"
        )
    try:
        req_id, full_id, arch = read_json(text)
        found = EnvID(req_id, full_id, arch)
    except (ValueError, TypeError, UsageError) as exc:
        raise UsageError(
            f"the step {step} was created by an older Conda environment system",
            expected='["REQ_ID", "FULL_ID", "ARCH"]',
            found=repr(text[:80]),
        ) from exc
    return found.req_id, found.full_id


def recent_runs(datastore: Path, since: float) -> set[Ids]:
    """Return (req_id, full_id) of the environments that recent steps used, from a local datastore. Blocking.

    Args:
        datastore: Metaflow's local datastore, `.metaflow`.
        since: Seconds since the epoch.
    """
    found: set[Ids] = set()
    for path in datastore.glob(f"*/*/*/*/_meta/sysmeta_{_FIELD}_*.json"):
        with suppress(OSError, ValueError, KeyError, TypeError, UsageError):
            if path.stat().st_mtime >= since:
                env_id = EnvID(*read_json(str(read_json(path.read_bytes())["value"])))
                found.add((env_id.req_id, env_id.full_id))
    return found
