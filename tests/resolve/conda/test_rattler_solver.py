"""The built-in solver against channels on this machine: freshness, credentials, mirrors, load."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import rattler
from aiohttp import web

from asynccache.config import Settings
from asynccache.engine.conda_files import conda_connection
from asynccache.errors import (
    IndexUnreachableError,
    PackageUnknownError,
    ResolveTimeoutError,
    UnsatisfiableError,
    UsageError,
)
from asynccache.model.digest import digest_file
from asynccache.model.identity import Request
from asynccache.resolve.conda import rattler_solver
from asynccache.resolve.conda.rattler_solver import RattlerResolver
from asynccache.resolve.resolver import Problem, Solution
from tests.support.certificates import make_certificate
from tests.support.channel import cached_channel
from tests.support.conda_table import TABLE, TablePackage, table_resolver, write_table_channels
from tests.support.fault_server import FaultServer
from tests.support.faults import Fault, Kind

SECRET = "hunter2-of-the-channel"


def problem(
    *conda: str, channels: tuple[str, ...] = ("conda-forge",), arch: str = "linux-64", **more: object
) -> Problem:
    return Problem(Request({"conda": list(conda)}, {"conda": list(channels)}), arch, "conda-only", **more)  # type: ignore[arg-type]


def names(solution: Solution) -> set[str]:
    return {package.filename for package in solution.packages}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_table_channels(tmp_path / "channels")
    return tmp_path / "channels"


@pytest.fixture
async def server(root: Path) -> AsyncIterator[FaultServer]:
    async with FaultServer(root) as server:
        yield server


@pytest.fixture
def settings(server: FaultServer, tmp_path: Path) -> Settings:
    return Settings(cache_dir=tmp_path / "cache", channel_alias=server.url, attempts=1)


async def test_what_was_fetched_serves_offline_without_a_request(settings: Settings, server: FaultServer) -> None:
    online = await RattlerResolver(settings).resolve(problem("pandas", "python==3.11.*"))
    server.reset()
    offline = await RattlerResolver(settings).resolve(problem("pandas", "python==3.11.*", offline=True))
    assert offline == online
    assert not server.requests


async def test_offline_without_an_index_names_the_channel_and_what_to_do(settings: Settings) -> None:
    with pytest.raises(
        IndexUnreachableError, match=r"nothing was kept of .*/conda-forge.*resolve once without --offline"
    ):
        await RattlerResolver(settings).resolve(problem("tool", offline=True))


async def test_an_index_is_asked_again_by_its_tag_and_not_sent_again(settings: Settings, server: FaultServer) -> None:
    await RattlerResolver(settings).resolve(problem("tool"))
    server.reset()
    await RattlerResolver(settings).resolve(problem("tool"))
    assert {r.status for r in server.requests if r.method == "GET" and "repodata.json" in r.path} == {304}


async def test_fresh_sees_what_the_kept_index_does_not(settings: Settings, root: Path) -> None:
    resolver = RattlerResolver(settings)
    assert names(await resolver.resolve(problem("tool"))) == {"tool-3.0-0"}
    write_table_channels(root, (*TABLE, TablePackage("tool", "4.0", "0")))
    assert names(await resolver.resolve(problem("tool"))) == {"tool-3.0-0"}
    assert names(await resolver.resolve(problem("tool", fresh=True))) == {"tool-4.0-0"}


async def test_ten_solves_at_once_fetch_each_index_once(settings: Settings, server: FaultServer) -> None:
    resolver = RattlerResolver(settings)
    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(resolver.resolve(problem("pandas", "python==3.11.*")))
    fetched = [r.path for r in server.requests if r.method == "GET" and r.path.endswith("repodata.json")]
    assert sorted(fetched) == ["/conda-forge/linux-64/repodata.json", "/conda-forge/noarch/repodata.json"]


async def test_the_loop_stays_free_while_ten_solves_run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = RattlerResolver(settings)
    turns, during = 0, list[int]()
    done = asyncio.Event()
    library = rattler.solve

    async def watch() -> None:
        nonlocal turns
        while not done.is_set():
            await asyncio.sleep(0)
            turns += 1

    async def watched(*words: Any, **more: Any) -> Any:
        before = turns
        found = await library(*words, **more)
        during.append(turns - before)
        return found

    monkeypatch.setattr(rattler_solver, "solve", watched)
    async with asyncio.TaskGroup() as group:
        group.create_task(watch())
        async with asyncio.TaskGroup() as solves:
            for minor in (10, 11, 12) * 4:
                solves.create_task(resolver.resolve(problem(f"python==3.{minor}.*", "scikit-learn")))
        done.set()
    assert len(during) == 12
    assert max(during) > 100  # one that held the loop would see the few turns between the others'


@pytest.mark.parametrize("where", ["settings", "settings with port", "netrc"])
async def test_credentials_are_used_and_stored_nowhere(
    root: Path, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FaultServer(root, credentials=("me", SECRET)) as server:
        settings = Settings(cache_dir=tmp_path / "cache", channel_alias=server.url, attempts=1)
        with pytest.raises(IndexUnreachableError, match=r"refuses \(401\); give user and password"):
            await RattlerResolver(settings).resolve(problem("tool"))
        if where == "netrc":
            netrc = tmp_path / "netrc"
            netrc.write_text(f"machine 127.0.0.1 login me password {SECRET}\n", "utf-8")
            netrc.chmod(0o600)
            monkeypatch.setenv("NETRC", str(netrc))
        else:
            host = "127.0.0.1" if where == "settings" else server.url.removeprefix("http://")
            settings = replace(settings, auth={host: ["me", SECRET]})
        solution = await RattlerResolver(settings).resolve(problem("tool"))
    assert SECRET not in repr(solution)
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert kept
    assert all(SECRET.encode() not in path.read_bytes() for path in kept)


async def test_credentials_of_one_port_are_not_sent_to_another(root: Path, tmp_path: Path) -> None:
    async with FaultServer(root, credentials=("me", SECRET)) as secret, FaultServer(root) as public:
        host = secret.url.removeprefix("http://")
        settings = Settings(
            cache_dir=tmp_path / "cache", channel_alias=public.url, attempts=1, auth={host: ["me", SECRET]}
        )
        resolver = RattlerResolver(settings)
        await resolver.resolve(problem("only-other", "python==3.11.*", channels=("conda-forge", f"{secret.url}/other")))
        assert any("authorization" in {key.lower() for key in r.headers} for r in secret.requests)
        assert not any("authorization" in {key.lower() for key in r.headers} for r in public.requests)


async def test_wrong_credentials_do_not_appear_in_the_error(root: Path, tmp_path: Path) -> None:
    async with FaultServer(root, credentials=("me", "another")) as server:
        settings = Settings(
            cache_dir=tmp_path / "cache", channel_alias=server.url, attempts=1, auth={"127.0.0.1": ["me", SECRET]}
        )
        with pytest.raises(IndexUnreachableError) as caught:
            await RattlerResolver(settings).resolve(problem("tool"))
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value.__cause__)


async def test_a_mirror_answers_for_the_public_host_and_is_not_recorded(server: FaultServer, tmp_path: Path) -> None:
    settings = Settings(cache_dir=tmp_path / "cache", hack_channel_alias=server.url, attempts=1)
    solution = await RattlerResolver(settings).resolve(problem("tool"))
    assert [p.url for p in solution.packages] == ["https://conda.anaconda.org/conda-forge/noarch/tool-3.0-0.conda"]
    assert server.requests


async def test_mirrors_are_tried_in_order(server: FaultServer, tmp_path: Path) -> None:
    mirrors = {"https://conda.anaconda.org/conda-forge": ["http://127.0.0.1:9/x", f"{server.url}/conda-forge"]}
    settings = Settings(cache_dir=tmp_path / "cache", mirrors=mirrors, attempts=2)
    solution = await RattlerResolver(settings).resolve(problem("tool"))
    assert solution.packages[0].url == "https://conda.anaconda.org/conda-forge/noarch/tool-3.0-0.conda"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(Kind.STATUS, "/conda-forge/*", status=503), "cannot be read"),
        (Fault(Kind.STATUS, "/conda-forge/*", status=403), r"refuses \(403\)"),
        (Fault(Kind.HTML, "/conda-forge/*"), "cannot be read"),
        (Fault(Kind.RESET, "/conda-forge/*"), "cannot be read"),
        (Fault(Kind.DROP, "/conda-forge/*"), "cannot be read"),
    ],
)
async def test_a_channel_that_answers_wrongly_is_named(root: Path, tmp_path: Path, fault: Fault, words: str) -> None:
    async with FaultServer(root, faults=[fault]) as server:
        settings = Settings(cache_dir=tmp_path / "cache", channel_alias=server.url, attempts=1)
        with pytest.raises(IndexUnreachableError, match=words) as caught:
            await RattlerResolver(settings).resolve(problem("tool", channels=("other", "conda-forge")))
    assert f"{server.url}/conda-forge" in str(caught.value)


async def test_a_channel_that_nobody_made_is_said_not_to_exist(settings: Settings, server: FaultServer) -> None:
    with pytest.raises(IndexUnreachableError, match=f"{server.url}/conda-forgery does not exist"):
        await RattlerResolver(settings).resolve(problem("tool", channels=("conda-forgery", "other")))


async def test_a_channel_that_stalls_ends_at_the_time_limit(root: Path, tmp_path: Path) -> None:
    async with FaultServer(root, faults=[Fault(Kind.STALL_HEADERS)]) as server:
        settings = Settings(cache_dir=tmp_path / "cache", channel_alias=server.url)
        with pytest.raises(ResolveTimeoutError, match=r"longer than 0\.5 s"):
            await RattlerResolver(settings).resolve(problem("tool", timeout=0.5))


async def test_a_cancelled_solve_leaves_the_resolver_usable(settings: Settings) -> None:
    resolver = RattlerResolver(settings)
    task = asyncio.ensure_future(resolver.resolve(problem("pandas")))
    await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert names(await resolver.resolve(problem("tool"))) == {"tool-3.0-0"}


async def test_a_cancelled_solve_does_not_take_along_those_that_wait_for_its_fetch(root: Path, tmp_path: Path) -> None:
    async with FaultServer(root, latency=0.1) as server:
        resolver = RattlerResolver(Settings(cache_dir=tmp_path / "cache", channel_alias=server.url, attempts=1))
        tasks = [asyncio.ensure_future(resolver.resolve(problem("tool"))) for _ in range(6)]
        await asyncio.sleep(0.25)
        for task in tasks[:3]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results[:3])
    assert [names(result) for result in results[3:] if isinstance(result, Solution)] == [{"tool-3.0-0"}] * 3


async def test_all_that_wait_for_a_fetch_that_fails_are_told_why(root: Path, tmp_path: Path) -> None:
    async with FaultServer(root, latency=0.1, faults=[Fault(Kind.STATUS, status=403)]) as server:
        resolver = RattlerResolver(Settings(cache_dir=tmp_path / "cache", channel_alias=server.url, attempts=1))
        solves = [resolver.resolve(problem("tool")) for _ in range(10)]
        results = await asyncio.gather(*solves, return_exceptions=True)
        assert len(server.requests) < 10
    assert all(isinstance(result, IndexUnreachableError) and "refuses (403)" in str(result) for result in results)


async def test_a_date_counts_in_its_own_zone(settings: Settings) -> None:
    # zlib 1.3.1 was published on 2023-01-01 00:00 UTC: an hour later than this clock in the east shows
    east = datetime(2023, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))
    assert names(await RattlerResolver(settings).resolve(problem("zlib", exclude_newer=east))) == {"zlib-1.2.13-h0_0"}
    west = datetime(2022, 12, 31, 23, 30, tzinfo=timezone(timedelta(hours=-1)))
    assert names(await RattlerResolver(settings).resolve(problem("zlib", exclude_newer=west))) == {"zlib-1.3.1-h0_0"}


async def test_a_date_before_everything_is_explained(settings: Settings) -> None:
    with pytest.raises(UnsatisfiableError, match="published after 2010"):
        await RattlerResolver(settings).resolve(problem("zlib", exclude_newer=datetime(2010, 1, 1, tzinfo=UTC)))


async def test_a_channel_may_be_an_address_a_directory_or_one_of_its_platforms(
    settings: Settings, server: FaultServer, root: Path
) -> None:
    resolver = RattlerResolver(settings)
    addresses = (f"{server.url}/other", f"{server.url}/other/linux-64/", str(root / "other"), (root / "other").as_uri())
    for address in addresses:
        solution = await resolver.resolve(problem(f"{address}::six", "python==3.11.*", channels=("conda-forge",)))
        assert "six-1.17.0-py_0" in names(solution)


async def test_python_with_two_numbers_is_every_patch_of_it(settings: Settings) -> None:
    assert "python-3.11.9-h1_0" in names(await RattlerResolver(settings).resolve(problem("python==3.11")))


async def test_channels_that_nodefaults_switches_off_are_not_asked(settings: Settings) -> None:
    asked = problem("b", channels=("other", "nodefaults", "conda-forge"))
    assert names(await RattlerResolver(settings).resolve(asked)) == {"b-2-0"}
    with pytest.raises(PackageUnknownError, match=r"'b'.*searched \S+/other;"):
        await RattlerResolver(settings).resolve(replace(asked, left_out=("conda-forge",)))


async def test_how_many_versions_an_exact_one_leaves_out_is_noted(settings: Settings) -> None:
    table = [TablePackage("lib", version) for version in ("1.26", "1.26.0", "1.26.1", "1.26.4", "1.260", "1.27")]
    resolver = table_resolver(settings, [*table, TablePackage("one", "1.0")])
    solution = await resolver.resolve(replace(problem("lib==1.26", "one==1.0"), short={"lib": "1.26", "one": "1.0"}))
    assert solution.notes == ("lib=1.26 leaves out 2 versions that conda would take: 1.26.4, 1.26.1",)


@pytest.mark.parametrize("value", ["python==>=>3", "numpy==>=1,,<<2", "bad name==1"])
async def test_a_requirement_that_cannot_be_read_is_quoted(settings: Settings, value: str) -> None:
    with pytest.raises(UsageError, match=value.partition("==")[0]):
        await RattlerResolver(settings).resolve(problem(value))


async def test_a_token_in_a_channel_is_refused_and_not_repeated(settings: Settings) -> None:
    with pytest.raises(UsageError, match="token") as caught:
        await RattlerResolver(settings).resolve(problem("tool", channels=(f"https://host/t/{SECRET}/private",)))
    assert SECRET not in str(caught.value)


async def test_the_users_own_rattler_cache_is_left_alone(settings: Settings, tmp_path: Path) -> None:
    await RattlerResolver(settings).resolve(problem("tool"))
    assert any((tmp_path / "cache" / "repodata").rglob("*.json"))
    assert not list(Path(os.environ["HOME"]).rglob("repodata*"))


async def test_a_channel_of_real_packages_is_solved_to_the_archives_it_holds(tmp_path: Path) -> None:
    channel = cached_channel("small")
    async with FaultServer(channel.root) as server:
        settings = Settings(cache_dir=tmp_path / "cache", attempts=1)
        asked = problem("python", "requests", "feature-entry-point", channels=(server.url,), arch=channel.subdir)
        solution = await RattlerResolver(settings).resolve(asked)
    found = {package.filename.rsplit("-", 2)[0] for package in solution.packages}
    assert {"python", "requests", "urllib3", "idna", "certifi", "feature-entry-point"} <= found
    for package in solution.packages:
        path = channel.root / package.url.removeprefix(server.url + "/")
        digests = digest_file(str(path), "md5", "sha256")
        assert package.published_hash == digests.md5
        assert package.hashes["sha256"] == digests.sha256
        assert solution.sizes[package.url] == path.stat().st_size


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        ("gpu==2.3.0=py3.11_cuda11.8_0", "gpu-2.3.0-py3.11_cuda11.8_0"),
        ("gpu==>=2.2=py3.11_cpu*", "gpu-2.3.0-py3.11_cpu_0"),
        ("gpu==*=*cpu*", "gpu-2.3.0-py3.11_cpu_0"),
        ("gpu==2.2|2.1.*", "gpu-2.1.9-0"),
    ],
)
async def test_builds_and_alternatives_are_as_conda_takes_them(
    settings: Settings, root: Path, asked: str, chosen: str
) -> None:
    builds = [("2.3.0", "py3.11_cuda11.8_0"), ("2.3.0", "py3.11_cpu_0"), ("2.2.1", "0"), ("2.1.9", "0")]
    write_table_channels(root, [TablePackage("gpu", version, build) for version, build in builds])
    assert names(await RattlerResolver(settings).resolve(problem(asked))) == {chosen}


async def test_a_variable_in_a_channel_has_its_value_for_the_solver(
    settings: Settings, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHERE", f"{server.url}/conda-forge")
    assert names(await RattlerResolver(settings).resolve(problem("tool", channels=("${WHERE}",)))) == {"tool-3.0-0"}


async def test_a_login_reaches_the_one_of_two_channels_that_only_the_port_tells_apart(
    root: Path, tmp_path: Path
) -> None:
    async with FaultServer(root) as public, FaultServer(root, credentials=("me", SECRET)) as secret:
        host = secret.url.removeprefix("http://")
        settings = Settings(cache_dir=tmp_path / "cache", attempts=1, auth={host: ["me", SECRET]})
        channels = (f"{public.url}/conda-forge", f"{secret.url}/conda-forge")
        found = await RattlerResolver(settings).resolve(problem(f"{channels[1]}::tool", channels=channels))
        assert [package.url for package in found.packages] == [f"{channels[1]}/noarch/tool-3.0-0.conda"]
        assert {r.status for r in secret.requests} <= {200, 404}
        assert not any("authorization" in {key.lower() for key in r.headers} for r in public.requests)


@pytest.mark.parametrize(
    "fault", [Fault(Kind.STATUS, "*.zst", status=403), Fault(Kind.HTML, "*.zst"), Fault(Kind.HTML, "*.bz2")]
)
async def test_optional_files_that_are_refused_or_a_page_are_absent(
    settings: Settings, server: FaultServer, fault: Fault
) -> None:
    server.plan(fault)
    online = await RattlerResolver(settings).resolve(problem("tool"))
    assert names(online) == {"tool-3.0-0"}
    assert await RattlerResolver(settings).resolve(problem("tool", offline=True)) == online


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"track_features": None, "license": None}, "track_features is null"),
        ({"depends": None}, "depends is null"),
        ({"build_number": "0"}, 'build_number is "0"'),
        ({"timestamp": 1577836800.5}, "timestamp is 1577836800.5"),
    ],
)
async def test_a_record_that_cannot_be_read_is_named_and_others_stay_usable(
    settings: Settings, root: Path, change: dict[str, Any], said: str
) -> None:
    path = root / "conda-forge" / "noarch" / "repodata.json"
    index = json.loads(path.read_text("utf-8"))
    (records,) = [index[s] for s in ("packages", "packages.conda") if any("tool-3.0-0" in n for n in index.get(s, {}))]
    filename = next(name for name in records if name.startswith("tool-3.0-0"))
    records[filename] |= change
    path.write_text(json.dumps(index), "utf-8")
    with pytest.raises(IndexUnreachableError, match=rf"/conda-forge has records .*: {filename} \({said}\)"):
        await RattlerResolver(settings).resolve(problem("tool"))
    assert await RattlerResolver(settings).resolve(problem("zlib"))


async def test_an_index_is_read_through_the_proxy_and_with_the_authorities_that_conda_is_configured_with(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    shown = make_certificate(tmp_path)

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(str(request.url.origin()))
        place = root / request.path.lstrip("/")
        return web.FileResponse(place) if place.is_file() else web.Response(status=404)

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    before = dict(os.environ)
    servers = f"{{http: 'http://127.0.0.1:{runner.addresses[0][1]}'}}"
    (tmp_path / ".condarc").write_text(f"proxy_servers: {servers}\nssl_verify: {shown.pem}\n")
    settings = Settings(cache_dir=tmp_path / "cache", channel_alias="http://nowhere.test", attempts=1)
    try:
        solved = await RattlerResolver(settings).resolve(problem("python==3.11.*"))
    finally:
        await runner.cleanup()
    assert any(name.startswith("python-3.11") for name in names(solved))
    assert set(asked) == {"http://nowhere.test"}
    assert dict(os.environ) == before
    assert conda_connection().variables["SSL_CERT_FILE"] == str(shown.pem)
