"""A URL that can be recorded cannot carry a secret."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynccache.errors import UsageError
from asynccache.model.url import PackageURL, holds_token, redacted, without_credentials

SECRET = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=6, max_size=20).map(lambda s: "Zq" + s)


@given(SECRET, SECRET, SECRET)
def test_no_part_of_a_parsed_url_shows_user_password_or_query(user: str, password: str, query: str) -> None:
    text = f"https://{user}:{password}@host.test:8443/c/noarch/a-1-0.conda?sig={query}#frag"
    url, access = PackageURL.parse(text)
    shown = f"{url} {url!r} {access!r} {access} {url.origin} {url.netloc} {redacted(text)}"
    for secret in (user, password, query):
        assert secret not in shown
    assert (access.username, access.password, access.query) == (user, password, f"sig={query}")


def test_hosts_are_lower_case_and_ports_kept_as_written() -> None:
    url, _ = PackageURL.parse("https://Conda.Priv.TEST:8443/t/xx/ch/a.conda")
    assert url.netloc == "conda.priv.test:8443"
    assert PackageURL.parse("https://[::1]:80/a/b.conda")[0].netloc == "[::1]:80"


def test_percent_encoding_is_kept_in_the_path_and_decoded_in_the_file_name() -> None:
    url, _ = PackageURL.parse("https://h/ch/noarch/foo%2Bbar-1-0.tar.bz2")
    assert url.path == "/ch/noarch/foo%2Bbar-1-0.tar.bz2"
    assert url.filename == "foo+bar-1-0.tar.bz2"


@pytest.mark.parametrize(
    "text",
    [
        "numpy", "ftp://h/a.conda", "https:///a.conda", "https://h", "https://h/", "https://h:port/a.conda",
        "https://h/a/../b.conda", "https://h/%2e%2e/b.conda",
    ],
)  # fmt: skip
def test_what_is_no_package_url_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        PackageURL.parse(text)


def test_a_refusal_does_not_repeat_the_password() -> None:
    with pytest.raises(UsageError) as caught:
        PackageURL.parse("ftp://me:s3cret@h/a.conda")
    assert "s3cret" not in str(caught.value)


def test_conda_tokens_are_not_shown_in_messages() -> None:
    assert redacted("see https://h/t/abc-123/ch/x.conda") == "see https://h/t/***/ch/x.conda"


def test_a_token_is_no_part_of_a_conda_package_and_goes_back_to_where_it_stood_for_the_request() -> None:
    url, access = PackageURL.parse("https://h.test/conda/t/tk-s3cret/ch/noarch/a-1-0.conda")
    assert str(url) == "https://h.test/conda/ch/noarch/a-1-0.conda"
    assert "s3cret" not in f"{url!r} {access!r} {access}"
    assert str(access.requested(url)) == "https://h.test/conda/t/tk-s3cret/ch/noarch/a-1-0.conda"


@pytest.mark.parametrize(
    "text",
    [
        "https://files.test/packages/source/t/tqdm/tqdm-4.66.1.tar.gz",
        "https://files.test/t/tqdm/tqdm-4.66.1-py3-none-any.whl",
        "https://index.test/t/team/simple/",
    ],
)
def test_on_the_way_to_a_pypi_file_t_is_a_directory(text: str) -> None:
    assert not holds_token(text)
    assert redacted(f"see {text}, please") == f"see {text}, please"
    assert without_credentials(text) == text
    if not text.endswith("/"):
        assert str(PackageURL.parse(text)[0]) == text


@pytest.mark.parametrize("user", ["****:****@", "****@", "********:x@"])
def test_a_user_that_another_program_masked_is_none(user: str) -> None:
    assert not PackageURL.parse(f"https://{user}h.test/ch/noarch/a-1-0.conda")[1]


def test_documents_hold_addresses_without_credentials_and_signatures() -> None:
    assert without_credentials("https://me:pw@h/t/tk/ch") == "https://h/ch"
    assert without_credentials("https://h/f/a-1.whl?sig=1#sha256=2", query=True) == "https://h/f/a-1.whl#sha256=2"
    assert without_credentials("git+https://h/x.git@1?a=b#subdirectory=c", query=True).endswith("?a=b#subdirectory=c")
    assert without_credentials("conda-forge") == "conda-forge"
