"""What a killed run left of its servers is removed by the next one."""

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support import object_servers


def test_only_what_nobody_uses_any_more_is_removed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    for name in (f"asynccache-objects-{ended.pid}-a", f"asynccache-objects-{os.getpid()}-b", "other"):
        (tmp_path / name).mkdir()
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as listening:
        names = ("seaweedfs-used-1.sock", "seaweedfs-left-2.sock", "seaweedfs-new-3.sock")
        listening.bind(f"{short}/{names[0]}")
        listening.listen()
        for name in names[1:]:
            with socket.socket(socket.AF_UNIX) as left:
                left.bind(f"{short}/{name}")
        for name in names[:2]:
            os.utime(f"{short}/{name}", (1, 1))
        object_servers._remove_what_killed_runs_left(tmp_path, Path(short))
        assert sorted(path.name for path in Path(short).iterdir()) == sorted((names[0], names[2]))
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"asynccache-objects-{os.getpid()}-b", "other"]
