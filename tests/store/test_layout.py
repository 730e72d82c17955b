from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynccache.errors import UsageError
from asynccache.model.package import KEY_ALGORITHM, Format, Kind, Package
from asynccache.model.url import PackageURL
from asynccache.store import layout
from asynccache.store.layout import SourceAddress

MD5, SHA256 = "9e5884fde49bf20a26b1766daea5d703", "2c2349112351b88699d8d4b6b075022c0808887cb7ad10069318a8b0bc88db44"
AB, CD = "ab" * 32, "cd" * 32
NUMPY = "conda.anaconda.org/conda-forge/linux-64/numpy-1.26.4-py311h64a7726_0.tar.bz2"
WHEEL = "files.pythonhosted.org/packages/68/5f/447e04e8/itsdangerous-2.1.2-py3-none-any.whl"
SDIST = "files.pythonhosted.org/packages/a2/55/8f8cab2a/docopt-0.6.2.tar.gz"
CLIP = "github.com/openai/CLIP.git/d50d76daa670286dd6cacf3bcd80b5e4823fc8e1"
CLIP_WHEEL = "clip-1.0.dev12+mfbuild-py3-none-any.whl"
LOCAL = "local-c40fcbc7e7c4998eb2bbe625d95aa60920d851f9eedb488f99d34d18a6380e6e/foo-1.0.0"
LOCAL_WHEEL = "foo-1.0.0.dev72638811+mfbuild-py3-none-any.whl"

# kind, address, whether it is real, file name, hash -> key
VECTORS: list[tuple[Kind, str, bool, str, str, str]] = [
    (
        "conda", f"https://{NUMPY}", True, "numpy-1.26.4-py311h64a7726_0.tar.bz2", MD5,
        f"packages/conda/{NUMPY}/numpy-1.26.4-py311h64a7726_0.tar.bz2/{MD5}/numpy-1.26.4-py311h64a7726_0.tar.bz2",
    ),
    (
        "conda", f"https://{NUMPY}", True, "numpy-1.26.4-py311h64a7726_0.conda", MD5,
        f"packages/conda/{NUMPY}/numpy-1.26.4-py311h64a7726_0.conda/{MD5}/numpy-1.26.4-py311h64a7726_0.conda",
    ),
    (
        "conda", "https://conda.anaconda.org/conda-forge/noarch/pip-24.0-pyhd8ed1ab_0.conda", True,
        "pip-24.0-pyhd8ed1ab_0.tar.bz2", MD5,
        ("packages/conda/conda.anaconda.org/conda-forge/noarch/pip-24.0-pyhd8ed1ab_0.conda/pip-24.0-pyhd8ed1ab_0.tar.bz2/"
        f"{MD5}/pip-24.0-pyhd8ed1ab_0.tar.bz2"),
    ),
    (
        "conda", "https://user:tok@conda.priv.test:8443/t/xx/ch/linux-64/libfoo-1.2.3-h0_0.tar.bz2", True,
        "libfoo-1.2.3-h0_0.tar.bz2", MD5,
        ("packages/conda/conda.priv.test:8443/t/xx/ch/linux-64/libfoo-1.2.3-h0_0.tar.bz2/libfoo-1.2.3-h0_0.tar.bz2/"
        f"{MD5}/libfoo-1.2.3-h0_0.tar.bz2"),
    ),
    (
        "conda", "https://Conda.Priv.TEST/ch/noarch/foo%2Bbar-1-0.tar.bz2?tok=a#frag", True, "foo+bar-1-0.tar.bz2",
        "0" * 32,
        "packages/conda/conda.priv.test/ch/noarch/foo%2Bbar-1-0.tar.bz2/foo+bar-1-0.tar.bz2/" + "0" * 32
        + "/foo+bar-1-0.tar.bz2",
    ),
    (
        "conda", "http://127.0.0.1:8765/conda-forge/osx-arm64/libfoo-1.2.3-h0_0.conda", True, "libfoo-1.2.3-h0_0.conda",
        MD5,
        ("packages/conda/127.0.0.1:8765/conda-forge/osx-arm64/libfoo-1.2.3-h0_0.conda/libfoo-1.2.3-h0_0.conda/"
        f"{MD5}/libfoo-1.2.3-h0_0.conda"),
    ),
    (
        "pypi", f"https://{WHEEL}", True, "itsdangerous-2.1.2-py3-none-any.whl", SHA256,
        f"packages/pypi/{WHEEL}/itsdangerous-2.1.2-py3-none-any.whl/{SHA256}/itsdangerous-2.1.2-py3-none-any.whl",
    ),
    (
        "pypi", f"https://{SDIST}", True, "docopt-0.6.2-py2.py3-none-any.whl", SHA256,
        f"packages/pypi/{SDIST}/docopt-0.6.2-py2.py3-none-any.whl/{SHA256}/docopt-0.6.2-py2.py3-none-any.whl",
    ),
    (
        "pypi", f"https://{SDIST}", True, "docopt-0.6.2-py2.py3-none-any.tar.gz", SHA256,
        f"packages/pypi/{SDIST}/docopt-0.6.2-py2.py3-none-any.tar.gz/{SHA256}/docopt-0.6.2-py2.py3-none-any.tar.gz",
    ),
    (
        "pypi", f"https://{CLIP}", False, CLIP_WHEEL, AB,
        f"packages/pypi/_fake/{CLIP}/{CLIP_WHEEL}/{AB}/{CLIP_WHEEL}",
    ),
    (
        "pypi", f"https://_fake/{CLIP}", False, CLIP_WHEEL, AB,
        f"packages/pypi/_fake/{CLIP}/{CLIP_WHEEL}/{AB}/{CLIP_WHEEL}",
    ),
    (
        "pypi", f"file://_fake/{LOCAL}", False, LOCAL_WHEEL, CD,
        f"packages/pypi/_fake/{LOCAL}/{LOCAL_WHEEL}/{CD}/{LOCAL_WHEEL}",
    ),
]  # fmt: skip

# address -> source directory of a fake address, before and after it was stored
FAKE = [
    ("file:///abs/path/foo-1.0.whl", "packages/pypi/_fake/abs/path/foo-1.0.whl"),
    ("file://_fake//abs/path/foo-1.0.whl", "packages/pypi/_fake/abs/path/foo-1.0.whl"),
    ("ssh://git@github.com/x/y.git/abc", "packages/pypi/_fake/github.com/x/y.git/abc"),
    ("ssh://_fake/github.com/x/y.git/abc", "packages/pypi/_fake/github.com/x/y.git/abc"),
    ("https://github.com/foo/bar.git/abc123/sub/dir", "packages/pypi/_fake/github.com/foo/bar.git/abc123/sub/dir"),
    ("https://user:tok@h:8/x.git/abc/sub%2Fdir", "packages/pypi/_fake/h:8/x.git/abc/sub%2Fdir"),
    ("https://_fake/h:8/x.git/abc/sub%2Fdir", "packages/pypi/_fake/h:8/x.git/abc/sub%2Fdir"),
    ("httpsgithub.com/foo/bar/abc", "packages/pypi/_fake/httpsgithub.com/foo/bar/abc"),
    ("//_fake//httpsgithub.com/foo/bar/abc", "packages/pypi/_fake/httpsgithub.com/foo/bar/abc"),
]


@pytest.mark.parametrize(("kind", "address", "real", "filename", "digest", "key"), VECTORS)
def test_keys_are_those_of_the_contract(
    kind: Kind, address: str, real: bool, filename: str, digest: str, key: str
) -> None:
    assert layout.archive_key(SourceAddress.parse(address, kind, real=real), filename, digest) == key


@pytest.mark.parametrize(("kind", "address", "real", "filename", "digest", "key"), VECTORS)
def test_a_key_says_what_it_was_made_of(
    kind: Kind, address: str, real: bool, filename: str, digest: str, key: str
) -> None:
    parts = layout.parse_key(key)
    assert parts is not None
    assert (parts.kind, parts.filename, parts.hash) == (kind, filename, digest)
    assert parts.source_directory == SourceAddress.parse(address, kind, real=real).directory()
    assert (parts.host == "_fake") is not real
    assert SourceAddress.parse(parts.source_url, kind).directory() == parts.source_directory


@pytest.mark.parametrize(("address", "directory"), FAKE)
def test_a_fake_address_is_marked_once(address: str, directory: str) -> None:
    assert SourceAddress.parse(address, "pypi", real=False).directory() == directory


def test_a_package_has_the_key_of_its_url_in_every_form() -> None:
    package = Package.from_url(f"https://me:secret@{NUMPY}?signature=1")
    assert layout.key_for(package, Format.CONDA, MD5) == VECTORS[1][5]
    assert layout.key_for(package, Format.TAR_BZ2, MD5, "other/place").startswith(f"other/place/conda/{NUMPY}/")
    parts = layout.parse_key(VECTORS[1][5])
    assert parts is not None
    assert parts.transmuted
    assert not parts.published


def test_a_url_with_a_fake_host_is_a_fake_address() -> None:
    url, _ = PackageURL.parse(f"https://_fake/{CLIP}")
    assert layout.source_directory(url, "pypi") == f"packages/pypi/_fake/{CLIP}"


def test_published_and_derived_archives_are_told_apart() -> None:
    published = layout.parse_key(VECTORS[0][5])
    built = layout.parse_key(VECTORS[7][5])
    escaped = layout.parse_key(VECTORS[4][5])
    assert published is not None
    assert built is not None
    assert escaped is not None
    assert (published.published, published.transmuted) == (True, False)
    assert (built.published, built.transmuted) == (False, False)
    assert (escaped.published, escaped.transmuted) == (True, False)


# what metaflow-netflixext 1.3.17 makes of them
ODD_ADDRESSES = [
    ("https://host//ch//noarch///a-1-0.conda", "host/ch//noarch///a-1-0.conda"),
    ("https://host/ch;a=b/x/a-1-0.conda;v=1;w?x;y=1", "host/ch;a=b/x/a-1-0.conda"),
    ("file:///a//b;c/a-1-0.conda", "a//b;c/a-1-0.conda"),
    ("http://[::1]:8080/ch/noarch/a-1-0.conda", "::1:8080/ch/noarch/a-1-0.conda"),
    ("https://u:p@[2001:DB8::1]/ch/noarch/a-1-0.conda", "2001:db8::1/ch/noarch/a-1-0.conda"),
    ("https://[1:2:3:4:5:6:7:8]:65535/ch/a-1-0.conda", "1:2:3:4:5:6:7:8:65535/ch/a-1-0.conda"),
]


@pytest.mark.parametrize(("address", "place"), ODD_ADDRESSES)
def test_keys_of_odd_addresses_are_those_of_other_writers(address: str, place: str) -> None:
    package = Package.from_url(address)
    key = layout.key_for(package, Format.CONDA, MD5)
    assert key == f"packages/conda/{place}/a-1-0.conda/{MD5}/a-1-0.conda"
    assert SourceAddress.parse(address, "conda").directory() == f"packages/conda/{place}"
    if not address.startswith("file:"):
        parts = layout.parse_key(key)
        assert parts is not None
        assert layout.source_directory(PackageURL.parse(parts.source_url)[0], "conda") == parts.source_directory
        assert parts.published


def test_parameters_stay_in_what_is_asked_for() -> None:
    package = Package.from_url("https://host/ch/noarch/a-1-0.conda;v=1")
    assert (package.filename, package.url.path) == ("a-1-0.conda", "/ch/noarch/a-1-0.conda;v=1")


@pytest.mark.parametrize(
    "address", ["", "https://host", "https://host/%2e%2e/x", "https://host/../x", "http://h:port/x"]
)
def test_an_address_that_could_leave_its_directory_is_refused(address: str) -> None:
    with pytest.raises(UsageError):
        SourceAddress.parse(address, "pypi")


@pytest.mark.parametrize(("filename", "digest"), [("a/b.conda", MD5), ("a-1-0.conda", "../x"), ("a-1-0.conda", SHA256)])
def test_a_name_or_digest_that_cannot_be_in_a_key_is_refused(filename: str, digest: str) -> None:
    with pytest.raises(UsageError):
        layout.archive_key(SourceAddress.parse(f"https://{NUMPY}", "conda"), filename, digest)


@pytest.mark.parametrize(
    "key",
    [
        "packages/conda/h/p/a-1-0.conda",
        f"other/conda/h/p/a-1-0.conda/a-1-0.conda/{MD5}/a-1-0.conda",
        f"packages/npm/h/p/a-1-0.conda/a-1-0.conda/{MD5}/a-1-0.conda",
        f"packages/conda/h/p/a-1-0.conda/a-1-0.conda/{MD5}/b-1-0.conda",
        f"packages/conda/h/p/a-1-0.conda/a-1-0.conda/{SHA256}/a-1-0.conda",
        f"packages/conda/h/p/a-1-0.conda/a-1-0.conda/{'x' * 32}/a-1-0.conda",
        f"packages/conda/h/p/a.whl/a.whl/{MD5}/a.whl",
        f"packages/conda/h/p/a.exe/a.exe/{MD5}/a.exe",
        f"packages/conda//h/p/a-1-0.conda/{MD5}/a-1-0.conda",
        f"packages/conda/a-1-0.conda/a-1-0.conda/{MD5}/a-1-0.conda/",
    ],
)
def test_what_is_no_archive_key_is_not_taken_for_one(key: str) -> None:
    assert layout.parse_key(key) is None


def test_keys_of_very_old_caches_are_read() -> None:
    parts = layout.parse_key(f"packages/pip/h/p/a-1.whl/a-1-py3-none-any.whl/{SHA256}/a-1-py3-none-any.whl")
    assert parts is not None
    assert (parts.kind, parts.source_directory) == ("pypi", "packages/pip/h/p/a-1.whl")


def test_side_car_objects_lie_where_other_readers_do_not_look() -> None:
    key = VECTORS[1][5]
    assert layout.receipt_key(key) == f"asynccache/receipts/{key.removeprefix('packages/')}.json"
    assert layout.receipt_key("a/b/conda/x", "a/b") == "asynccache/receipts/conda/x.json"
    moment = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=timezone(timedelta(hours=1)))
    assert layout.quarantine_key(key, moment) == f"asynccache/quarantine/20260102T020405.000678Z/{key}"
    assert layout.quarantine_key(key, datetime.now(UTC)).endswith(key)


_SEGMENT = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0\n\r?#[]@:%\\\t", exclude_categories=["Zs", "Cc"]), min_size=1
)


@given(
    st.sampled_from(["conda", "pypi"]),
    st.lists(_SEGMENT.filter(lambda s: s not in {".", ".."}), min_size=1, max_size=4),
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.+!~=,@-]{0,99}", fullmatch=True).filter(
        lambda s: not s.endswith(tuple(Format))
    ),
    st.integers(0, 2**128 - 1),
    st.sampled_from(["packages", "a/b"]),
)
def test_every_key_that_is_made_is_read_back(kind: Kind, path: list[str], stem: str, number: int, dirname: str) -> None:
    fmt = Format.CONDA if kind == "conda" else Format.WHEEL
    digest = f"{number:032x}" * (1 if KEY_ALGORITHM[kind] == "md5" else 2)
    address = SourceAddress(kind, "host", "/".join(path))
    key = layout.archive_key(address, stem + fmt, digest, dirname)
    parts = layout.parse_key(key, dirname)
    assert parts == layout.KeyParts(kind, address.directory(dirname), "host", "/".join(path), stem, fmt, digest)
