"""The rooms import downwards only, and what steps import stays light."""

import ast
import re
import subprocess
import sys
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

import pytest

from asynccache.node.store_kinds import KINDS

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
# inside `resolve`, lowest first; what lies beside them may import from all of them, and they from the seams only
ROOMS_OF_RESOLVE = ["requests", "formats", "pypi", "conda", "build"]
SEAMS_OF_RESOLVE = ["resolver", "explain", "program"]
MODULES = sorted((REPOSITORY / "asynccache").rglob("*.py"))
# on one worker, so that each module is parsed once
pytestmark = pytest.mark.xdist_group("architecture")


@pytest.fixture(scope="module", autouse=True)
def _forget_nodes() -> Iterator[None]:
    yield
    _nodes.cache_clear()


@cache
def _nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(path.read_text("utf-8"))))


def _imported(path: Path) -> set[str]:
    names = set()
    for node in _nodes(path):
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


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "asynccache" / "resolve").glob("*/*.py")), ids=lambda p: f"{p.parent.name}/{p.name}"
)
def test_imports_inside_resolve_go_downwards_only(path: Path) -> None:
    allowed = {*ROOMS_OF_RESOLVE[: ROOMS_OF_RESOLVE.index(path.parent.name) + 1], *SEAMS_OF_RESOLVE}
    names = {name.split(".")[2] for name in _imported(path) if name.startswith("asynccache.resolve.")}
    assert names <= allowed


def test_no_modules_import_each_other_in_a_circle_not_even_later() -> None:
    modules = {_name(path): path for path in MODULES}
    graph = {name: _needed(path, modules.keys()) - {name} for name, path in modules.items()}
    while free := [name for name, wanted in graph.items() if not wanted & graph.keys()]:
        for name in free:
            del graph[name]
    while free := [name for name in graph if all(name not in wanted for wanted in graph.values())]:
        for name in free:  # these only lead into a circle
            del graph[name]
    assert sorted(graph) == []


def _needed(path: Path, modules: Collection[str]) -> set[str]:
    """Return which modules one imports at any time, but for type checkers."""
    nodes, found = _nodes(path), set[str]()
    unseen = {
        id(node)
        for outer in nodes
        if isinstance(outer, ast.If) and ast.unparse(outer.test) == "TYPE_CHECKING"
        for node in ast.walk(outer)
    }
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module and id(node) not in unseen:
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            found.update(name if name in modules else node.module for name in names)
    return found


def _name(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_the_library_does_not_print_and_starts_no_task_of_its_own(path: Path) -> None:
    for node in _nodes(path):
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
    nodes = _nodes(path)
    later = [
        node
        for outer in nodes
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(outer, ast.If) and ast.unparse(outer.test) == "TYPE_CHECKING")
        for node in ast.walk(outer)
        if isinstance(node, ast.ImportFrom | ast.Import)
    ]
    found: tuple[set[str], set[str]] = (set(), set())
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("asynccache"):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("asynccache")]
        else:
            continue
        found[node in later].update(name.split(".")[1] for name in names)
    return found


METAFLOW = sorted((REPOSITORY / "asynccache" / "metaflow").rglob("*.py"))


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
        for node in _nodes(path)
        if isinstance(node, ast.Attribute) and node.attr in {"flock", "lockf", "F_SETLK", "F_SETLKW"}
    }
    assert takers == {"asynccache/node/kernel_lock.py"}


# what nodes run and steps load has no clock; of the rest, who must know real time
ROOMS_WITHOUT_A_CLOCK = {"node", "boot", "metaflow"}
REAL_TIME = {
    "runtime/clock.py": "is the clock",
    "catalog/collection.py": "waits until a claim ends, by the store's time",
    "catalog/local.py": "waits in a thread for files that other processes have open",
    "ops/doctor.py": "measures this machine",
    "resolve/conda/rattler_solver.py": "waits for another solve of the library",
}


def test_time_is_asked_of_the_clock_at_hand() -> None:
    asked = set()
    for path in MODULES:
        name = path.relative_to(REPOSITORY / "asynccache")
        text = path.read_text("utf-8").replace("asyncio.sleep(0)", "None")  # it lets others run, and waits for nothing
        used = {ast.unparse(node) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)}
        if used & {"asyncio.sleep", "time.sleep", "time.monotonic", "time.perf_counter"}:
            asked.add(name.as_posix())
    assert {name for name in asked if name.split("/")[0] not in ROOMS_WITHOUT_A_CLOCK} == REAL_TIME.keys()


@pytest.mark.parametrize("room", ["resolve", "hydrate"])
def test_who_makes_environments_is_given_what_it_needs_and_no_engine(room: str) -> None:
    paths = (REPOSITORY / "asynccache" / room).rglob("*.py")
    assert [str(path) for path in paths if "asynccache.engine.engine" in _imported(path)] == []


# what a kind of store consists of: the table, the settings, what speaks with the service, and who asks it
OF_A_KIND = re.compile(
    r"asynccache/(node/(store_kinds|settings_table|aws_client|azure_account|google_account)"
    r"|(store|boot)/(s3|azure|google)\w*)\.py"
)
SETTING_OF_A_KIND = re.compile(r"(s3|azure|google)_\w+")


@pytest.mark.parametrize("path", [*MODULES, *COMMANDS], ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_which_kind_a_store_is_is_decided_in_the_table_of_kinds(path: Path) -> None:
    name = path.relative_to(REPOSITORY).as_posix()
    if OF_A_KIND.fullmatch(name):
        return
    words = {word for kind in KINDS.values() for word in (kind.name, *kind.schemes)}
    words |= {f"{word}://" for word in words}
    nodes = _nodes(path)
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    modules = {f"{name}.py".replace(".", "/", name.count(".")) for name in _imported(path)}
    assert words & texts == set(), "node.store_kinds knows kinds, schemes and what goes with them"
    assert [attr for attr in attributes if SETTING_OF_A_KIND.fullmatch(attr)] == [], "Settings.other_root, provider_of"
    assert [each for each in modules if re.match("asynccache/(store|boot)/", each) and OF_A_KIND.fullmatch(each)] == []


# who reads JSON of its own making, of the user's own files, or where nothing of ours can be imported
READS_JSON_ITSELF = {"config", "metaflow"}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_json_of_others_is_read_in_one_place_and_works_are_run_in_one_way(path: Path) -> None:
    room, *inner = path.relative_to(REPOSITORY / "asynccache").parts
    used = {ast.unparse(node) for node in _nodes(path) if isinstance(node, ast.Attribute)}
    if room not in READS_JSON_ITSELF and inner != ["json_text.py"]:
        assert not used & {"json.loads", "json.load", "json.JSONDecoder"}, "node.json_text reads it"
    if room != "runtime":
        assert not used & {"asyncio.TaskGroup", "asyncio.gather"}, "runtime.tasks runs works"
