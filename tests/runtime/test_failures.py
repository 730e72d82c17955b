"""What no seam has mapped becomes a failure with a sentence, an exit code, and no credentials."""

from pathlib import Path

import pytest

from asynccache.errors import DefectError, DiskError, IntegrityError, PartialFailureError, UsageError
from asynccache.runtime.failures import as_failure


@pytest.fixture(autouse=True)
def _reports_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("asynccache.runtime.failures._reports", {})


def _raised(error: BaseException) -> BaseException:
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def test_a_defect_names_a_report_that_holds_the_traceback_without_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCCACHE_AUTH", '{"host": ["me", "pass-w0rd"]}')
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "aws-s3cret")
    text = "GET https://u:url-s3cret@h/t/t0ken/x?sig=s1g aws-s3cret pass-w0rd\nAuthorization: Basic aGlkZGVu"
    failure = as_failure(_raised(ValueError(text)))
    assert isinstance(failure, DefectError)
    assert failure.exit_code == 70
    assert "this is a defect of asynccache (ValueError at test_failures.py:" in str(failure)
    assert failure.report is not None
    assert failure.report in str(failure)
    assert failure.as_document()["report"] == failure.report
    report = Path(failure.report)
    assert report.parent == tmp_path
    assert report.stat().st_mode & 0o077 == 0
    written = report.read_text("utf-8")
    assert "Traceback (most recent call last)" in written
    assert "raise error" in written
    for secret in ("url-s3cret", "t0ken", "s1g", "aws-s3cret", "pass-w0rd", "aGlkZGVu"):
        assert secret not in written


def test_a_defect_that_hits_every_package_is_one_cause_with_one_report(tmp_path: Path) -> None:
    failures = [as_failure(_raised(KeyError(number))) for number in range(20)]
    together = PartialFailureError("all failed", {str(n): f for n, f in enumerate(failures)})
    assert len(together.causes()) == 1
    assert together.exit_code == 70
    assert len(list(tmp_path.iterdir())) == 1


def test_where_no_report_can_be_written_the_defect_says_how_to_see_the_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    failure = as_failure(_raised(KeyError("x")))
    assert "run again with --debug" in str(failure)


def test_trouble_with_files_is_no_defect() -> None:
    for number, said in ((28, "is full"), (13, "cannot be written"), (30, "cannot be written")):
        failure = as_failure(_raised(OSError(number, "reason", "/some/file")))
        assert isinstance(failure, DiskError)
        assert "/some/file" in str(failure)
        assert said in str(failure)


def test_a_current_directory_that_was_removed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(FileNotFoundError) as caught:
        Path.cwd()
    failure = as_failure(caught.value)
    monkeypatch.undo()
    assert isinstance(failure, UsageError)
    assert "current directory" in str(failure)


def test_a_group_with_one_cause_is_that_cause() -> None:
    group = ExceptionGroup("", [IntegrityError("one"), ExceptionGroup("", [IntegrityError("one")])])
    assert str(as_failure(group)) == "one"
