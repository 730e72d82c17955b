"""The stand-ins run plain Metaflow flows as a cloud would: no asynccache in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cloud import Cloud, running_cloud
from tests.support.metaflow_venv import CannotInstallError, launch_venv
from tests.support.object_servers import weed_binary
from tests.support.testdata import REPOSITORY

FLOW = REPOSITORY / "tests" / "support" / "flows" / "plain_flow.py"

pytestmark = [
    pytest.mark.cloud,
    pytest.mark.timeout(600),
    pytest.mark.skipif(weed_binary() is None, reason="SeaweedFS is not installed"),
]


@pytest.fixture(scope="module")
def python() -> Path:
    try:
        return launch_venv(asynccache=False) / "bin" / "python"
    except CannotInstallError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["virtual environment", "changed root"])
def cloud(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cloud]:
    try:
        with running_cloud(tmp_path / "cloud", chroot=request.param == "changed root") as running:
            yield running
    except (LookupError, CannotInstallError) as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("service", ["batch", "kubernetes"])
def test_a_flow_that_fans_out_fails_once_and_joins_runs_in_containers(service: str, cloud: Cloud, python: Path) -> None:
    done = cloud.flow(python, FLOW, "run", "--with", service, "--max-workers", "2")

    assert not done.returncode, done.stdout
    found = cloud.look(python, "Flow('PlainFlow').latest_run['end'].task['all_found'].data")
    assert [(number, attempt) for number, attempt, _, _ in found] == [(0, 0), (1, 1), (2, 0)]
    homes = {home for *_, home in found}
    assert len(homes) == (1 if cloud.image.whole else 3)
    assert str(Path.home()) not in homes
    prefix = "/usr" if cloud.image.whole else str(cloud.image.root)
    assert {prefix_of_step for _, _, prefix_of_step, _ in found} == {prefix}
    containers = getattr(cloud, service).containers
    assert sorted(container.exit_code for container in containers) == [0] * 6 + [1]
    assert sum("the planned failure" in container.output for container in containers) == 1
