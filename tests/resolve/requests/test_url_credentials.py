"""What of an address is a secret, where it is kept apart, and how it gets back into a request."""

from pathlib import Path
from typing import Any

import pytest

from asynccache.config import Settings
from asynccache.engine.credentials import HostCredentials
from asynccache.errors import ConfigurationError, UsageError
from asynccache.model.identity import Request
from asynccache.model.url import PackageURL, secrets_in, unsigned
from asynccache.resolve.explain import scrubbed, secrets_of
from asynccache.resolve.formats.registry import format_named
from asynccache.resolve.formats.requirements_txt import read_requirements_txt
from asynccache.resolve.pypi.problem import Logins
from asynccache.resolve.requests.assemble import Machine, assemble
from asynccache.resolve.requests.older_ids import older_ids
from asynccache.resolve.requests.requirements import Collector, Requirements
from asynccache.resolve.requests.source_position import SourcePosition
from asynccache.resolve.requests.url_credentials import logins_in, split_credentials, take_logins

WHEEL = "https://h.test/demo-1.0-py3-none-any.whl"
SIGNED = f"{WHEEL}?sv=2024&sig=s3cret%2B&se=2030"


@pytest.mark.parametrize(
    "query",
    [
        "sig=1", "sp=r&st=a&se=b&spr=https&sv=c&sr=b&sig=d%3D", "token=1", "access_token=1", "private_token=1",
        "X-Amz-Algorithm=a&X-Amz-Credential=b&X-Amz-Date=c&X-Amz-Expires=1&X-Amz-SignedHeaders=host&X-Amz-Signature=d",
        "AWSAccessKeyId=a&Signature=b&Expires=1", "Expires=1&Signature=a&Key-Pair-Id=b", "Policy=a&Signature=b",
        "X-Goog-Algorithm=a&X-Goog-Credential=b&X-Goog-Signature=c", "GoogleAccessId=a&Expires=1&Signature=b",
        "OSSAccessKeyId=a&Signature=b&Expires=1", "q-sign-algorithm=a&q-ak=b&q-signature=c", "s%69g=1", "api_key=1",
    ],
)  # fmt: skip
def test_signatures_and_tokens_of_all_kinds_are_no_part_of_an_address(query: str) -> None:
    assert unsigned(f"{WHEEL}?{query}#sha256=ab") == f"{WHEEL}#sha256=ab"
    assert unsigned(f"https://h.test/get?file=demo.whl&{query}") == "https://h.test/get?file=demo.whl"


@pytest.mark.parametrize(
    "address",
    [
        f"{WHEEL}?raw=true", "https://h.test/archive?ref=v1&path=a.zip", "https://h.test/get?se=de&sp=x",
        f"{WHEEL}#sha256=ab", "git+https://h.test/x.git@v1#subdirectory=a?sig=b", "conda-forge", "/a?sig=1",
    ],
)  # fmt: skip
def test_what_says_which_file_is_meant_stays(address: str) -> None:
    assert unsigned(address) == address


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("requirements.txt", "demo @ {}\n"),
        ("environment.yml", "dependencies:\n  - pip:\n    - demo @ {}\n"),
        ("pyproject.toml", '[project]\nname = "x"\nversion = "1"\ndependencies = ["demo @ {}"]\n'),
    ],
)
def test_every_format_keeps_a_signature_apart(name: str, text: str) -> None:
    found = format_named(name).read_requirements(text.format(SIGNED + "#sha256=ab"), SourcePosition(name))
    assert found.values("pypi") == [f"demo@{WHEEL}#sha256=ab"]
    assert found.auth == {WHEEL: [SIGNED]}


def test_a_decorator_keeps_a_signature_apart() -> None:
    found = Requirements.of({"pypi": {f"demo@{SIGNED}": ""}}, sources={"conda": ["https://h.test/t/tk/ch"]})
    assert (found.values("pypi"), found.sources) == ([f"demo@{WHEEL}"], {"conda": ("https://h.test/ch",)})
    assert found.auth == {WHEEL: [SIGNED], "https://h.test/ch": ["https://h.test/t/tk/ch"]}


def test_the_addresses_of_a_lock_are_known_with_their_secrets() -> None:
    package = "https://u:p@h.test/t/tk/ch/noarch/a-1-0.conda"
    text = f'url = "{SIGNED}"\n- {package}#0f\n{{"url": "https://other.test/t/x/b.whl"}}'
    public = "https://h.test/ch/noarch/a-1-0.conda"
    assert logins_in(text) == {
        WHEEL: [SIGNED], "h.test": ["u", "p"], public: [package.replace("u:p@", "")],
    }  # fmt: skip


def test_of_two_signatures_the_last_counts_and_two_logins_contradict_each_other() -> None:
    known = {WHEEL: [SIGNED], "h.test": ["u", "p"]}
    assert take_logins(known, {WHEEL: [f"{WHEEL}?sig=2"]}) is None
    assert known[WHEEL] == [f"{WHEEL}?sig=2"]
    assert take_logins(known, {"h.test": ["u", "q"]}) == "h.test"


def test_a_request_has_what_was_kept_apart() -> None:
    _, auth = split_credentials(SIGNED)
    _, more = split_credentials("https://h.test:8443/c/t/tk/ch", channel=True)
    credentials = HostCredentials({**auth, **more})
    for text, path, query in (
        (WHEEL, "/demo-1.0-py3-none-any.whl", "sv=2024&sig=s3cret%2B&se=2030"),
        ("https://h.test:8443/c/ch/noarch/a-1-0.conda", "/c/t/tk/ch/noarch/a-1-0.conda", ""),
        ("https://h.test:8443/c/ch2/noarch/a-1-0.conda", "/c/ch2/noarch/a-1-0.conda", ""),
        ("https://h.test/c/ch/noarch/a-1-0.conda", "/c/ch/noarch/a-1-0.conda", ""),
        (f"{WHEEL}?sig=own", "/demo-1.0-py3-none-any.whl", "sig=own"),
    ):
        url, access = PackageURL.parse(text)
        access = credentials.access(url, access)
        assert (access.requested(url).path, access.query) == (path, query)
    assert credentials.with_secret(f"{WHEEL}#sha256=ab") == f"{SIGNED}#sha256=ab"
    with pytest.raises(ConfigurationError, match="address with its token or signature"):
        HostCredentials({WHEEL: ["a", "b", "c"]})


def test_what_was_kept_apart_is_taken_out_of_what_programs_say() -> None:
    assert secrets_in(SIGNED) == ["2024", "s3cret%2B", "s3cret+", "2030"]
    auth = {WHEEL: [SIGNED], "h.test": ["u", "pw"], "https://h.test/ch": ["https://h.test/t/tk9/ch"]}
    assert scrubbed("with s3cret+ and s3cret%2B and pw and tk9", secrets_of(auth)) == "with *** and *** and *** and ***"


def test_an_index_with_a_token_is_refused() -> None:
    with pytest.raises(UsageError, match="holds a token"):
        split_credentials("https://h.test/t/tk/index/")


def test_a_channel_of_the_settings_with_a_token_is_named_without() -> None:
    private = "https://conda.anaconda.org/t/tk/cf"
    machine = Machine("linux-64", "3.11.7", (), (), (private,))
    asked = Requirements.of({"conda": {"a": "1"}})
    options: dict[str, Any] = {"arches": ["linux-64"], "settings": Settings(), "datastore": None, "machine": machine}
    found = assemble(asked, **options)["linux-64"]
    assert found.request.sources["conda"] == ["cf"]
    assert found.auth == {"https://conda.anaconda.org/cf": [private]}


@pytest.mark.usefixtures("no_netrc")
def test_a_request_is_also_known_by_the_ids_that_others_compute_with_what_this_machine_knows() -> None:
    """Other writers call a channel at conda.anaconda.org with a token `t` (their vector 552)."""
    auth = {
        "https://conda.anaconda.org/cf": ["https://conda.anaconda.org/t/tk/cf"],
        "https://h.test/ch": ["https://h.test/t/tk/ch"], "h.test": ["u", "p@"], WHEEL: [SIGNED],
    }  # fmt: skip
    pypi = [f"demo@{WHEEL};os_name == 'posix'", "six==1"]

    def written(first: str, second: str, wheel: str) -> str:
        deps = {"conda": ["a==1"], "pypi": [f"demo@{wheel};os_name == 'posix'", "six==1"]}
        return Request(deps, {"conda": [first, second]}).req_id

    request = Request({"conda": ["a==1"], "pypi": pypi}, {"conda": ["cf", "https://h.test/ch"]})
    assert older_ids(request, Settings(auth=auth)) == [
        written("t", "https://h.test/t/tk/ch", SIGNED),
        written("cf", "https://u:p%40@h.test/ch", WHEEL.replace("h.test", "u:p%40@h.test")),
        written("t", "https://u:p%40@h.test/t/tk/ch", SIGNED.replace("h.test", "u:p%40@h.test")),
    ]
    assert older_ids(request, Settings()) == []


@pytest.fixture
def no_netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))


def test_variables_are_recorded_by_name_and_sent_with_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHO", "me:p%40w")
    monkeypatch.setenv("TEAM", "own")
    monkeypatch.setenv("TOKEN", "tk-1")
    collector = Collector()
    collector.source("pypi", "https://${WHO}@host/${TEAM}/simple")
    collector.source("conda", "https://channels/t/${TOKEN}/${TEAM}")
    found = collector.result()
    assert found.sources == {"pypi": ("https://host/${TEAM}/simple",), "conda": ("https://channels/${TEAM}",)}
    assert found.auth == {
        "host": ["me", "p@w"],
        "https://channels/${TEAM}": ["https://channels/t/tk-1/own"],
    }
    assert found.written["https://host/${TEAM}/simple"] == "https://${WHO}@host/${TEAM}/simple"
    logins = Logins(dict(found.auth))
    assert logins.address("https://host/${TEAM}/simple") == "https://me:p%40w@host/own/simple"
    assert {"p@w", "own"} <= set(logins.secrets(found.sources["pypi"]))


@pytest.mark.parametrize(
    "line",
    ["--extra-index-url https://${ABSENT}@host/simple", "a @ https://host/${ABSENT}/a.whl", "--find-links ${ABSENT}"],
)
def test_a_variable_that_is_not_set_is_refused_by_name_and_line(line: str) -> None:
    with pytest.raises(UsageError, match=r"r.txt, line 2: .* needs the variable ABSENT, which is not set"):
        read_requirements_txt(f"six\n{line}\n", SourcePosition("r.txt"))
