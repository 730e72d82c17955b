"""A URL that can be recorded cannot carry a secret."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynccache.errors import UsageError
from asynccache.model.url import PackageURL, redacted

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
