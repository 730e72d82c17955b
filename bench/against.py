"""Comparing two runs of the benchmarks: how each contender changed, and how it changed beside its peers.

Seconds of two runs differ by what else the machine did. What a contender needs by what the first contender of its group
needed in the same run does not, so that is said as well, and nothing is judged by seconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from asynccache.errors import UsageError
from bench.results import CPU, PEAK, WALL

_METRICS: Final = (CPU, WALL, PEAK)


def read_results(path: Path) -> dict[str, Any]:
    """Read the `results.json` of another run.

    Raises:
        UsageError: It cannot be read or is none.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as exc:
        raise UsageError(f"{path} cannot be compared with ({exc})", expected="results.json of another run") from exc
    if not isinstance(document, dict) or document.get("format") != 1 or not isinstance(document.get("cases"), list):
        raise UsageError(f"{path} cannot be compared with", expected="results.json of another run, of format 1")
    return document


def compared(document: Mapping[str, Any], before: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Compare what both runs measured: contenders of the same name in groups of the same place in cases of one name.

    Returns:
        For each contender its case, group and name, and for `cpu`, `wall` and `peak` what it needs now by what it
        needed before: in all, and beside the first contender of its group.
    """
    old = {case["name"]: case for case in before["cases"] if not case["error"]}
    return [
        row
        for case in document["cases"]
        if not case["error"] and case["name"] in old
        for now, then in zip(case["groups"], old[case["name"]]["groups"], strict=False)
        for row in _rows(case["name"], now, then)
    ]


def lines(rows: list[dict[str, Any]], before: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a terminal shows of a comparison."""
    machine = before.get("machine", {})
    yield f"Against the run of {machine.get('when', 'an unknown time')}, commit {machine.get('commit') or 'unknown'}:"
    for row in rows:
        parts = []
        for metric in _METRICS:
            found = row["ratios"].get(metric.key)
            if found is not None:
                beside = found["beside"]
                parts.append(f"{metric.label} {found['all']:.2f}x" + (f", beside {beside:.2f}x" if beside else ""))
        yield f"  {row['case']}: {row['contender']}  {'; '.join(parts)}"
    if not rows:
        yield "  no contender was measured in both"


def _rows(case: str, now: Mapping[str, Any], then: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, contender in now["contenders"].items():
        if name not in then["contenders"]:
            continue
        ratios = {}
        for key in (metric.key for metric in _METRICS):
            new, old = contender["median"].get(key), then["contenders"][name]["median"].get(key)
            if new and old:
                beside = [run["ratios"].get(key, {}).get(name, {}).get("value") for run in (now, then)]
                ratios[key] = {"all": new / old, "beside": beside[0] / beside[1] if all(beside) else None}
        yield {"case": case, "group": now["label"], "contender": name, "ratios": ratios}
