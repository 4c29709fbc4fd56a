"""The arrows of the design, read from the imports; and what importing pajax leaves alone."""

import ast
import functools
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import pajax as px

ROOT = Path(px.__file__).parent
FILES = {path.relative_to(ROOT).as_posix(): path for path in sorted(ROOT.rglob("*.py"))}
PUBLIC = [px.agents, px.bounds, px.games, px.mechanisms, px.plotting, px.statistics]


@functools.cache
def tree(name: str) -> ast.Module:
    return ast.parse(FILES[name].read_text())


def imports(name: str) -> set[str]:
    """Every name imported in a file, dotted: `from a import b` gives a.b."""
    found = set()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_imports(name: str) -> set[str]:
    """Files of the package that a file imports; a package's name stands for its __init__."""
    found = set()
    for dotted in imports(name):
        words = dotted.split(".")
        if words[0] != "pajax":
            continue
        for end in range(len(words), 0, -1):
            stem = "/".join(words[1:end])
            candidates = (f"{stem}.py", f"{stem}/__init__.py".lstrip("/"))
            match = [candidate for candidate in candidates if candidate in FILES]
            if match:
                found.update(match)
                break
    # `from pajax import __version__` inside a function looks at the package, not through it
    return found - {"__init__.py"}


def reached(name: str) -> set[str]:
    """All files that a file imports, directly or not."""
    found, left = set(), {name}
    while left:
        at = left.pop()
        found.add(at)
        left |= own_imports(at) - found
    return found - {name}


def importers(package: str) -> set[str]:
    return {name for name in FILES if any(x.split(".")[0] == package for x in imports(name))}


def studies(*names: str) -> set[str]:
    return {f"studies/{name}.py" for name in names}


def test_the_reader_of_imports_reads():
    assert {"lanes.py", "planning.py", "agents/base.py"} <= own_imports("agents/best_response.py")
    assert {"agents/__init__.py", "studies/study.py", "plotting/__init__.py"} <= own_imports(
        "__init__.py"
    )
    assert "draws.py" in reached("studies/study.py")


def test_agents_and_mechanisms_do_not_know_each_other():
    for one, other in (("agents/", "mechanisms/"), ("mechanisms/", "agents/")):
        for name in FILES:
            if name.startswith(one):
                assert not [x for x in reached(name) if x.startswith(other)], name


def test_only_plotting_knows_matplotlib():
    assert "plotting/style.py" in importers("matplotlib")
    assert all(name.startswith("plotting/") for name in importers("matplotlib"))


def test_xarray_begins_with_results():
    assert "studies/results.py" in importers("xarray")
    for name in importers("xarray") - {"studies/results.py"}:
        assert "studies/results.py" in reached(name) or name in (
            "statistics/shares.py",
            "tables.py",
        ), name


ENGINE = {"simulate.py", "ledger.py", "stages.py"}
COMPUTED = studies("outline", "identity", "design", "batch", "moments", "kept", "work")
STORED = studies("archive", "manifest", "journal", "store", "status", "results", "files")
ASKED = studies("grids", "specs", "forecast", "status", "study", "examine")
STATISTICS = {name for name in FILES if name.startswith("statistics/")}
BOUNDS = {name for name in FILES if name.startswith("bounds/")}
SHOWN = {*STATISTICS, *BOUNDS, "tables.py", "plotting/__init__.py", "__main__.py"}
HOST = COMPUTED | STORED | ASKED | SHOWN


@pytest.mark.parametrize("name", sorted(ENGINE | {"game.py", "planning.py", "transfers.py"}))
def test_the_engine_knows_nothing_of_files_and_plots(name):
    assert not reached(name) & HOST
    for below in reached(name) | {name}:
        assert not imports(below) & {"xarray", "matplotlib", "tqdm", "json", "pathlib", "os"}


def test_what_runs_does_not_know_of_files():
    """Batches run without a store, and a store reads and writes without what asks for it."""
    assert not reached("studies/batch.py") & STORED
    assert not reached("studies/store.py") & (
        ASKED | SHOWN | {"studies/results.py", "studies/files.py"}
    )


def test_bounds_follow_statistics_and_draw_nothing():
    assert "statistics/__init__.py" in reached("bounds/checks.py")
    for name in STATISTICS:
        assert not reached(name) & BOUNDS, name
    for name in BOUNDS:
        assert not [x for x in reached(name) if x.startswith("plotting/")], name
        assert not reached(name) & {"studies/store.py", "studies/study.py", "__main__.py"}, name


def test_learners_do_not_know_the_engine():
    for name in FILES:
        if name.startswith(("agents/", "mechanisms/", "games/")):
            assert not reached(name) & (HOST | ENGINE), name


def test_imports_have_no_cycle():
    for name in FILES:
        if name != "__init__.py":
            assert name not in {x for y in own_imports(name) for x in reached(y) | {y}}, name


CHECK_IMPORT = """
import sys
import pajax
from jax._src import xla_bridge
assert not xla_bridge._backends, "importing pajax started JAX"
assert "matplotlib.pyplot" not in sys.modules, "importing pajax imported pyplot"
pajax.configure()
import jax
jax.numpy.zeros(1)
assert xla_bridge._backends, "the check sees nothing"
"""


def test_importing_starts_nothing():
    """No array at import: JAX has no backend afterwards, so that `configure` still works."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHECK_IMPORT], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module in (px, *PUBLIC) for name in module.__all__]
)
def test_public_names_exist_and_say_what_they_are(module, name):
    assert inspect.getdoc(getattr(module, name))


@pytest.mark.parametrize("module", [px, *PUBLIC], ids=lambda m: m.__name__)
def test_public_names_are_sorted_and_all(module):
    assert sorted(module.__all__) == sorted(set(module.__all__))
    for name in module.__all__:
        assert hasattr(module, name)


NAMES_RELIED_ON = {
    "games": ("pollution", "garnet", "bandit"),
    "transfers": ("minimal_transfers",),
    "agents": ("BestResponse", "QLearning", "UCBQ", "UCBVI"),
    "mechanisms": (
        "NoTransfer",
        "FixedTransfers",
        "FlatTransfer",
        "QuantisedTransfers",
        "TwoPhase",
    ),
    "bounds": ("check_bounds", "evaluate", "theory"),
    "plotting": ("regret", "welfare"),
    "planning": ("best_response",),
    "statistics": ("summary",),
}


@pytest.mark.parametrize("module", NAMES_RELIED_ON)
def test_names_that_scripts_rely_on(module):
    for name in NAMES_RELIED_ON[module]:
        assert callable(getattr(getattr(px, module), name))


def modules():
    found = pkgutil.walk_packages([str(ROOT)], "pajax.")
    return sorted(module.name for module in found if not module.name.endswith("__main__"))


@pytest.mark.parametrize("name", modules())
def test_every_module_and_public_function_has_a_docstring(name):
    module = importlib.import_module(name)
    assert module.__doc__
    for attribute, value in vars(module).items():
        is_own = getattr(value, "__module__", None) == name
        if not attribute.startswith("_") and is_own and callable(value):
            assert value.__doc__, f"{name}.{attribute}"


@pytest.mark.parametrize("name", FILES)
def test_nothing_speaks_of_the_place_where_it_was_written(name):
    text = FILES[name].read_text()
    for word in ("/work", "/shared", "shared/", "/home/", "/root/"):
        assert word not in text, word
