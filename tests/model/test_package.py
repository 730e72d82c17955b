"""Packages are read from their URLs and file names."""

import pytest

from asynccache.errors import IntegrityError, UsageError
from asynccache.model.digest import Digests
from asynccache.model.package import DistributionName, Format, Package, parse_stem, split_filename

MD5, SHA256 = "d41d8cd98f00b204e9800998ecf8427e", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    ("filename", "stem", "fmt"),
    [
        ("numpy-1.26.4-py311h64a7726_0.conda", "numpy-1.26.4-py311h64a7726_0", Format.CONDA),
        ("a.b.c-1-0.tar.bz2", "a.b.c-1-0", Format.TAR_BZ2),
        ("docopt-0.6.2.tar.gz", "docopt-0.6.2", Format.TAR_GZ),
        ("six-1.16.0-py2.py3-none-any.whl", "six-1.16.0-py2.py3-none-any", Format.WHEEL),
    ],
)
def test_a_file_name_is_split_into_stem_and_format(filename: str, stem: str, fmt: Format) -> None:
    assert split_filename(filename) == (stem, fmt)


@pytest.mark.parametrize("filename", ["numpy", ".conda", "numpy.tar", "index.html", ""])
def test_a_name_that_is_no_package_is_refused(filename: str) -> None:
    with pytest.raises(UsageError, match="ends in"):
        split_filename(filename)


@pytest.mark.parametrize(
    ("kind", "stem", "name"),
    [
        ("conda", "python-dateutil-2.9.0-pyhd_0", DistributionName("python-dateutil", "2.9.0", "pyhd_0")),
        ("pypi", "six-1.16.0-py2.py3-none-any", DistributionName("six", "1.16.0", "")),
        ("pypi", "foo-1.0-1abc-py3-none-any", DistributionName("foo", "1.0", "1abc")),
        ("pypi", "docopt-0.6.2", DistributionName("docopt", "0.6.2", "")),
    ],
)
def test_name_version_and_build_come_from_the_stem(kind: str, stem: str, name: DistributionName) -> None:
    assert parse_stem(kind, stem) == name  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fragment", "digests"),
    [
        ("", Digests()),
        (f"#{MD5}", Digests(md5=MD5)),
        (f"#md5={MD5}", Digests(md5=MD5)),
        (f"#{SHA256}", Digests(sha256=SHA256)),
        (f"#sha256={SHA256.upper()}", Digests(sha256=SHA256)),
    ],
)
def test_a_fragment_carries_a_digest(fragment: str, digests: Digests) -> None:
    package = Package.from_url(f"https://h/conda-forge/linux-64/a-1-0.conda{fragment}")
    assert package.digests == digests
    assert package.subdir == "linux-64"
    assert str(package.url) == "https://h/conda-forge/linux-64/a-1-0.conda"


@pytest.mark.parametrize("fragment", ["#deadbeef", "#sha1=00", f"#sha256={MD5}"])
def test_a_fragment_that_is_no_digest_is_refused(fragment: str) -> None:
    with pytest.raises(UsageError):
        Package.from_url(f"https://h/noarch/a-1-0.conda{fragment}")


def test_a_conda_name_needs_three_parts() -> None:
    with pytest.raises(UsageError, match="NAME-VERSION-BUILD"):
        Package.from_url("https://h/noarch/numpy-1.0.conda")


def test_digests_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(IntegrityError, match="disagree on its md5"):
        Digests(md5=MD5).merged(Digests(md5="0" * 32))


def test_a_mismatch_names_expected_and_found() -> None:
    with pytest.raises(IntegrityError, match="x has the wrong size: expected 3 bytes, found 4 bytes; try"):
        Digests(size=3, md5=MD5).check(Digests(size=4, md5=MD5), "x", hint="try")


def test_each_conda_form_names_the_other() -> None:
    assert Format.CONDA.other is Format.TAR_BZ2
    assert Format.TAR_BZ2.other is Format.CONDA
    with pytest.raises(UsageError):
        _ = Format.WHEEL.other
