from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynccache.errors import UsageError
from asynccache.model.identity import Request
from asynccache.resolve.formats.requirements_txt import read_requirements_txt
from asynccache.resolve.pypi.problem import Flags
from asynccache.resolve.requests.requirements import Requirements, merge_requirements
from asynccache.resolve.requests.source_position import SourcePosition

PLACE = SourcePosition("requirements.txt")


def read(text: str) -> Requirements:
    return read_requirements_txt(text, PLACE)


def test_everything_that_a_file_may_hold_is_read() -> None:
    found = read(
        "# a comment\n"
        "--extra-index-url https://host/simple   # ours\n"
        "--extra-index-url=https://other/simple\n"
        "--pre\n--find-links=/wheels\n--trusted-host host\n--no-index\n"
        "--conda-channel bioconda\n--conda-pkg ffmpeg >= 4, < 5\n--sys-pkg __cuda==12.4\n"
        "pandas[excel,all] >= 1.0, \\\n   < 2\n"
        "six==1.16.0 ; python_version<'3.12'\n"
        "clip @ git+https://host/clip.git@abc#egg=clip\n"
        "local @ file:///src/local\n"
        "python>=3.8,<3.9\n"
    )
    assert found.values("pypi") == [
        "pandas[all,excel]==<2,>=1.0",
        'six==1.16.0;python_version < "3.12"',
        "clip@git+https://host/clip.git@abc#egg=clip",
        "local@file:///src/local",
    ]
    assert found.values("npconda") == ["ffmpeg==>=4,<5"]
    assert found.values("sys") == ["__cuda==12.4"]
    assert found.sources == {"pypi": ("https://host/simple", "https://other/simple"), "conda": ("bioconda",)}
    assert found.extras == {"pypi": ("--pre", "--find-links /wheels", "--trusted-host host", "--no-index")}
    assert found.python == "<3.9,>=3.8"
    assert [r.place.line for r in found.deps["pypi"] if r.place] == [11, 13, 14, 15]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("six\n-r other.txt", "requirements.txt, line 2: '-r other.txt' is not a supported line; name all files"),
        ("-c", "line 1: '-c' is not a supported line; name a file of constraints"),
        ("-c https://me:secret@host/c.txt", "line 1: constraints are read from a file on .*, not from https://host/c"),
        ("-e .", "line 1: '-e .' is not a supported line; editable installs cannot be part"),
        ("--editable=.", "is not a supported line; editable"),
        ("a==1 \\\n --hash=sha512:00", "line 1: the digests .* cannot be compared .*--hash=sha256:.*found sha512:00"),
        ("--hash=sha256:00", "line 1: .* is not a supported line; digests stand behind a requirement"),
        ("--find-links", "'--find-links' is not a supported line; --find-links needs an argument"),
        ("--pre x", "'--pre x' is not a supported line"),
        ("--require-hashes", "is not a supported line"),
        ("\n\nhttps://me:secret@host/a.whl", "line 3: Could not parse 'https://host/a.whl'; an address or a directory"),
        (".", "Could not parse '.'; an address or a directory needs a name"),
        ("pandas=1.0", "Could not parse 'pandas=1.0'; write `==` for an exact version"),
        ("pandas==1.0 \\", "Could not parse .*; the line ends in a backslash"),
        ("--sys-pkg __foo==1", "'__foo' is not allowed: expected __cuda or __glibc, found '__foo'"),
        ("--sys-pkg __cuda", "'__cuda' requires a version"),
        ("--conda-pkg a b", "Could not parse 'a b'"),
        ("python; sys_platform == 'linux'", "the version of Python cannot depend on a marker"),
        ("caf\u00e9 @ https://host/x", "Could not parse"),
        ("a @ https://host/\u00e9", "line 1: a requirement is not ASCII"),
        ("--find-links https://host/t/SECRET/files/", "line 1: the address .* holds a token"),
    ],
)
def test_what_is_not_supported_is_refused_with_file_line_and_reason(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        read(text)
    assert "secret" not in str(caught.value).lower()


def test_constraints_and_digests_become_flags_of_the_request(tmp_path: Path) -> None:
    (tmp_path / "bounds").mkdir()
    (tmp_path / "bounds" / "c.txt").write_text(
        "Six_X >= 1, <2  # why\n\nb==1 ; os_name=='posix'\nany\nd==1 --hash=md5:0\n"
    )
    first, second = "0" * 64, "A" * 64
    text = f"-c bounds/c.txt\na.b[x]==1 \\\n  --hash=sha256:{second} \\\n  --hash=sha256:{first} # pinned\n"
    found = read_requirements_txt(text, SourcePosition(str(tmp_path / "r.txt")))
    assert found.values("pypi") == ["a.b[x]==1"]
    assert found.extras["pypi"] == (
        "--constraint six-x<2,>=1",
        '--constraint b==1; os_name == "posix"',
        "--constraint d==1",
        f"--hash a-b {first},{second.lower()}",
    )
    assert Flags.read(found.extras["pypi"]).hashes == {"a-b": {first, second.lower()}}
    (tmp_path / "bounds" / "c.txt").write_text("a==1\nb @ https://host/b-1.tar.gz\n")
    with pytest.raises(UsageError, match=r"bounds/c\.txt, line 2: .* is no constraint that can be kept"):
        read_requirements_txt(text, SourcePosition(str(tmp_path / "r.txt")))


def test_credentials_are_kept_apart_and_stand_in_no_request_message_or_repr() -> None:
    found = read(
        "--extra-index-url https://me:p%40ss@host:8443/simple\n-f https://tok@links/x\n"
        "a @ git+https://u:secret@git/a.git\nb @ git+ssh://git@git/b.git\n"
    )
    assert found.sources["pypi"] == ("https://host:8443/simple",)
    assert found.extras["pypi"] == ("-f https://links/x",)
    assert found.values("pypi") == ["a@git+https://git/a.git", "b@git+ssh://git@git/b.git"]
    assert found.auth == {"host:8443": ["me", "p@ss"], "links": ["tok", ""], "git": ["u", "secret"]}
    assert "secret" not in repr(found)
    with pytest.raises(UsageError, match=r"line 2: two addresses at host have different credentials") as caught:
        read("--extra-index-url https://a:one@host/x\n--extra-index-url https://a:two@host/y")
    assert "two@" not in str(caught.value)


def test_an_index_url_is_ignored_with_a_note_and_a_repeated_name_says_which_line_counts() -> None:
    found = read("-i https://host/simple\npandas>=1\npandas<2\n")
    assert not found.sources
    assert found.values("pypi") == ["pandas==<2"]
    assert found.notes[0].startswith("requirements.txt, line 1: -i is ignored")
    assert found.notes[1].startswith("requirements.txt, line 3: pandas is required twice: the last line counts")


def test_lines_of_one_package_with_different_markers_are_all_kept() -> None:
    found = read('numpy<2; python_version < "3.9"\nnumpy>=2; python_version >= "3.9"\n')
    assert found.values("pypi") == ['numpy==<2;python_version < "3.9"', 'numpy==>=2;python_version >= "3.9"']
    with pytest.raises(UsageError, match="line 2: numpy is required with several markers"):
        found.packages("pypi")


def test_several_extras_have_one_identity_however_they_are_written() -> None:
    texts = ["pandas[all,excel]", "pandas[excel,all]", "pandas[ excel , all ]", "pandas [excel,all]"]
    assert len({Request({"pypi": read(text).values("pypi")}).req_id for text in texts}) == 1


LINES = [
    "six==1.16.0",
    "pandas[b,a]>=1,<2",
    "idna",
    "--pre",
    "--extra-index-url https://host/simple",
    "certifi!=1,>=0.5",
]


@given(st.randoms(use_true_random=False), st.booleans())
def test_order_spacing_and_comments_do_not_matter_for_the_identity(shuffle: random.Random, spaced: bool) -> None:
    lines = list(LINES)
    shuffle.shuffle(lines)
    text = "\n".join(f"  {line.replace(',', ' , ')}  # why\n" if spaced and line[0] != "-" else line for line in lines)

    def req_id(found: Requirements) -> str:
        return Request({"pypi": found.values("pypi")}, found.sources, found.extras).req_id

    assert req_id(read(text)) == req_id(read("\n".join(LINES)))


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_with_its_line(text: str) -> None:
    try:
        read(text)
    except UsageError as exc:
        assert str(exc).startswith("requirements.txt")  # noqa: PT017 - most texts are refused, some are not


def test_equal_clauses_count_once_and_repeated_flags_every_time() -> None:
    found = read("six >= 1.0, >=1, ==1.4.0, == 1.4.0\n--pre\n--pre\n")
    assert found.values("pypi") == ["six==1.4.0,>=1.0"]
    assert found.extras == {"pypi": ("--pre", "--pre")}


def test_files_merge_and_two_pythons_are_refused() -> None:
    first, second = read("six==1\npython==3.11"), read("six==2\nidna\n--pre")
    merged = merge_requirements([first, second])
    assert merged.values("pypi") == ["six==2", "idna"]
    assert merged.python == "3.11"
    assert any("six is required twice" in note for note in merged.notes)
    with pytest.raises(UsageError, match=r"different Pythons: expected '3.11', found '3.12'"):
        merge_requirements([first, read("python==3.12")])


def test_relative_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my wheels").mkdir()
    monkeypatch.chdir("/")
    place = SourcePosition(str(tmp_path / "requirements.txt"))
    text = "--find-links ./my wheels\n-f https://host/links\n--find-links /tmp\nx @ file:./x-1.0-py3-none-any.whl\n"
    found = read_requirements_txt(text, place)
    assert found.extras["pypi"] == (
        f"--find-links {tmp_path.as_uri()}/my%20wheels", "-f https://host/links", "--find-links /tmp",
    )  # fmt: skip
    assert found.values("pypi") == [f"x@{tmp_path.as_uri()}/x-1.0-py3-none-any.whl"]
    with pytest.raises(UsageError, match=r"requirements.txt, line 1: '-f absent' leads to nothing"):
        read_requirements_txt("-f absent\n", place)
