from __future__ import annotations

from pathlib import Path

import pytest
import rattler

from asynccache.errors import UsageError
from asynccache.model.digest import Digests
from asynccache.resolve.formats.locks import PackageList, read_package_list

A, B, C = "a1" * 32, "b2" * 32, "c3" * 32
MD5 = "0123456789" * 3 + "01"
CHANNEL = "https://conda.example/ch"
SIX = "https://files.example/x/six-1.16.0-py2.py3-none-any.whl"
PACKAGES = f"""\
    packages:
      linux-64:
      - conda: {CHANNEL}/linux-64/a-1.0-h0_0.conda
      - conda: {CHANNEL}/noarch/b-2.0-0.tar.bz2
      - pypi: {SIX}
      osx-arm64:
      - conda: {CHANNEL}/osx-arm64/a-1.0-h0_0.conda
      - conda: {CHANNEL}/noarch/b-2.0-0.tar.bz2
"""
ENVIRONMENTS = f"""\
environments:
  default:
    channels:
    - url: {CHANNEL}/
    indexes:
    - https://index.example/simple
{PACKAGES}  test:
    channels:
    - url: {CHANNEL}/
    packages:
      linux-64:
      - conda: {CHANNEL}/noarch/b-2.0-0.tar.bz2
"""
CURRENT = f"""\
version: 6
{ENVIRONMENTS}packages:
- conda: {CHANNEL}/linux-64/a-1.0-h0_0.conda
  sha256: {A}
  md5: {MD5}
  depends:
  - __glibc >=2.17,<3.0.a0
  license: MIT
  size: 1234
  timestamp: 1700000000000
- conda: {CHANNEL}/noarch/b-2.0-0.tar.bz2
  sha256: {B}
  md5: {MD5}
  size: 99
- conda: {CHANNEL}/osx-arm64/a-1.0-h0_0.conda
  sha256: {C}
  size: 5
- pypi: {SIX}
  name: six
  version: 1.16.0
  sha256: {C}
  requires_python: '>=2.7'
"""


def older(version: int) -> str:
    """The same as version 4 or 5 wrote it."""

    def conda(name: str, version: str, build: str, subdir: str, extension: str, rest: str) -> str:
        url = f"{CHANNEL}/{subdir}/{name}-{version}-{build}{extension}"
        return (
            f"- kind: conda\n  name: {name}\n  version: '{version}'\n  build: '{build}'\n"
            f"  subdir: {subdir}\n  url: {url}\n{rest}"
        )

    packages = [
        conda("a", "1.0", "h0_0", "linux-64", ".conda", f"  sha256: {A}\n  md5: {MD5}\n  size: 1234\n"),
        conda("a", "1.0", "h0_0", "osx-arm64", ".conda", f"  sha256: {C}\n  size: 5\n"),
        conda("b", "2.0", "0", "noarch", ".tar.bz2", f"  sha256: {B}\n  md5: {MD5}\n  size: 99\n"),
        f"- kind: pypi\n  name: six\n  version: 1.16.0\n  url: {SIX}\n  sha256: {C}\n",
    ]
    return f"version: {version}\n{ENVIRONMENTS}packages:\n" + "".join(packages)


def read(text: str, *arches: str, name: str = "pixi.lock", **selection: object) -> PackageList:
    return read_package_list(name, text, arches=arches, **selection)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [older(4), older(5), CURRENT], ids=["4", "5", "6"])
def test_an_environment_is_read_with_digests_and_sizes(text: str) -> None:
    found = read(text, "linux-64")
    assert [(str(package.url), package.digests) for package in found] == [
        (f"{CHANNEL}/linux-64/a-1.0-h0_0.conda", Digests(md5=MD5, sha256=A, size=1234)),
        (f"{CHANNEL}/noarch/b-2.0-0.tar.bz2", Digests(md5=MD5, sha256=B, size=99)),
        (SIX, Digests(sha256=C)),
    ]
    assert [package.digests.size for package in read(text, "linux-64", "osx-arm64")] == [1234, 99, None, 5]
    assert [package.stem for package in read(text, "linux-64", environment="test")] == ["b-2.0-0"]


@pytest.mark.parametrize("text", [older(4), older(5), CURRENT], ids=["4", "5", "6"])
def test_another_writers_current_version_reads_the_same(text: str, tmp_path: Path) -> None:
    (tmp_path / "pixi.lock").write_text(text)
    rattler.LockFile.from_path(tmp_path / "pixi.lock").to_path(tmp_path / "written.lock")
    written = (tmp_path / "written.lock").read_text()
    assert written.startswith("version: 7")
    for arch, environment in (("linux-64", None), ("osx-arm64", None), ("linux-64", "test")):
        assert set(read(written, arch, environment=environment)) == set(read(text, arch, environment=environment))


def test_platforms_with_names_of_their_own_count_for_their_subdir() -> None:
    text = CURRENT.replace(
        "version: 6\n", "version: 7\nplatforms:\n- name: gpu\n  subdir: linux-64\n- name: osx-arm64\n"
    )
    text = text.replace("      linux-64:\n", "      gpu:\n")
    assert len(read(text, "linux-64")) == 3
    assert len(read(text, "osx-arm64")) == 2


def test_of_the_variants_of_a_platform_one_is_read() -> None:
    platforms = "version: 7\nplatforms:\n- name: linux-64\n- name: gpu\n  subdir: linux-64\n"
    gpu = f"      gpu:\n      - conda: {CHANNEL}/noarch/b-2.0-0.tar.bz2\n      osx-arm64:\n"
    text = CURRENT.replace("version: 6\n", platforms).replace("      osx-arm64:\n", gpu, 1)
    assert len(read(text, "linux-64")) == 3
    assert len(read(text, "linux-64", environment="default:gpu")) == 1
    with pytest.raises(UsageError, match=r"it has no 'none'.*found linux-64, gpu.*--environment default:linux-64"):
        read(text, "linux-64", environment=":none")
    unnamed = text.replace("- name: linux-64\n", "- name: cpu\n  subdir: linux-64\n").replace(" linux-64:\n", " cpu:\n")
    with pytest.raises(UsageError, match=r"locked for linux-64 in several ways.*found cpu, gpu"):
        read(unnamed, "linux-64")


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("version: 6", "version: 3", "line 1: this pixi.lock version is unknown: expected version 4 to 7"),
        ("version: 6", "version: 99", "line 1: this pixi.lock version is unknown: expected version 4 to 7, found vers"),
        ("version: 6\n", "", "line 1: an entry has no `version`"),
        ("size: 1234", "size: -1", "line 23: `size` is malformed: expected a number of bytes, found '-1'"),
        (f"sha256: {A}", "sha256: ab", "line 23: a digest is not a sha256"),
        (f"- conda: {CHANNEL}/linux-64/a-1.0", f"- conda: {CHANNEL}/linux-64/c-1.0", "line 10: an environment names"),
        ("packages:\n- conda", "packages:\n- condo", "line 23: an entry has no `kind`"),
    ],
)
def test_a_wrong_entry_is_named_by_file_and_line(old: str, new: str, error: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(CURRENT.replace(old, new, 1), "linux-64")
    assert str(caught.value).startswith(f"pixi.lock, {error}")


def test_unknown_environments_and_platforms_are_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"no environment 'gpu': found default, test; .* --environment"):
        read(CURRENT, "linux-64", environment="gpu")
    with pytest.raises(UsageError, match=r"not locked for osx-64: found linux-64, osx-arm64; .* --arch"):
        read(CURRENT, "osx-64")


def with_local(location: str, key: str = "pypi") -> str:
    return CURRENT.replace(SIX, location).replace(f"- pypi: {location}", f"- {key}: {location}")


def test_a_wheel_beside_the_lock_file_becomes_a_file_url(tmp_path: Path) -> None:
    found = read(with_local("./wheels/foo-1.0-py3-none-any.whl"), "linux-64", name=str(tmp_path / "pixi.lock"))
    assert str(found.packages[2].url) == f"file://{tmp_path}/wheels/foo-1.0-py3-none-any.whl"
    assert found.packages[2].digests.sha256 == C
    with pytest.raises(UsageError, match="relative to a list that has no directory"):
        read(with_local("./wheels/foo-1.0-py3-none-any.whl"), "linux-64", name="-")


@pytest.mark.parametrize(
    ("location", "key", "what"),
    [
        ("./", "pypi", "directory"),
        ("../project", "pypi", "directory"),
        ("git+https://me:hunter2@git.example/x.git?tag=v1#0123", "pypi", "repository"),
        ("pkg[0a1b] @ src/pkg", "conda_source", "directory"),
    ],
)
def test_a_source_tree_is_refused_or_left_out(location: str, key: str, what: str) -> None:
    text = with_local(location, key)
    with pytest.raises(UsageError, match=rf"line 12: .* is a source {what}, which has no archive") as caught:
        read(text, "linux-64")
    found = read(text, "linux-64", skip_sources=True)
    assert (len(found), len(found.skipped)) == (2, 1)
    assert "hunter2" not in str(caught.value) + found.skipped[0]


def test_an_address_that_a_requirement_gave_itself_is_read_as_it_is() -> None:
    url = "https://files.example/direct-1.0-py3-none-any.whl"
    found = read(
        f"version: 6\nenvironments:\n  default:\n    channels: []\n    packages:\n      linux-64:\n"
        f"      - pypi: direct+{url}\npackages:\n- pypi: direct+{url}\n  name: direct\n  version: '1.0'\n"
        f"  sha256: {'0' * 64}\n",
        "linux-64",
    )
    assert [str(package.url) for package in found] == [url]
