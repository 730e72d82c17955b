"""What a command leaves for other programs: its receipt, figures for Prometheus, spans for OpenTelemetry."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.json_output import check_line
from tests.support.prometheus import checked_families
from tests.support.small_channel import SyntheticChannel

COUNT = 3
REPOSITORY = Path(__file__).parents[2]
AUDIT = {"audit_findings"}  # of the command audit alone


def run(tmp_path: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-m", "asynccache_cli", *words],
        env={**environment, "ASYNCCACHE_CACHE_DIR": str(tmp_path / "cache"), **variables},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def words(channel: SyntheticChannel, url: str) -> list[str]:
    urls = [f"{url}/{path.relative_to(channel.root)}" for path in channel.paths[:COUNT]]
    return ["cache", *urls, "--store", "st", "--format", ".conda"]


def figures(path: Path) -> dict[tuple[str, ...], float]:
    return {
        (sample.name.removeprefix("asynccache_"), *(v for k, v in sorted(sample.labels.items()) if k != "command")): (
            sample.value
        )
        for family in checked_families(path).values()
        for sample in family.samples
    }


def test_a_receipt_and_figures_say_what_was_done(tmp_path: Path, words: list[str]) -> None:
    done = run(tmp_path, *words, "--receipt", "r.json", "--metrics-file", "m.prom")
    assert done.returncode == 0, done.stderr
    receipt = json.loads((tmp_path / "r.json").read_text())
    check_line("receipt.json", receipt)
    assert (receipt["type"], receipt["command"], receipt["exit_code"]) == ("receipt", "asynccache cache", 0)
    assert receipt["result"]["packages"] == COUNT
    assert all(datetime.fromisoformat(receipt[name]).tzinfo is not None for name in ("began", "ended"))
    found = figures(tmp_path / "m.prom")
    assert found["run_success",] == 1
    assert found["packages", "complete"] == COUNT
    assert found["phase_bytes", "fetch"] == sum(receipt["result"]["fetched_bytes"].values()) > 0
    assert found["uploaded_bytes",] == receipt["result"]["uploaded_bytes"] > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "m.prom", "r.json", "st"]
    page = (REPOSITORY / "docs/operating.md").read_text()
    assert {name for name, *_labels in found} == set(re.findall(r"^\| `asynccache_(\w+)` ", page, re.MULTILINE)) - AUDIT
    if tool := shutil.which("promtool"):
        subprocess.run([tool, "check", "metrics"], input=(tmp_path / "m.prom").read_bytes(), check=True)


def test_figures_of_several_commands_lie_in_one_directory_and_say_the_same_of_each_name(
    tmp_path: Path, words: list[str]
) -> None:
    """The textfile collector reads all files together, and refuses a name that two of them explain differently."""
    run(tmp_path, *words, "--metrics-file", "cache.prom")
    next(path for path in (tmp_path / "st/packages").rglob("*.conda") if path.is_file()).write_bytes(b"")
    assert run(tmp_path, "audit", "--store", "st", "--metrics-file", "audit.prom").returncode == 0
    assert run(tmp_path, "verify", "--store", "st", "--metrics-file", "verify.prom").returncode == 0
    said = [checked_families(path) for path in sorted(tmp_path.glob("*.prom"))]
    assert len(said) == 3
    labels = [sample.labels for sample in said[0]["asynccache_audit_findings"].samples]
    assert {"command": "audit", "kind": "empty"} in labels
    for name in {name for families in said for name in families}:
        assert len({(f[name].documentation, f[name].type) for f in said if name in f}) == 1, name


def test_a_failure_is_in_the_receipt_and_the_figures_with_its_exit_code(tmp_path: Path) -> None:
    done = run(tmp_path, "stat", "--store", "nowhere", "--receipt", "r.json", "--metrics-file", "m.prom")
    assert done.returncode == 9
    receipt = json.loads((tmp_path / "r.json").read_text())
    check_line("receipt.json", receipt)
    assert (receipt["exit_code"], receipt["error"], receipt["result"]) == (9, "StoreNotFoundError", None)
    assert figures(tmp_path / "m.prom")["run_exit_code",] == 9
    assert figures(tmp_path / "m.prom")["run_success",] == 0


@pytest.fixture
def collector() -> Iterator[tuple[str, list[Any]]]:
    """An OTLP collector on loopback, and the spans that it was sent."""
    spans: list[Any] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                spans.extend(span for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the library's name
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", spans
        server.shutdown()
        thread.join()


def test_spans_of_each_package_and_phase_lie_in_that_of_the_command(
    tmp_path: Path, words: list[str], collector: tuple[str, list[Any]]
) -> None:
    endpoint, spans = collector
    done = run(tmp_path, *words, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_EXPORTER_OTLP_COMPRESSION="none")
    assert done.returncode == 0, done.stderr
    (root,) = (span for span in spans if not span.parent_span_id)
    assert root.name == "asynccache cache"
    fetched = [span for span in spans if span.name == "fetch"]
    assert len(fetched) == COUNT
    assert {span.parent_span_id for span in fetched} == {root.span_id}
    assert all(span.end_time_unix_nano >= span.start_time_unix_nano for span in spans)
    moved = [a.value.int_value for span in fetched for a in span.attributes if a.key == "asynccache.bytes"]
    assert len(moved) == COUNT
    assert min(moved) > 0


def test_a_receipt_that_cannot_be_written_is_an_error_of_its_own_of_which_figures_and_spans_tell(
    tmp_path: Path, collector: tuple[str, list[Any]]
) -> None:
    endpoint, spans = collector
    (tmp_path / "st").mkdir()
    words = ["stat", "--store", "st", "--receipt", "no/directory/r.json", "--metrics-file", "m.prom"]
    done = run(tmp_path, *words, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_EXPORTER_OTLP_COMPRESSION="none")
    assert done.returncode == 8
    assert "r.json cannot be written" in done.stderr
    assert (figures(tmp_path / "m.prom")["run_exit_code",], figures(tmp_path / "m.prom")["run_success",]) == (8, 0)
    (root,) = spans
    assert [a.value.int_value for a in root.attributes if a.key == "asynccache.exit_code"] == [8]


def test_nobody_listens_to_spans_where_they_are_switched_off(tmp_path: Path, collector: tuple[str, list[Any]]) -> None:
    endpoint, spans = collector
    done = run(tmp_path, "stat", "--store", "st", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_SDK_DISABLED="true")
    assert (done.returncode, spans) == (9, [])
