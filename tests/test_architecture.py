"""The rooms import downwards only, and what steps import stays light."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
# lowest first; a room may import itself and what stands before it
ROOMS = [
    "errors",
    "node",
    "boot",
    "model",
    "config",
    "runtime",
    "archive",
    "store",
    "engine",
    "catalog",
    "resolve",
    "hydrate",
    "ops",
    "api",
    "metaflow",
]
MODULES = sorted((REPOSITORY / "asynccache").rglob("*.py"))


def _imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{a.name}" for a in node.names)
        elif isinstance(node, ast.Import):
            names.update(a.name for a in node.names)
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_imports_go_downwards_only(path: Path) -> None:
    room = path.relative_to(REPOSITORY / "asynccache").parts[0].removesuffix(".py")
    if room not in ROOMS:
        return
    allowed = set(ROOMS[: ROOMS.index(room) + 1])
    wrong = {
        name
        for name in _imported(path)
        if name.startswith("asynccache.") and (other := name.split(".")[1]) in ROOMS and other not in allowed
    }
    assert not wrong


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_the_library_does_not_print_and_starts_no_task_of_its_own(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called != "print"
            assert called not in {"asyncio.create_task", "asyncio.ensure_future", "loop.create_task"}


COMMANDS = sorted((REPOSITORY / "cli" / "asynccache_cli").glob("*.py"))


@pytest.mark.parametrize("path", COMMANDS, ids=lambda p: p.stem)
def test_the_command_line_knows_verbs_settings_and_errors_only(path: Path) -> None:
    ours = {name for name in _imported(path) if name.split(".")[0] == "asynccache"}
    allowed = re.compile(r"asynccache(\.__version__|\.(api|config|errors)(\.[A-Za-z_]+)?)?")
    assert [name for name in sorted(ours) if not allowed.fullmatch(name)] == []


def _loaded_when(path: Path) -> tuple[set[str], set[str]]:
    """Return what of ours a module imports when it is loaded, and what later or for type checkers only."""
    tree = ast.parse(path.read_text("utf-8"))
    later = [
        node
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(outer, ast.If) and ast.unparse(outer.test) == "TYPE_CHECKING")
        for node in ast.walk(outer)
        if isinstance(node, ast.ImportFrom | ast.Import)
    ]
    found: tuple[set[str], set[str]] = (set(), set())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("asynccache"):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("asynccache")]
        else:
            continue
        found[node in later].update(name.split(".")[1] for name in names)
    return found


METAFLOW = sorted((REPOSITORY / "asynccache" / "metaflow").glob("*.py"))


@pytest.mark.parametrize("path", METAFLOW, ids=lambda p: p.stem)
def test_metaflows_front_loads_what_steps_have_and_calls_verbs_for_the_rest(path: Path) -> None:
    at_load, later = _loaded_when(path)
    assert at_load <= {"errors", "boot", "node", "metaflow"}
    assert later <= {"errors", "boot", "node", "metaflow", "api", "model", "config"}


def test_importing_the_package_loads_nothing_but_itself() -> None:
    code = "import sys; before = set(sys.modules); import asynccache; print(sorted(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "['asynccache']"


def test_the_root_module_is_readable_by_python_3_7() -> None:
    ast.parse((REPOSITORY / "asynccache" / "__init__.py").read_text("utf-8"), feature_version=(3, 7))


def test_a_command_on_a_local_directory_does_not_load_the_cloud() -> None:
    code = "import sys; import asynccache_cli.listing; print('aiobotocore' in sys.modules, 'aiohttp' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "False False"


@pytest.mark.parametrize(
    "path",
    [p for p in MODULES if p.parts[-2] in {"node", "boot"} or p.parts[-2:] == ("asynccache", "errors.py")],
    ids=lambda p: str(p.relative_to(REPOSITORY)),
)
def test_what_any_node_runs_is_python_3_7_and_imports_the_standard_library(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"), feature_version=(3, 7))
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [a.name for n in top if isinstance(n, ast.Import) for a in n.names]
    names += [n.module or "" for n in top if isinstance(n, ast.ImportFrom)]
    foreign = {name for name in names if name.split(".")[0] not in sys.stdlib_module_names}
    foreign |= {name for name in _imported(path) if name.startswith("asynccache.")}  # also where it is used
    assert all(name.startswith(("asynccache.node.", "asynccache.boot.", "asynccache.errors")) for name in foreign)


def test_one_module_takes_kernel_locks() -> None:
    takers = {
        str(path.relative_to(REPOSITORY))
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"flock", "lockf", "F_SETLK", "F_SETLKW"}
    }
    assert takers == {"asynccache/node/kernel_lock.py"}


# who reads JSON of its own making, of the user's own files, or where nothing of ours can be imported
READS_JSON_ITSELF = {"config", "metaflow"}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_json_of_others_is_read_in_one_place_and_works_are_run_in_one_way(path: Path) -> None:
    room, *inner = path.relative_to(REPOSITORY / "asynccache").parts
    used = {
        ast.unparse(node) for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Attribute)
    }
    if room not in READS_JSON_ITSELF and inner != ["json_text.py"]:
        assert not used & {"json.loads", "json.load", "json.JSONDecoder"}, "node.json_text reads it"
    if room != "runtime":
        assert not used & {"asyncio.TaskGroup", "asyncio.gather"}, "runtime.tasks runs works"
