"""Channels as conda's programs would print them, read without them."""

from pathlib import Path

import pytest

from asynccache.engine.conda_files import configuration_files
from asynccache.errors import ConfigurationError
from asynccache.resolve.conda.configuration import read_conda_configuration

PRIVATE = "https://packages.test/t/tk-1/team"


def read(home: Path, content: str = "", **variables: str) -> tuple[list[str], dict[str, list[str]]]:
    """Return what is printed and what addresses hold, with one file of the user's."""
    (home / ".condarc").write_text(content)
    environ = {"HOME": str(home), "CONDA_SUBDIR": "linux-64", **variables}
    files = [path for path in configuration_files(environ) if path.is_relative_to(home.parent)]
    found = read_conda_configuration(files, environ)
    return found.printed(), found.auth()


def both(*addresses: str) -> list[str]:
    return [f"{address}/{subdir}" for address in addresses for subdir in ("linux-64", "noarch")]


@pytest.mark.parametrize(
    ("content", "variables", "addresses"),
    [
        ("", {}, []),
        ("channels: [acme, conda-forge]", {}, ["https://conda.anaconda.org/acme", "https://conda.anaconda.org/conda-forge"]),
        ("channels: [acme/label/dev]", {}, ["https://conda.anaconda.org/acme/label/dev"]),
        ("channels: acme", {}, ["https://conda.anaconda.org/acme"]),
        ("channels: ['https://h.test/ch/linux-64/']", {}, ["https://h.test/ch"]),
        ("channels: [acme]\nchannel_alias: https://mirror.test/conda/", {}, ["https://mirror.test/conda/acme"]),
        ("channels: [defaults]", {}, ["https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r"]),
        ("channels: [defaults]\ndefault_channels: ['https://h.test/main', acme]", {},
         ["https://h.test/main", "https://conda.anaconda.org/acme"]),
        ("channels: [team, team/label/x]\ncustom_channels: {team: 'https://h.test/conda'}", {},
         ["https://h.test/conda/team", "https://h.test/conda/team/label/x"]),
        ("channels: [all, acme]\ncustom_multichannels: {all: ['https://h.test/a', acme]}", {},
         ["https://h.test/a", "https://conda.anaconda.org/acme"]),
        ("channels: [/srv/ch]", {}, ["file:///srv/ch"]),
        ("channels: ['https://${NAME}.test/$NAME', '$GONE']", {"NAME": "h"},
         ["https://h.test/h", "https://conda.anaconda.org/$GONE"]),
        ("channels: [acme]", {"CONDA_CHANNELS": "first, acme"},
         ["https://conda.anaconda.org/first", "https://conda.anaconda.org/acme"]),
        ("channels: [acme]", {"CONDA_CHANNEL_ALIAS": "https://m.test"}, ["https://m.test/acme"]),
    ],
)  # fmt: skip
def test_channels_are_printed_as_conda_prints_them(
    tmp_path: Path, content: str, variables: dict[str, str], addresses: list[str]
) -> None:
    assert read(tmp_path, content, **variables)[0] == both(*addresses)


def test_tokens_are_masked_and_kept_apart(tmp_path: Path) -> None:
    printed, auth = read(tmp_path, f"channels: ['{PRIVATE}', 'https://u:pw@h.test/ch']")
    assert printed == both("https://packages.test/t/<TOKEN>/team", "https://u:pw@h.test/ch")
    assert auth == {"https://packages.test/team": [PRIVATE], "h.test": ["u", "pw"]}


def test_the_file_that_counts_most_comes_first(tmp_path: Path) -> None:
    home, active, named = tmp_path / "home", tmp_path / "active", tmp_path / "named.yml"
    (home / ".conda").mkdir(parents=True)
    (active / "condarc.d").mkdir(parents=True)
    (home / ".conda" / "condarc").write_text("channels: [a]\nchannel_alias: https://a.test\n")
    (home / ".mambarc").write_text("channels: [c, a]\n")
    (active / "condarc.d" / "1.yml").write_text("channels: [d]\nchannel_alias: https://d.test\n")
    named.write_text("channels: [e]\n")
    variables = {"CONDA_PREFIX": str(active), "CONDARC": str(named)}
    assert read(home, "channels: [b]", **variables)[0] == both(*(f"https://d.test/{name}" for name in "edcab"))


def test_a_malformed_file_is_named_without_its_lines(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"\.condarc cannot be read") as caught:
        read(tmp_path, "channels: ['https://h/t/hidden/x'\nx: y: z")
    assert "hidden" not in str(caught.value)
