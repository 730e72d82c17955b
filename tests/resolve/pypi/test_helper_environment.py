"""Environments below those of PyPI packages: what they have in addition, and whom it knows."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from asynccache.config import Settings
from asynccache.engine import keyring
from asynccache.engine.credentials import HostCredentials
from asynccache.errors import IndexRefusedError, PackageUnknownError
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.url import PackageURL
from asynccache.resolve.mixed import BuiltinMixedResolver
from asynccache.resolve.pypi.helper_environment import builder_environment, helper_request, solve_helper
from asynccache.resolve.pypi.pip_resolver import PipResolver
from asynccache.resolve.pypi.resolver import PypiResolver
from asynccache.resolve.pypi.uv_resolver import UvResolver
from tests.support.keyring import write_keyring
from tests.support.pypi_index import PyPIIndex, write_distribution
from tests.support.pypi_problems import HERE, helper_conda, pypi_problem

PYTHON = "{}.{}.*".format(*sys.version_info)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(keyring, "_FURTHER", {})
    return Settings(cache_dir=tmp_path / "cache", attempts=1, builder_env_packages=["needs-python"])


@pytest.mark.parametrize(
    ("kind", "user"), [(UvResolver, "me@"), (UvResolver, ""), (PipResolver, ""), (BuiltinMixedResolver, "")]
)
async def test_its_keyring_answers_for_private_indexes(
    kind: type[PypiResolver], user: str, settings: Settings, tmp_path: Path
) -> None:
    assert shutil.which("keyring") is None
    made: list[ResolvedEnvironment] = []

    async def prefix(environment: ResolvedEnvironment) -> Path:
        made.append(environment)
        programs = write_keyring(tmp_path / "bin", index.host, "me", "of-the-cloud", by_address=True)
        python = programs / "python"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', "utf-8")
        python.chmod(0o755)
        return tmp_path

    with PyPIIndex(tmp_path / "index", login=("me", "of-the-cloud")) as index:
        write_distribution(index.directory, "lib")
        conda = ["b"] if kind is BuiltinMixedResolver else []
        environment_type = "mixed" if conda else "pypi-only"
        problem = pypi_problem(
            "lib", indexes=[index.url], python=PYTHON, conda=conda, environment_type=environment_type
        )
        auth = {index.host: ["me", ""]} if user else {}
        solver = kind(replace(settings, auth=auth), prefix=prefix, conda=helper_conda(settings))
        found = await solver.resolve(problem)
        assert "lib-1.0-py3-none-any" in {package.filename for package in found.packages}
        assert "needs-python-1.0-0" in {package.filename for package in made[-1].packages}
        assert "of-the-cloud" not in repr(found)
        # files are fetched with it as well
        credentials = HostCredentials({}, Path(os.devnull))
        url, access = PackageURL.parse(index.file_url("lib-1.0-py3-none-any.whl"))
        assert credentials.ask_keyring(url, access, None)
        if kind is UvResolver:
            index.login = ("me", "another")
            with pytest.raises(IndexRefusedError, match="refuses"):
                await kind(settings, prefix=prefix, conda=helper_conda(settings)).resolve(problem)


async def test_what_it_has_by_default_and_no_channel_has_is_left_out_with_a_note(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = pypi_problem("lib")
    plain = replace(settings, builder_env_packages=[])
    expected = await solve_helper(problem, plain, helper_conda(settings))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/login.json")
    default = Settings(cache_dir=settings.cache_dir)
    found = await solve_helper(problem, default, helper_conda(settings))
    assert found.packages == expected.packages
    assert "keyrings.google-artifactregistry-auth" in found.notes[-1]
    assert "GOOGLE_APPLICATION_CREDENTIALS is set" in found.notes[-1]
    known_as = builder_environment(problem.request, HERE, found.packages, default).id.req_id
    assert known_as == helper_request(problem.request, plain).req_id
    wanted = replace(settings, builder_env_packages=["needs-python", "nothing-like-it"])
    with pytest.raises(PackageUnknownError, match=r"'nothing-like-it'.*the setting builder_env_packages asks for"):
        await solve_helper(problem, wanted, helper_conda(settings))
    assert helper_request(problem.request, settings).req_id != known_as
