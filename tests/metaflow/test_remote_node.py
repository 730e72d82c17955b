"""Tasks that share a node share its environments; command lines of flows that were deployed before keep working."""

import re
from pathlib import Path

import pytest

from tests.metaflow.remote import remote_bed
from tests.support.sandbox import run

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(2400)]
WIDTH = 50
OURS = re.compile(r"\( python -m asynccache\.boot \S+ (\w+):(\w+) .*? (?:\S+ )?\./__conda_python")
# what follows the code package in commands that the other extension wrote (contract, section 9.1)
OTHERS = (
    "export CONDA_START=$(date +%s) && echo 'Bootstrapping environment ...' && "
    'python -m metaflow_extensions.netflixext.plugins.conda.remote_bootstrap "OneStepFlow" "start" {} {} s3 && '
    "export _METAFLOW_CONDA_ENV=$(cat _env_id) && export MF_ORIG_PYTHONPATH=$PYTHONPATH && "
    "export PYTHONPATH=$(pwd)/_escape_trampolines:$(echo $PYTHONPATH | cut -d: -f1) && "
    "export LD_LIBRARY_PATH=$(cat _env_path)/lib && echo 'Environment bootstrapped.' && "
    "export CONDA_END=$(date +%s) && ./__conda_python"
)


def test_fifty_tasks_on_one_node_make_their_environment_once(tmp_path: Path) -> None:
    node = tmp_path / "node"
    node.mkdir()
    with remote_bed(
        tmp_path / "bed", chroot=False, node_variables={"XDG_CACHE_HOME": str(node)}, volumes=(node,), at_once=4
    ) as bed:
        bed.flow("wide_flow.py", "run", "--with", "batch", "--width", str(WIDTH), "--max-workers", "4")

        found = bed.artifact("WideFlow", "join", "all_found")
        assert len(found) == WIDTH
        assert len({prefix for _, prefix in found}) == 1
        assert found[0][1].startswith(str(node))
        outputs = [container.output for container in bed.containers]
        assert sum("Environment made from its pack" in output for output in outputs) == 1
        assert sum("Environment was there" in output for output in outputs) == WIDTH - 1


def test_the_command_of_a_flow_that_was_deployed_with_the_other_extension_runs(tmp_path: Path) -> None:
    with remote_bed(tmp_path / "bed", chroot=False) as bed:
        bed.flow("one_step_flow.py", "run", "--with", "batch")
        first = bed.containers[0]
        found = OURS.search(first.command[-1])
        assert found is not None, first.command[-1]
        text = first.command[-1].replace(found.group(0), OTHERS.format(*found.groups()))

        again = run(bed.cloud.image, tmp_path / "again", [*first.command[:-1], text], first.environment)

        assert again.exit_code == 0, again.output
        assert "Environment made from its pack" in again.output
        assert again.file("metaflow/.metaflow/conda_v2.cnd").exists()
