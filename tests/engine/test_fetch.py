"""A fetched file is whole and right, or does not exist under its name."""

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from asynccache.engine import events
from asynccache.engine.credentials import HostCredentials
from asynccache.engine.fetch import Fetcher, FetchResult
from asynccache.engine.transport import Answer, MemoryTransport, TransportError
from asynccache.errors import FetchError, FetchRefusedError, IntegrityError
from asynccache.model.digest import Digests
from asynccache.model.package import Package
from asynccache.model.url import PackageURL
from asynccache.node.patience import Patience
from asynccache.runtime.budget import Budget
from asynccache.runtime.clock import VirtualClock
from asynccache.runtime.threads import Threads

BODY = b"PK\x03\x04" + bytes(range(256)) * 9000
DIGESTS = Digests(md5=hashlib.md5(BODY).hexdigest(), sha256=hashlib.sha256(BODY).hexdigest(), size=len(BODY))
URL = "https://channel.test/conda/noarch/six-1.16.0-pyh_0.conda"
Answering = Callable[[PackageURL, Mapping[str, str]], Answer]


class Setup:
    """A fetcher on a transport that answers from a function."""

    def __init__(self, answer: Answering, threads: Threads, **options: dict[str, list[str]]) -> None:
        self.transport = MemoryTransport(answer)
        self.clock = VirtualClock()
        self.events: list[events.Event] = []
        self.fetcher = Fetcher(
            self.transport,
            HostCredentials({}, Path("/nonexistent")),
            Patience(tries=4),
            self.clock,
            threads,
            Budget(16 << 20),
            options.get("mirrors", {}),
            self.events.append,
        )

    def kinds(self) -> list[str]:
        return [type(e).__name__ for e in self.events if not isinstance(e, events.BytesMoved)]


@pytest.fixture
async def threads() -> AsyncIterator[Threads]:
    with Threads(2) as pool:
        yield pool


def _serve(url: PackageURL, headers: Mapping[str, str]) -> Answer:
    """Answer like a good server: ETag, ranges."""
    del url
    wanted = headers.get("range")
    if wanted and headers.get("if-range", '"1"') == '"1"':
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
        answered = {"content-range": f"bytes {start}-{len(BODY) - 1}/{len(BODY)}", "etag": '"1"'}
        return 206, answered, [BODY[start:]]
    return 200, {"content-length": str(len(BODY)), "etag": '"1"'}, [BODY[:100_000], BODY[100_000:]]


async def _fetch(setup: Setup, target: Path, digests: Digests = DIGESTS) -> FetchResult:
    return await setup.fetcher.fetch(Package.from_url(URL, digests), target)


def _first(answers: list[Answer]) -> Answering:
    """Give these answers first, then serve well."""

    def answer(url: PackageURL, headers: Mapping[str, str]) -> Answer:
        return answers.pop(0) if answers else _serve(url, headers)

    return answer


async def test_a_package_arrives_with_its_digests(tmp_path: Path, threads: Threads) -> None:
    result = await _fetch(Setup(_serve, threads), tmp_path / "six.conda")
    assert (tmp_path / "six.conda").read_bytes() == BODY
    assert result.digests == DIGESTS
    assert result.received == len(BODY)
    assert [p.name for p in tmp_path.iterdir()] == ["six.conda"]


async def test_a_broken_download_goes_on_where_it_ended(tmp_path: Path, threads: Threads) -> None:
    broken: Answer = (
        200,
        {"content-length": str(len(BODY)), "etag": '"1"'},
        [BODY[:70_000], TransportError("connection reset")],
    )
    setup = Setup(_first([broken]), threads)
    await _fetch(setup, tmp_path / "six.conda")
    assert (tmp_path / "six.conda").read_bytes() == BODY
    assert setup.transport.requested[1][1]["range"] == "bytes=70000-"
    assert setup.transport.requested[1][1]["if-range"] == '"1"'


async def test_a_later_process_goes_on_where_an_earlier_one_was_killed(tmp_path: Path, threads: Threads) -> None:
    broken: Answer = (200, {"etag": '"1"'}, [BODY[:50_000], TransportError("reset")])
    first = Setup(lambda *_: broken, threads)
    with pytest.raises(FetchError, match=r"in \d+ tries"):
        await _fetch(first, tmp_path / "six.conda")
    second = Setup(_serve, threads)
    result = await _fetch(second, tmp_path / "six.conda")
    assert result.resumed_from == 50_000
    assert result.received == len(BODY) - 50_000
    assert (tmp_path / "six.conda").read_bytes() == BODY


async def test_a_file_that_changed_on_the_server_is_fetched_from_its_beginning(
    tmp_path: Path, threads: Threads
) -> None:
    broken: Answer = (200, {"etag": '"0"'}, [b"old bytes" * 999, TransportError("reset")])
    await _fetch(Setup(_first([broken]), threads), tmp_path / "six.conda")
    assert (tmp_path / "six.conda").read_bytes() == BODY


def _weakly_marked(**more: str) -> Answering:
    """Break off the first answer of a server whose ETag is a weak one."""
    marks = {"etag": 'W/"1"', **more}
    return _first([(200, {**marks, "content-length": str(len(BODY))}, [BODY[:70_000], TransportError("reset")])])


async def test_a_weak_etag_vouches_for_no_range_and_the_date_does_in_its_place(
    tmp_path: Path, threads: Threads
) -> None:
    changed = "Wed, 21 Oct 2015 07:28:00 GMT"
    setup = Setup(_weakly_marked(**{"last-modified": changed}), threads)
    await _fetch(setup, tmp_path / "six.conda")
    assert setup.transport.requested[1][1]["if-range"] == changed


async def test_without_digest_and_without_strong_validator_a_broken_download_begins_anew(
    tmp_path: Path, threads: Threads
) -> None:
    setup = Setup(_weakly_marked(), threads)
    await _fetch(setup, tmp_path / "six.conda", Digests())
    assert not {"range", "if-range"} & set(setup.transport.requested[1][1])
    assert (tmp_path / "six.conda").read_bytes() == BODY


async def test_a_long_download_over_a_bad_line_may_break_off_more_often_than_it_may_fail(
    tmp_path: Path, threads: Threads
) -> None:
    body = BODY * 5
    step = (1 << 20) + 10_000  # more than a batch, so each try gets on

    def answer(_url: PackageURL, headers: Mapping[str, str]) -> Answer:
        start = int(headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        fields = {"etag": '"1"', "content-range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
        piece: list[bytes | TransportError] = [body[start : start + step]]
        if start + step < len(body):
            piece.append(TransportError("reset"))
        return (206 if start else 200), fields, piece

    setup = Setup(answer, threads)
    await _fetch(setup, tmp_path / "six.conda", Digests(md5=hashlib.md5(body).hexdigest()))
    assert (tmp_path / "six.conda").read_bytes() == body
    assert len(setup.transport.requested) > 2 * 4  # twice the attempts of the policy


async def test_a_range_that_was_not_asked_for_is_not_taken(tmp_path: Path, threads: Threads) -> None:
    broken: Answer = (200, {"etag": '"1"'}, [BODY[:1000], TransportError("reset")])
    lying: Answer = (206, {"content-range": f"bytes 0-9/{len(BODY)}"}, [BODY[:10]])
    setup = Setup(_first([broken, lying]), threads)
    await _fetch(setup, tmp_path / "six.conda")
    assert (tmp_path / "six.conda").read_bytes() == BODY
    assert "range" not in setup.transport.requested[2][1]


async def test_short_bodies_with_status_200_are_completed(tmp_path: Path, threads: Threads) -> None:
    short: Answer = (200, {"etag": '"1"', "content-length": str(len(BODY))}, [BODY[:5000]])
    setup = Setup(_first([short]), threads)
    await _fetch(setup, tmp_path / "six.conda")
    assert (tmp_path / "six.conda").read_bytes() == BODY


async def test_wrong_bytes_are_tried_once_more_and_then_refused(tmp_path: Path, threads: Threads) -> None:
    wrong = BODY[:-1] + b"!"
    setup = Setup(lambda *_: (200, {"content-length": str(len(BODY))}, [wrong]), threads)
    with pytest.raises(IntegrityError) as caught:
        await _fetch(setup, tmp_path / "six.conda")
    assert URL in str(caught.value)
    assert caught.value.expected == DIGESTS.sha256
    assert caught.value.found == hashlib.sha256(wrong).hexdigest()
    assert len(setup.transport.requested) == 2
    assert list(tmp_path.iterdir()) == []


async def test_an_html_page_instead_of_a_package_is_called_one(tmp_path: Path, threads: Threads) -> None:
    page = b"<!doctype html><title>Log in</title>"
    setup = Setup(lambda *_: (200, {"content-length": str(len(page))}, [page]), threads)
    with pytest.raises(IntegrityError, match=r"HTML page instead of a \.conda archive"):
        await _fetch(setup, tmp_path / "six.conda")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_server_in_trouble_is_asked_again(tmp_path: Path, threads: Threads, status: int) -> None:
    setup = Setup(_first([(status, {}, [])] * 3), threads)
    await _fetch(setup, tmp_path / "six.conda")
    assert setup.kinds() == ["Retried"] * 3
    assert len(setup.clock.slept) == 3


async def test_a_server_that_says_when_to_come_back_is_obeyed(tmp_path: Path, threads: Threads) -> None:
    setup = Setup(_first([(503, {"retry-after": "11"}, [])]), threads)
    await _fetch(setup, tmp_path / "six.conda")
    assert 11 <= setup.clock.slept[0] <= 12


class Outage:
    """A source that is away from its second request on.

    Args:
        how: What a request meets meanwhile.
        seconds: For which, on the clock of the fetcher.
    """

    def __init__(self, how: Answer, seconds: float, threads: Threads, **options: dict[str, list[str]]) -> None:
        self.how = how
        self.seconds = seconds
        self.requests = 0
        self.setup = Setup(self._answer, threads, **options)

    def _answer(self, url: PackageURL, headers: Mapping[str, str]) -> Answer:
        self.requests += 1
        if url.host == "channel.test" and self.requests > 1 and self.setup.clock.now() < self.seconds:
            return self.how
        return _serve(url, headers)


RESET: Answer = (200, {}, [TransportError("connection refused")])


@pytest.mark.parametrize(
    "how", [RESET, (500, {}, []), (503, {}, []), (429, {}, [])], ids=["reset", "500", "503", "429"]
)
async def test_an_outage_of_a_source_that_has_answered_is_survived(
    tmp_path: Path, threads: Threads, how: Answer
) -> None:
    outage = Outage(how, 20.0, threads)
    await _fetch(outage.setup, tmp_path / "first.conda")
    await _fetch(outage.setup, tmp_path / "second.conda")
    assert (tmp_path / "second.conda").read_bytes() == BODY
    assert outage.setup.clock.now() >= 20
    assert outage.requests > 3


async def test_a_source_that_never_answered_has_a_few_tries(tmp_path: Path, threads: Threads) -> None:
    setup = Setup(lambda *_: (503, {}, []), threads)
    with pytest.raises(FetchError, match="in 4 tries"):
        await _fetch(setup, tmp_path / "six.conda")
    assert setup.clock.now() < 10


async def test_a_source_is_not_waited_for_where_another_one_is_left(tmp_path: Path, threads: Threads) -> None:
    outage = Outage(
        (503, {}, []),
        1e9,
        threads,
        mirrors={"https://channel.test": ["https://channel.test/mirror", "https://good.test"]},
    )
    await _fetch(outage.setup, tmp_path / "first.conda")
    result = await _fetch(outage.setup, tmp_path / "second.conda")
    assert result.source.startswith("https://good.test/")
    assert outage.requests == 1 + 4 + 1


async def test_an_outage_that_stays_is_waited_for_once_and_not_by_every_package(
    tmp_path: Path, threads: Threads
) -> None:
    outage = Outage((503, {}, []), 1e9, threads)
    await _fetch(outage.setup, tmp_path / "0.conda")
    with pytest.raises(FetchError):
        await _fetch(outage.setup, tmp_path / "1.conda")
    waited = outage.setup.clock.now()
    assert waited >= 60
    for number in range(2, 12):
        with pytest.raises(FetchError, match="in 4 tries"):
            await _fetch(outage.setup, tmp_path / f"{number}.conda")
    assert outage.setup.clock.now() - waited < 10 * 4


async def test_what_does_not_exist_is_not_asked_for_twice(tmp_path: Path, threads: Threads) -> None:
    setup = Setup(lambda *_: (404, {}, []), threads)
    with pytest.raises(FetchRefusedError, match="expected status 200, found status 404 Not Found; check the URL"):
        await _fetch(setup, tmp_path / "six.conda")
    assert len(setup.transport.requested) == 1


async def test_a_refusal_says_where_credentials_go(tmp_path: Path, threads: Threads) -> None:
    with pytest.raises(FetchRefusedError, match="netrc"):
        await _fetch(Setup(lambda *_: (401, {}, []), threads), tmp_path / "six.conda")


async def test_mirrors_are_asked_first_and_the_origin_when_they_fail(tmp_path: Path, threads: Threads) -> None:
    def answer(url: PackageURL, headers: Mapping[str, str]) -> Answer:
        return (404, {}, []) if url.host == "mirror.test" else _serve(url, headers)

    setup = Setup(answer, threads, mirrors={"https://channel.test/conda": ["https://mirror.test/m/"]})
    result = await _fetch(setup, tmp_path / "six.conda")
    assert str(setup.transport.requested[0][0]) == "https://mirror.test/m/noarch/six-1.16.0-pyh_0.conda"
    assert result.source == URL
    assert setup.kinds() == ["SourceFailed"]


async def test_when_all_sources_fail_each_is_named_with_its_reason(tmp_path: Path, threads: Threads) -> None:
    setup = Setup(lambda *_: (404, {}, []), threads, mirrors={"https://channel.test": ["https://mirror.test"]})
    with pytest.raises(
        FetchRefusedError, match=r"2 sources: https://mirror\.test/.*404.*; https://channel\.test/.*404"
    ):
        await _fetch(setup, tmp_path / "six.conda")


async def test_a_body_without_end_is_cut_off(tmp_path: Path, threads: Threads) -> None:
    setup = Setup(lambda *_: (200, {}, [bytes(1 << 20)] * 1000), threads)
    with pytest.raises(IntegrityError, match="wrong size"):
        await _fetch(setup, tmp_path / "six.conda")
    moved = sum(e.bytes for e in setup.events if isinstance(e, events.BytesMoved))
    assert moved < 3 * (len(BODY) + (2 << 20))


async def test_no_credential_reaches_a_message_or_an_event(tmp_path: Path, threads: Threads) -> None:
    setup = Setup(_first([(503, {}, []), (404, {}, [])]), threads)
    package = Package.from_url("https://me:s3cret@channel.test/t/tok3n/c/noarch/a-1-0.conda?sig=s1gn", DIGESTS)
    with pytest.raises(FetchError) as caught:
        await setup.fetcher.fetch(package, tmp_path / "a.conda")
    shown = str(caught.value) + repr(setup.events) + repr(package)
    assert "s3cret" not in shown
    assert "s1gn" not in shown
    assert "tok3n" not in str(caught.value) + repr(setup.events)


async def test_local_files_are_a_source(tmp_path: Path, threads: Threads) -> None:
    there = tmp_path / "a channel" / "noarch"
    there.mkdir(parents=True)
    (there / "six-1.16.0-pyh_0.conda").write_bytes(BODY)
    setup = Setup(_serve, threads)
    package = Package.from_url((there / "six-1.16.0-pyh_0.conda").as_uri(), DIGESTS)
    await setup.fetcher.fetch(package, tmp_path / "out.conda")
    assert (tmp_path / "out.conda").read_bytes() == BODY
    assert setup.transport.requested == []
