"""Build the reference of all public names from their docstrings: python .ci/reference.py FOLDER."""

import argparse
import importlib
import re
from pathlib import Path

import pdoc

import pajax as px

#: Public packages, which say in `__all__` what is public, and public modules, where all is.
PACKAGES = [px, px.agents, px.bounds, px.games, px.mechanisms, px.plotting, px.statistics]
MODULES = [px.lanes, px.planning, px.schedules, px.testing, px.transfers]
#: How pdoc writes `jax.Array`, also with colours.
_DOT = r"((?:</span><span class=.{1,6}>)?\.(?:</span><span class=.{1,6}>)?)"
_ARRAY = re.compile(rf"jax{_DOT}jaxlib\1_jax\1Array")


def pages() -> list[str]:
    """What to document: the public modules, and all that their text names.

    These hold what there is to know of a learner or a mechanism, beside the class itself.
    """
    public = {*pdoc.extract.walk_specs(["pajax"])}
    values = [getattr(module, name) for module in PACKAGES for name in module.__all__]
    left = public | {value.__module__ for value in values if hasattr(value, "__module__")}
    found = set()
    while left:
        new = _modules_named_in(left.pop()) - found
        found |= new
        left |= new
    return ["pajax", *sorted(found - public)]


def build(folder: Path) -> None:
    """Write the pages into a folder."""
    templates = Path(__file__).parent / "templates"
    pdoc.render.configure(
        docformat="google", math=True, show_source=False, template_directory=templates
    )
    pdoc.render.env.globals["fields_of"] = _fields_of
    pdoc.pdoc(*pages(), output_directory=folder)
    for path in [*folder.rglob("*.html"), *folder.glob("search.js")]:
        path.write_text(_ARRAY.sub(r"jax\1Array", path.read_text()))


def _fields_of(doc: pdoc.doc.Doc) -> list[str]:
    """The fields of the class that a member belongs to."""
    owner = getattr(importlib.import_module(doc.modulename), doc.qualname.split(".")[0], None)
    return [*getattr(owner, "__dataclass_fields__", ()), *getattr(owner, "_fields", ())]


def _modules_named_in(name: str) -> set[str]:
    """The public modules that the text of a module names in backticks."""
    text = Path(importlib.import_module(name).__file__).read_text()
    return {word for word in re.findall(r"`(pajax[.\w]+)`", text) if _is_public_module(word)}


def _is_public_module(name: str) -> bool:
    path = Path(px.__file__).parent.joinpath(*name.split(".")[1:])
    is_module = path.with_suffix(".py").is_file() or path.joinpath("__init__.py").is_file()
    return is_module and "._" not in name


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the pages go")
    build(parser.parse_args().folder)
