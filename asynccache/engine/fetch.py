"""Fetching one package's bytes to a local file, whole and verified, whatever the server does.

Sources are tried in order: mirrors, then the package's own URL. A temporary failure (a broken connection, 429, 5xx) is
retried after a wait, continuing where the bytes ended: a few times if another source is left, the last one for as long
as an outage is tolerated. A permanent failure (404, wrong bytes twice) leads to the next source. The file appears under
its name only when size and digests are right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from asynccache.engine import events
from asynccache.engine.credentials import HostCredentials
from asynccache.engine.partial import PartialDownload
from asynccache.engine.transport import Response, Transport, TransportError
from asynccache.errors import AsyncCacheError, FetchError, FetchRefusedError, IntegrityError
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Digests
from asynccache.model.package import KEY_ALGORITHM, Format, Package
from asynccache.model.url import Access, PackageURL, redacted
from asynccache.node.patience import TRANSIENT_STATUSES, Patience, Tries, parse_retry_after, peer_of
from asynccache.runtime.budget import Budget
from asynccache.runtime.clock import Clock
from asynccache.runtime.threads import Threads

BATCH_BYTES: Final = 1 << 20  # written and digested by one thread job: measured best between 256 KiB and 1 MiB
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_REPORT_SECONDS: Final = 1.0  # the progress of a slow download is reported at least this often while bytes arrive
_MAGIC: Final[Mapping[Format, tuple[bytes, ...]]] = {
    Format.CONDA: (b"PK\x03\x04",),
    Format.TAR_BZ2: (b"BZh",),
    Format.WHEEL: (b"PK\x03\x04",),
    Format.ZIP: (b"PK\x03\x04",),
    Format.TAR_GZ: (b"\x1f\x8b",),
}


class _LaterError(Exception):
    """A temporary failure.

    Args:
        reason: For the message.
        retry_after: What the server asked for, in seconds.
        throttled: The server asks to slow down.
    """

    def __init__(self, reason: str, retry_after: float | None = None, *, throttled: bool = False) -> None:
        super().__init__(reason)
        self.throttled = throttled or retry_after is not None
        self.retry_after = retry_after


class _StalePartialError(_LaterError):
    """The bytes of an earlier try do not belong to what the server has now."""


@dataclass(frozen=True, slots=True)
class FetchResult:
    """Where the bytes came from and what they are.

    Attributes:
        source: URL without credentials.
        digests: Size and digests, computed.
        received: Bytes that came over the network in this process.
        resumed_from: Where an earlier process's bytes ended, 0 for a fresh start.
    """

    source: str
    digests: Digests
    received: int
    resumed_from: int


@dataclass(frozen=True, slots=True)
class PlainFile:
    """A published file that is not a package, of which nothing is known.

    Attributes:
        url: Where it is published, without credentials.
        access: What the request needs beyond the URL.
        digests: None.
    """

    url: PackageURL
    access: Access = field(default_factory=Access, compare=False, repr=False)
    digests: Digests = field(default_factory=Digests)

    @property
    def filename(self) -> str:
        """Its file name."""
        return self.url.filename


@dataclass(slots=True)
class Fetcher:
    """Fetches packages over one transport.

    Attributes:
        transport: An open transport.
        credentials: Credentials for each host.
        patience: How long temporary failures are retried.
        clock: Clock to wait on.
        threads: Threads that write and digest files.
        memory: Budget of bytes held in memory.
        mirrors: URL prefix -> prefixes to try before it.
        emit: Called with each event.
        requests: Number of requests so far.
    """

    transport: Transport
    credentials: HostCredentials
    patience: Patience
    clock: Clock
    threads: Threads
    memory: Budget
    mirrors: Mapping[str, list[str]] = field(default_factory=dict)
    emit: events.EventSink = events.ignore
    requests: int = field(default=0, init=False)

    async def fetch(self, package: Package | PlainFile, target: Path) -> FetchResult:
        """Write the package's published bytes to `target`.

        Args:
            package: What to fetch; what is known of its bytes is checked.
            target: File to create; `target` + `.part` holds the bytes of a download in progress and is kept on failure.

        Raises:
            FetchError: No source provided the package; the message names each source and why.
            FetchRefusedError: The same, permanently.
            IntegrityError: Every source provided bytes with another size or digest.
            DiskError: The local disk is full or cannot be written.
        """
        algorithms = {*package.digests.algorithms(), "sha256"}
        if isinstance(package, Package):
            algorithms.add(KEY_ALGORITHM[package.kind])
        partial = PartialDownload(target.with_name(target.name + ".part"), tuple(sorted(algorithms)))
        failures: list[AsyncCacheError] = []
        try:
            sources = self._sources(package)
            for number, (source, access) in enumerate(sources, 1):
                try:
                    result = await self._from_source(package, source, access, partial, last=number == len(sources))
                except (FetchError, IntegrityError) as exc:
                    failures.append(exc)
                    self.emit(events.SourceFailed(package.filename, redacted(str(source)), str(exc)))
                else:
                    await self.threads.run(partial.finish, target)
                    return result
        finally:
            partial.close()
        raise no_source(package.filename, failures)

    def _sources(self, package: Package | PlainFile) -> list[tuple[PackageURL, Access]]:
        own = str(package.url)
        sources: list[tuple[PackageURL, Access]] = []
        for prefix, replacements in self.mirrors.items():
            base = prefix.rstrip("/") + "/"
            if own.startswith(base):
                sources += [PackageURL.parse(r.rstrip("/") + "/" + own[len(base) :]) for r in replacements]
        return [*sources, (package.url, package.access)]

    async def size_of(self, package: Package) -> int | None:
        """Request a package's size from upstream; None if it is not provided."""
        for source, said in self._sources(package):
            if source.scheme == "file":
                with suppress(OSError):
                    return (await self.threads.run(Path(unquote(source.path)).stat)).st_size
                continue
            access = self.credentials.access(source, said)
            credentials, requested = self.credentials.for_url(source, access), access.requested(source)
            with suppress(FetchError):
                async with self.transport.get(
                    requested, query=access.query, headers={}, credentials=credentials, only_head=True
                ) as response:
                    length = response.headers.get("Content-Length", "")
                    if response.status == HTTPStatus.OK and length.isdigit():
                        return int(length)
        return None

    async def _from_source(
        self, package: Package | PlainFile, source: PackageURL, access: Access, partial: PartialDownload, *, last: bool
    ) -> FetchResult:
        if source.scheme == "file":
            return await self._from_file(package, source, partial)
        if not partial.loaded:
            await self.threads.run(partial.load)
        if partial.size and partial.address != str(source):
            await self.threads.run(partial.discard)
        resumed_from, received_before, wrong = partial.size, partial.size, 0

        def fresh() -> Tries:
            return Tries(self.patience, peer_of(source.origin), elsewhere=not last, now=self.clock.now)

        tries = fresh()
        while True:
            size_before = partial.size
            try:
                await self._request(package, source, access, partial)
                difference = package.digests.mismatch(partial.digests())
                if difference is None:
                    return FetchResult(str(source), partial.digests(), partial.size - received_before, resumed_from)
                raise self._wrong_bytes(package, source, difference, partial.first_bytes())
            except (_LaterError, TransportError, IntegrityError) as exc:
                failure = exc
            if partial.size - size_before >= BATCH_BYTES and not isinstance(failure, IntegrityError):
                tries = (
                    fresh()
                )  # it made progress: a long download over a bad line may break off more often than `attempts`
            if isinstance(failure, IntegrityError | _StalePartialError):
                await self.threads.run(partial.discard)
                resumed_from = received_before = 0
            wrong += isinstance(failure, IntegrityError)
            retry_after = failure.retry_after if isinstance(failure, _LaterError) else None
            if isinstance(failure, IntegrityError | _StalePartialError):
                delay = tries.wrong()
            elif isinstance(failure, _LaterError) and failure.throttled:
                delay = tries.throttled(retry_after)
            else:
                delay = tries.failed()
            if isinstance(failure, IntegrityError) and (wrong == 2 or delay is None):
                raise failure
            if delay is None:
                asked = f", and the server asks to wait {retry_after:.0f} seconds" if retry_after else ""
                raise FetchError(
                    f"{redacted(str(source))} could not be fetched in {tries.failures} tries",
                    found=f"{failure}{asked}",
                    hint="run again later to continue where it ended, or name a mirror",
                )
            if isinstance(failure, _StalePartialError):
                delay = 0.0
            self.emit(events.Retried(package.filename, redacted(str(source)), tries.failures, delay, str(failure)))
            await self.clock.sleep(delay)

    async def _request(
        self, package: Package | PlainFile, source: PackageURL, access: Access, partial: PartialDownload
    ) -> None:
        """Make one request and append the answer to `partial`."""
        headers: dict[str, str] = {}
        offset = partial.size
        if offset and (partial.validator or package.digests):
            headers["Range"] = f"bytes={offset}-"
            if partial.validator:
                headers["If-Range"] = partial.validator
        elif offset:
            await self.threads.run(partial.discard)
            offset = 0
        access = self.credentials.access(source, access)
        credentials, requested = self.credentials.for_url(source, access), access.requested(source)
        self.requests += 1
        async with (
            self.memory.borrow(2 * BATCH_BYTES),
            self.transport.get(requested, query=access.query, headers=headers, credentials=credentials) as response,
        ):
            if response.status not in TRANSIENT_STATUSES:
                peer_of(source.origin).answers = True
            asked = response.status == HTTPStatus.UNAUTHORIZED and await self.threads.run(
                self.credentials.ask_keyring, source, access, credentials
            )
            if not asked:
                await self._take_answer(package, source, partial, response, offset)
        if asked:
            await self._request(package, source, access, partial)

    async def _take_answer(
        self,
        package: Package | PlainFile,
        source: PackageURL,
        partial: PartialDownload,
        response: Response,
        offset: int,
    ) -> None:
        if response.downgraded and not package.digests.algorithms():
            raise FetchRefusedError(
                f"{redacted(str(source))} leads from https to http, and nothing says what its bytes should be",
                hint="give its digest (URL#sha256), or the address that it leads to",
            )
        total = self._expected_total(response, source, offset)
        if response.status == HTTPStatus.OK:
            await self.threads.run(partial.restart, str(source), _validator(response))
        if total is not None and (partial.size or package.digests.size is None):
            self.emit(events.SizeKnown("fetch", package.filename, total - partial.size))
        limit = package.digests.size if package.digests.size is not None else total
        await self._receive(package, response, partial, limit)
        if total is not None and partial.size < total:
            raise _LaterError(f"{redacted(str(source))} ended early: expected {total} bytes, found {partial.size}")

    def _expected_total(self, response: Response, source: PackageURL, offset: int) -> int | None:
        """Read the answer's status and return the size of the whole package; raise unless bytes follow."""
        status, shown = response.status, redacted(str(source))
        if status == HTTPStatus.OK:
            length = response.headers.get("Content-Length")
            return int(length) if length is not None and length.isdigit() else None
        if status == HTTPStatus.PARTIAL_CONTENT:
            matched = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if matched and int(matched[1]) == offset:
                return None if matched[3] == "*" else int(matched[3])
            raise _StalePartialError(f"{shown} answered another range than the one asked for")
        if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and offset:
            raise _StalePartialError(f"{shown} no longer has the bytes that the partial download belongs to")
        said = f"status {status} {_phrase(status)}".strip()
        if status in TRANSIENT_STATUSES:
            raise _LaterError(
                f"{shown} answered {said}",
                parse_retry_after(response.headers.get("Retry-After")),
                throttled=status == HTTPStatus.TOO_MANY_REQUESTS,
            )
        hint = "check the URL"
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED}:
            hint = "give credentials for the host in .netrc or the setting `auth`"
        raise FetchRefusedError(f"{shown} cannot be fetched", expected="status 200", found=said, hint=hint)

    async def _receive(
        self, package: Package | PlainFile, response: Response, partial: PartialDownload, limit: int | None
    ) -> None:
        waiting: list[bytes] = []
        held = unreported = 0
        reported = self.clock.now() - _REPORT_SECONDS

        def report() -> None:
            nonlocal unreported, reported
            if unreported:
                self.emit(events.BytesMoved("fetch", package.filename, unreported))
            unreported, reported = 0, self.clock.now()

        try:
            while True:
                piece = await response.read_any()
                held, unreported = held + len(piece), unreported + len(piece)
                waiting.append(piece)
                if not piece or held >= BATCH_BYTES:
                    blocks, waiting, held = waiting, [], 0
                    await self.threads.run(partial.append, blocks)
                    report()
                    if limit is not None and partial.size > limit:
                        return  # already too long: the comparison of sizes says so
                elif self.clock.now() - reported >= _REPORT_SECONDS:
                    report()
                if not piece:
                    return
        except TransportError:
            if waiting:
                await self.threads.run(partial.append, waiting)
                report()
            raise

    async def _from_file(
        self, package: Package | PlainFile, source: PackageURL, partial: PartialDownload
    ) -> FetchResult:
        path = Path(unquote(source.path))

        def copy() -> None:
            partial.restart(str(source), "")
            with path.open("rb") as file:
                while block := file.read(BATCH_BYTES):
                    partial.append([block])

        async with self.memory.borrow(BATCH_BYTES):
            try:
                await self.threads.run(copy)
            except OSError as exc:
                raise FetchRefusedError(
                    f"{path} cannot be read ({exc.strerror or exc})", hint="check the path"
                ) from exc
        difference = package.digests.mismatch(partial.digests())
        if difference is not None:
            raise self._wrong_bytes(package, source, difference, partial.first_bytes())
        self.emit(events.BytesMoved("fetch", package.filename, partial.size))
        return FetchResult(str(source), partial.digests(), partial.size, 0)

    @staticmethod
    def _wrong_bytes(
        package: Package | PlainFile, source: PackageURL, difference: tuple[str, str, str], beginning: bytes
    ) -> IntegrityError:
        part, want, have = difference
        hint = "the file at this URL changed or a cache on the way is broken; check the digest in your lock"
        if isinstance(package, Package) and not beginning.startswith(_MAGIC[package.url_format]):
            what = "an HTML page" if beginning.lstrip()[:1] == b"<" else "something else"
            hint = f"the server sent {what} instead of a {package.url_format} archive; check the URL and your log-in"
        return IntegrityError(f"{redacted(str(source))} has the wrong {part}", expected=want, found=have, hint=hint)


def no_source(filename: str, failures: Sequence[AsyncCacheError]) -> AsyncCacheError:
    """Return the failure of a package that no source provided: the only one, or all in one sentence."""
    if len(failures) == 1:
        return failures[0]
    kind: type[AsyncCacheError] = IntegrityError
    if not all(isinstance(failure, IntegrityError) for failure in failures):
        kind = FetchError if any(failure.retryable for failure in failures) else FetchRefusedError
    return kind(
        f"{filename} could not be fetched from any of its {len(failures)} sources: " + "; ".join(map(str, failures))
    )


def _validator(response: Response) -> str:
    """Return the value for If-Range: a strong ETag, otherwise the Last-Modified date (RFC 9110 section 13.1.5)."""
    etag = response.headers.get("ETag", "")
    if etag and not etag.startswith("W/"):
        return etag
    return response.headers.get("Last-Modified", "")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
