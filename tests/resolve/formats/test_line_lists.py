from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynccache.errors import UsageError
from asynccache.model.digest import Digests
from asynccache.resolve.formats.locks import PackageList, read_package_list

MD5 = "0123456789abcdef" * 2
SHA256 = "0123456789abcdef" * 4
CONDA = "https://conda.example/ch/linux-64/numpy-1.26.4-py311h64a7726_0.conda"
WHEEL = "https://files.example/six-1.16.0-py2.py3-none-any.whl"


def read(text: str, name: str = "-", **selection: object) -> PackageList:
    return read_package_list(name, text, **selection)  # type: ignore[arg-type]


def test_an_explicit_file_is_read_with_every_spelling_of_digests() -> None:
    text = "\n".join(
        [
            "# This file may be used to create an environment",
            "# platform: linux-64",
            "@EXPLICIT",
            f"{CONDA}#{MD5}",
            f"{CONDA.replace('numpy', 'a')}#md5={MD5}",
            f"{CONDA.replace('numpy', 'b')}#sha256:{SHA256}",
            f"{CONDA.replace('numpy', 'c')}#sha256={SHA256}",
            f"{CONDA.replace('numpy', 'd')}#{SHA256.upper()}",
            CONDA.replace("numpy", "e"),
            "",
            f"# pip six @ {WHEEL} --hash=sha256={SHA256}",
        ]
    )
    found = read(text)
    assert found.format.name == "@EXPLICIT"
    assert [package.digests for package in found] == [
        Digests(md5=MD5),
        Digests(md5=MD5),
        Digests(sha256=SHA256),
        Digests(sha256=SHA256),
        Digests(sha256=SHA256),
        Digests(),
        Digests(sha256=SHA256),
    ]
    assert [package.kind for package in found] == ["conda"] * 6 + ["pypi"]
    assert str(found.packages[0].url) == CONDA


def test_a_list_of_urls_is_read_with_every_spelling_of_digests() -> None:
    lines = [
        CONDA,
        f"{WHEEL}#sha256={SHA256}&egg=six",
        f"{CONDA.replace('numpy', 'a')} sha256:{SHA256} md5:{MD5}  # why",
        f"{CONDA.replace('numpy', 'b')} --hash=sha256:{SHA256}",
        f"c @ {WHEEL.replace('six', 'c')} \\",
        f"    --hash sha256:{SHA256} \\",
        f"    --hash=sha512:{SHA256}{SHA256}",
    ]
    found = read("# packages\r\n\r\n" + "\r\n".join(lines))
    assert found.format.name == "list of URLs"
    assert [package.digests for package in found] == [
        Digests(),
        Digests(sha256=SHA256),
        Digests(sha256=SHA256, md5=MD5),
        Digests(sha256=SHA256),
        Digests(sha256=SHA256),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"{CONDA}#md5=12", "expected 32 hexadecimal digits, found '12'"),
        (f"{CONDA} sha256:{MD5}", "expected 64 hexadecimal digits"),
        (f"{CONDA} sha256:{SHA256} sha256:{SHA256[::-1]}", "disagree on its sha256"),
        (f"{CONDA} sha512:{SHA256}{SHA256}", "expected sha256 or md5, found ['sha512']"),
        (f"{CONDA} --pre", "found '--pre'"),
        (f"six @ {WHEEL} ; python_version < '3'", "environment marker"),
        ("https://conda.example/ch/linux-64/numpy.conda", "not a conda package name"),
        ("https://conda.example/readme.txt", "not a package file name"),
        ("ftp://conda.example/a-1-0.conda", "found ftp://"),
        ("https://conda.example/../a-1-0.conda", "'.' or '..'"),
    ],
)
def test_a_wrong_line_is_named_by_file_and_number(line: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(f"{CONDA}\n# comment\n{line}\n", "lists/urls.txt")
    assert str(caught.value).startswith("lists/urls.txt, line 3: ")
    assert reason in str(caught.value)


def test_standard_input_is_called_so() -> None:
    with pytest.raises(UsageError, match=r"^standard input, line 2: "):
        read(f"{CONDA}\nnonsense\n")


def test_credentials_are_kept_for_the_request_and_shown_nowhere() -> None:
    found = read(f"{CONDA.replace('https://', 'https://me:hunter2@')}?sig=hunter3#{MD5}")
    (package,) = found
    assert (package.access.username, package.access.password, package.access.query) == ("me", "hunter2", "sig=hunter3")
    assert "hunter" not in repr(found) + str(package.url)
    for bad in ("https://me:hunter2@host/x.txt?sig=hunter3", "https://me:hunter2@host/a-1-0.conda?sig=hunter3#md5=1"):
        with pytest.raises(UsageError) as caught:
            read(bad)
        assert "hunter" not in str(caught.value)


def test_paths_and_file_urls_are_absolute_or_relative_to_the_list(tmp_path: Path) -> None:
    lines = [
        "./a-1-0.conda",
        "../up/b-1-0.tar.bz2",
        "/abs/with blank/c-1-0.conda".replace(" ", "%20"),
        "file:d-1-0.conda",
    ]
    lines.append("file:///abs/e-1-0.conda#" + MD5)
    found = read("@EXPLICIT\n" + "\n".join(lines), str(tmp_path / "here" / "list.txt"))
    assert [package.url.path for package in found] == [
        f"{tmp_path}/here/a-1-0.conda",
        f"{tmp_path}/up/b-1-0.tar.bz2",
        "/abs/with%2520blank/c-1-0.conda",
        f"{tmp_path}/here/d-1-0.conda",
        "/abs/e-1-0.conda",
    ]
    with pytest.raises(UsageError, match="relative to a list that has no directory; name the list"):
        read("@EXPLICIT\n./a-1-0.conda\n")


def test_a_package_listed_twice_is_taken_once_unless_its_digests_disagree() -> None:
    (package,) = read(f"{CONDA}#{MD5}\n{CONDA}#sha256={SHA256}\n")
    assert package.digests == Digests(md5=MD5, sha256=SHA256)
    with pytest.raises(UsageError, match=r"lists .* twice .*disagree on its md5"):
        read(f"{CONDA}#{MD5}\n{CONDA}#{MD5[::-1]}\n")


def test_asked_for_platforms_leave_out_packages_of_others_only() -> None:
    urls = [CONDA, CONDA.replace("linux-64", "osx-64"), CONDA.replace("linux-64", "noarch"), WHEEL]
    odd = CONDA.replace("linux-64", "label")
    assert len(read("\n".join([*urls, odd]))) == 5
    kept = read("\n".join([*urls, odd]), arches=("linux-64",))
    assert [package.subdir for package in kept] == ["linux-64", "noarch", "", "label"]
    assert len(read("\n".join(["@EXPLICIT", *urls]), arches=("osx-64",))) == 3


@given(st.text(max_size=200))
def test_no_text_raises_anything_but_a_usage_error(text: str) -> None:
    for start in ("", "@EXPLICIT\n", f"{CONDA} "):
        with contextlib.suppress(UsageError):
            read(start + text)


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True),
            st.sampled_from([".conda", ".tar.bz2"]),
            st.booleans(),
        ),
        min_size=1,
        unique_by=lambda entry: entry[:2],
    ),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_is_written_is_read(entries: list[tuple[str, str, bool]], newline: str) -> None:
    lines = [f"https://h.example/c/noarch/{n}-1.0-0{e}{f'#{MD5}' if d else ''}" for n, e, d in entries]
    found = read(newline.join(["@EXPLICIT", *lines]))
    assert [(p.name.name, p.url_format, bool(p.digests)) for p in found] == entries
