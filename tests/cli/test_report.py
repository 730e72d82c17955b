"""The page of a report: its figures are those of `stat`, `audit` and `gc`, and nothing in it is more than text."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from asynccache.catalog.aliases import Aliases
from asynccache.model.alias import Alias
from asynccache.node.pack_format import OBJECT_NAME
from asynccache.ops.backfill_run import Counts
from asynccache.ops.shard_journal import Journal
from asynccache.store import layout
from tests.support.collecting import World, archives, body, directory, ids
from tests.support.command_line import run_command
from tests.support.tables import Page

Report = Callable[..., subprocess.CompletedProcess[str]]
BROWSER: Final = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE: Final = '"><img src=x onerror=alert(1)>&amp;<b>'
NIGHT: Final = "asynccache/shards/backfill-0123456789abcdef/2"


async def _fill(world: World) -> None:
    """Put into a store whatever a report speaks of."""
    await world.publish(0)  # packages 0, 1, 3
    await world.publish(3)  # packages 3, 4, 6
    await world.store.put(world.document(0).removesuffix("env") + OBJECT_NAME, b"pack")
    for number, user in ((0, "ann"), (3, HOSTILE)):
        names = Aliases(world.store, user=user)
        await names.assign(Alias.parse("team/a:latest"), ids(number))
    await world.name(3, "team/a:v1")
    await world.publish_as_others(4)  # packages 4, 5, 7
    last = archives(2)[0].rpartition("/")[2]  # no document names it
    digest = archives(2)[0].split("/")[-2]
    for channel in ("conda.example/channel", f"other.example/{HOSTILE}", "private.example/t/secret/main"):
        place = directory(2).replace("conda.example/channel", channel)
        await world.store.put(f"{place}/{last}/{digest}/{last}", b"archive")
    await world.store.put(f"{directory(2)}/{last}/{'0' * 32}/{last}", b"another one")
    await world.store.put("packages/pypi/files.example/x/one-1-py3-none-any.whl/README", b"none of ours")
    key = layout.key_of("pypi", "https://files.example/x/one-1-py3-none-any.whl", "one-1-py3-none-any.whl", "1" * 64)
    await world.store.put(key, b"wheel")
    journal = Journal(world.store, f"{NIGHT}/1.json", Counts)
    journal.passed("packages/conda/a", Counts(made=3, there=4, made_bytes=5))
    journal.complete = True
    await journal.begin_again()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store as files, all of them 400 days old but those of the environment that has no name."""
    world = World.new(tmp_path / "cache")
    asyncio.run(_fill(world))
    root = tmp_path / "st"
    moment = tmp_path.stat().st_mtime - 400 * 86400
    for key in world.there:
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(world.store.data(key))
        if "/_" not in key and not any(key in archives(number) for number in (5, 7)):
            os.utime(path, (moment, moment))
    return root


@pytest.fixture
def run(store: Path, tmp_path: Path) -> Report:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ASYNCCACHE_", "METAFLOW_"))}
    named = {"ASYNCCACHE_STORE": str(store), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "xdg")}

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return run_command(words, cwd=tmp_path, env={**clean, **named})

    return call


def _said(run: Report, *words: str) -> dict[str, Any]:
    printed = run(*words, "--json").stdout
    said: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return said


def _amounts(table: dict[str, list[str]]) -> dict[str, tuple[int, int]]:
    return {label: (int(objects), int(size)) for label, (objects, size, *_) in table.items() if objects.isdecimal()}


def _formats(stat: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {label: (count, stat["bytes"][label]) for label, count in stat["objects"].items()}


def test_its_figures_are_those_of_stat_audit_and_gc_on_the_page_as_in_json(run: Report, tmp_path: Path) -> None:
    report, stat, audit = (_said(run, *words) for words in (["report", "-o", "page.html"], ["stat"], ["audit"]))
    assert {name: report[name] for name in stat} == stat
    assert (report["documents"]["objects"], report["names"]) == (audit["documents"], audit["names"])
    assert (report["receipts"]["objects"], report["packs"]) == (
        audit["receipts"],
        {"objects": audit["packs"], "bytes": audit["pack_bytes"]},
    )
    for part in ("channels", "ages", "reach"):
        sums = [sum(each[word] for each in report[part].values()) for word in ("objects", "bytes")]
        assert sums == [audit["archives"], audit["bytes"]], part
    assert report["garbage"] == _said(run, "gc", "--dry-run")["marked"]
    assert report["repeated"]["two_digests"]["objects"] == len(stat["duplicates"]) == audit["found"]["two digests"]

    page = Page((tmp_path / "page.html").read_text("utf-8"))
    assert _amounts(page.tables["formats"]) == _formats(stat)
    for part in ("channels", "ages"):
        wanted = {label: (each["objects"], each["bytes"]) for label, each in report[part].items()}
        assert _amounts(page.tables[part]) == wanted
    assert page.tables["garbage"]["in all"] == [str(report["garbage"][word]) for word in ("objects", "bytes")]
    assert not page.unlabelled


def test_it_says_who_needs_what_and_what_is_there_twice(run: Report) -> None:
    report = _said(run, "report", "--unreferenced")

    def sizes(*numbers: int) -> dict[str, int]:
        files = [len(body(key)) for number in numbers for key in archives(number)]
        return {"objects": len(files), "bytes": sum(files)}

    assert report["reach"]["kept"] == sizes(0, 1, 3, 4, 6)
    assert report["reach"]["named"] == sizes(5, 7)
    assert report["reach"]["nothing"]["objects"] == 5, "a package of three channels, in one with two digests; a wheel"
    repeated = report["repeated"]
    assert repeated["both_forms"]["objects"] == 3
    assert (repeated["several_channels"], repeated["two_digests"]["objects"]) == ({"objects": 2, "bytes": 14}, 1)
    assert report["channels"]["files.example"] == {"objects": 1, "bytes": 5}
    assert report["ages"]["up to 7 days"] == sizes(5, 7)
    moving, fixed = report["aliases"]
    assert (moving["name"], moving["moves"], fixed["name"], fixed["moves"]) == ("team/a:latest", 2, "team/a:v1", 0)
    assert [move["by"] for move in moving["history"]] == [HOSTILE, "ann"]
    assert (moving["req_id"], moving["full_id"]) == ids(3)


def test_the_last_runs_are_those_that_the_store_has_a_record_of(run: Report, tmp_path: Path) -> None:
    run("report", "-o", "before.html")
    rows = Page((tmp_path / "before.html").read_text("utf-8")).tables["runs"]
    assert rows["backfill"][2] == "1 of 2"
    assert "made 3" in rows["backfill"][3]
    assert {rows[name][0] for name in ("audit", "gc", "replicate")} == {"none recorded"}
    audit = _said(run, "audit", "--run-id", "night", "--shard", "1/1")
    assert run("gc").returncode == 0
    found = {each["command"]: each for each in _said(run, "report")["runs"]}
    assert {*found} == {"backfill", "audit", "gc"}
    assert found["audit"]["figures"]["wrong"] == audit["wrong"]
    assert found["audit"]["unfinished"] == 0
    assert found["gc"]["updated_at"]


def test_hostile_names_stay_text_and_tokens_stay_out(run: Report, tmp_path: Path) -> None:
    assert run("report", "-o", "page.html").returncode == 0
    text = (tmp_path / "page.html").read_text("utf-8")
    page = Page(text)
    assert not page.tags & {"img", "script", "iframe", "link", "object"}
    assert not {each for each in page.attributes if each.startswith("on")}
    assert not page.attributes & {"src", "href"}
    assert {f"other.example/{HOSTILE}", "private.example/t/***/main"} <= {*page.tables["channels"]}
    assert HOSTILE in page.text
    assert "secret" not in text
    assert "secret" not in run("report", "--json").stdout
    assert not re.search(r"url\(|@import|https?://", re.sub(r"<(td|th|p|li)[ >].*?</\1>", "", text))


def test_what_cannot_be_read_is_said_on_the_page_and_by_the_exit_code(run: Report, store: Path, tmp_path: Path) -> None:
    (store / World.new(tmp_path / "c").document(3)).write_bytes(b"{")
    done = run("report", "-o", "page.html", "--receipt", "receipt.json")
    assert done.returncode == 5, done.stderr
    assert json.loads((tmp_path / "receipt.json").read_text())["exit_code"] == 5
    stat = _said(run, "stat")
    page = Page((tmp_path / "page.html").read_text("utf-8"))
    assert _amounts(page.tables["formats"]) == _formats(stat)
    assert [*page.tables["reach"]] == [
        "Archives by who needs them.",
        "nobody can tell",
    ] or "nobody can tell" in page.text
    assert "garbage" not in page.tables


def test_where_the_page_goes_has_to_be_said(run: Report, tmp_path: Path) -> None:
    nowhere = run("report")
    assert (nowhere.returncode, "-o report.html" in nowhere.stderr) == (2, True)
    assert run("report", "-o", "-", "--json").returncode == 2
    printed = run("report", "-o", "-").stdout
    assert printed.startswith("<!doctype html>")
    assert Page(printed).tables["formats"]
    assert run("report", "-o", "none/page.html").returncode == 8
    assert not [*tmp_path.glob(".*new")]


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")
@pytest.mark.parametrize("width", [400, 1200])
def test_a_browser_shows_the_figures_of_stat_and_nothing_wider_than_the_window(
    run: Report, tmp_path: Path, width: int
) -> None:
    stat = _said(run, "stat")
    text = run("report", "-o", "-").stdout
    # nothing in the page runs: what measures it is added here, and told to the page around it, since windows have a
    # least width
    measuring = (
        "<script>onload = () => parent.postMessage({inner: innerWidth, width: document.documentElement.scrollWidth,"
        "tables: [...document.querySelectorAll('#formats tbody tr')].map(row => [...row.children].map("
        "cell => cell.dataset.value || cell.textContent))}, '*')</script>"
    )
    (tmp_path / "inner.html").write_text(re.sub(r"<meta http-equiv.*?>\n", "", text, count=1) + measuring)
    (tmp_path / "outer.html").write_text(
        "<!doctype html><body><script>onmessage = told => { const said = document.createElement('pre');"
        "said.id = 'said'; said.textContent = JSON.stringify(told.data); document.body.append(said) }</script>"
        f"<iframe src=inner.html width={width} height=900 style='border: 0'></iframe>"
    )
    assert BROWSER is not None
    # its processes may outlive it for a moment, and what they made there; its socket allows for short paths only
    scratch = tempfile.TemporaryDirectory(prefix="c-", ignore_cleanup_errors=True)
    with scratch as short:
        done = subprocess.run(
            [
                BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", "--dump-dom",
                (tmp_path / "outer.html").as_uri(),
            ],
            capture_output=True, text=True, check=True, timeout=100,
            env={**os.environ, "HOME": str(tmp_path), "TMPDIR": short},
        )  # fmt: skip
    found = re.search(r'<pre id="said">(.*?)</pre>', done.stdout)
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    said = json.loads(found[1])
    assert said["inner"] == width
    assert said["width"] <= width
    assert {label: (int(count), int(size)) for label, count, size in said["tables"]} == _formats(stat)
