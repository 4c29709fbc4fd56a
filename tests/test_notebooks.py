"""The notebooks: each runs top to bottom in a small form, and is kept as it ran in full."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "notebooks"))

import execute

import pajax as px

NAMES = execute.names()
#: What may be imported besides the standard library; of pajax, what is public.
PACKAGES = {"jax", "matplotlib", "numpy", "pajax", "pandas", "scipy", "xarray"}
#: But for what the states and actions of a family of games are called.
NAMES_OF_A_GAME = re.compile(r"pajax\.games\.\w+\.[A-Z_]+$")
#: Underscored, and not a method of a NamedTuple.
PRIVATE = re.compile(r"_(?!_|replace$|asdict$|fields$)")
PLACES = ("/home/", "/root/", "/tmp/", "/work/", "0x7f")


def outputs(name: str) -> list:
    return [out for cell in execute.code_cells(execute.read(name)) for out in cell.outputs]


def source(name: str) -> str:
    """Its code, without the lines that speak to IPython."""
    lines = [
        line for cell in execute.code_cells(execute.read(name)) for line in cell.source.splitlines()
    ]
    return "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))


def test_they_are_all_there():
    assert [name[:2] for name in NAMES] == [f"{i:02}" for i in range(len(NAMES))]
    assert len(NAMES) == 8


@pytest.mark.parametrize("name", NAMES)
def test_it_runs(name, tmp_path):
    execute.execute(execute.rescaled(execute.read(name), 0.02), tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_kept_as_it_ran_in_full(name):
    notebook = execute.read(name)
    cells = execute.code_cells(notebook)
    assert re.search(r"^SCALE = 1\b", cells[0].source, re.MULTILINE)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {out.output_type for out in outputs(name)}
    assert "error" not in kinds
    assert not [out for out in outputs(name) if out.get("name") == "stderr"]
    assert any("image/png" in out.get("data", {}) for out in outputs(name))
    assert not [out for out in outputs(name) if execute.BAR in out.get("data", {})]
    assert (ROOT / "notebooks" / f"{name}.ipynb").stat().st_size < 1.5e6


@pytest.mark.parametrize("name", NAMES)
def test_it_uses_what_is_public(name):
    imported = set()
    for node in ast.walk(ast.parse(source(name))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Attribute):
            assert not PRIVATE.match(node.attr), node.attr
    for dotted in imported:
        package, *inside = dotted.split(".")
        assert package in PACKAGES | sys.stdlib_module_names
        if package == "pajax":
            assert hasattr(px, ".".join(inside)) or NAMES_OF_A_GAME.match(dotted) or not inside


@pytest.mark.parametrize("name", NAMES)
def test_it_says_nothing_of_the_machine_it_ran_on(name):
    for out in outputs(name):
        words = out.get("text", "") + "".join(
            text for kind, text in out.get("data", {}).items() if kind.startswith("text/")
        )
        for place in PLACES:
            assert place not in words, words


def test_a_scale_that_is_not_there_is_an_error():
    notebook = execute.read(NAMES[0])
    execute.code_cells(notebook)[0].source = "import pajax"
    with pytest.raises(ValueError, match="must set SCALE, once"):
        execute.rescaled(notebook, 0.02)
