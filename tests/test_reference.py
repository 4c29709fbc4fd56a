"""The reference: what every public name says of itself, and the pages that pdoc makes of it.

A name is told what it takes by its docstring, in sections of Google's style. A method may leave its
arguments to the method of the same name in a base class or a protocol.
"""

import ast
import dataclasses
import inspect
import posixpath
import re
import subprocess
import sys
import textwrap
from html.parser import HTMLParser
from pathlib import Path

import pytest

import pajax as px
from pajax.mechanisms.base import Estimator, Steering

sys.path.insert(0, str(Path(__file__).parents[1] / ".ci"))

import reference
from reference import MODULES, PACKAGES

PROTOCOLS = [px.Agent, px.Mechanism, Estimator, Steering]


def own_names(module):
    """The functions and classes of a module, without those that it imports."""
    for name, value in vars(module).items():
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__:
            yield name


def public_names():
    """Every public function, class and object, by its full name."""
    found = {}
    for module in [*PACKAGES, *MODULES]:
        for name in module.__all__ if module in PACKAGES else own_names(module):
            value = getattr(module, name)
            if not inspect.ismodule(value):
                found[f"{value.__module__}.{name}"] = value
    return found


NAMES = public_names()
CLASSES = {name: value for name, value in NAMES.items() if inspect.isclass(value)}


def public_functions():
    """Public functions and methods, each with all that may tell its arguments, itself first."""
    found = {name: [value] for name, value in NAMES.items() if inspect.isfunction(value)}
    for cls in CLASSES.values():
        for base in cls.__mro__:
            for name, value in vars(base).items():
                method = getattr(value, "__func__", getattr(value, "fget", value))
                is_own = inspect.isfunction(method) and method.__module__.startswith("pajax.")
                if is_own and not name.startswith("_"):
                    others = [getattr(other, name, None) for other in (*cls.__mro__, *PROTOCOLS)]
                    full = f"{method.__module__}.{method.__qualname__}"
                    found[full] = [method, *filter(inspect.isfunction, others)]
    return found


FUNCTIONS = public_functions()


def section(docstring: str, title: str) -> dict[str, str]:
    """The entries of a section; `low, high: text` is one for each of the two names.

    A parser of docstrings would be a dependency for these lines, which also ask for the layout that
    pdoc reads.
    """
    match = re.search(rf"^{title}:\n((?:(?:  .*)?(?:\n|\Z))+)", docstring, re.MULTILINE)
    body = textwrap.dedent(match[1]) if match else ""
    entries = re.findall(r"^(\S.*?): (.*(?:\n +.*)*)", body, re.MULTILINE)
    return {name.strip("* "): text for names, text in entries for name in names.split(",")}


def told(value, title: str) -> set[str]:
    return set(section(inspect.cleandoc(value.__doc__ or ""), title))


def parameters(function) -> set[str]:
    return {x for x in inspect.signature(function).parameters if x not in ("self", "cls")}


def raised(function) -> set[str]:
    """What a function raises in its own body; checks of arguments raise ValueError."""
    found = set()
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            found.add(ast.unparse(node.exc.func))
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("_checks."):
            found.add("ValueError")
    return found


def fields(cls) -> set[str]:
    if dataclasses.is_dataclass(cls):
        return {field.name for field in dataclasses.fields(cls) if not field.name.startswith("_")}
    return set(getattr(cls, "_fields", ()))


def test_the_reader_of_docstrings_reads():
    docstring = "What.\n\nArgs:\n  low, high: ends,\n    both: of them.\n  x: it.\n\nReturns:\n  y."
    ends = "ends,\n  both: of them."
    assert section(docstring, "Args") == {"low": ends, "high": ends, "x": "it."}
    assert section(docstring, "Raises") == {}
    assert {"pajax.studies.study.study", "pajax.lanes.lift", "pajax.game.Game"} <= NAMES.keys()
    assert "pajax.agents.ucbvi.UCBVI.act" in FUNCTIONS
    assert raised(px.checkpoints) == {"ValueError"}


@pytest.mark.parametrize("name", sorted(NAMES.keys() | FUNCTIONS.keys()))
def test_every_public_name_says_what_it_is(name):
    assert (NAMES[name] if name in NAMES else FUNCTIONS[name][0]).__doc__


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_is_told(name):
    function, *others = FUNCTIONS[name]
    known = {argument for teller in (function, *others) for argument in told(teller, "Args")}
    assert parameters(function) <= known


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_error_is_told(name):
    function = FUNCTIONS[name][0]
    assert raised(function) <= told(function, "Raises")


@pytest.mark.parametrize("name", CLASSES)
def test_every_field_is_told(name):
    cls = CLASSES[name]
    assert fields(cls) <= {field for base in cls.__mro__ for field in told(base, "Attributes")}


class Page(HTMLParser):
    """The anchors and the links of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if "id" in found:
            self.anchors.add(found["id"])
        if tag == "a" and found.get("href"):
            self.links.add(found["href"])


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> dict[str, str]:
    """The pages by path; their making warns of nothing."""
    folder = tmp_path_factory.mktemp("reference")
    reference.build(folder)
    paths = folder.rglob("*.html")
    return {path.relative_to(folder).as_posix(): path.read_text() for path in paths}


def test_public_modules_have_a_page_and_private_ones_have_none(built):
    made = {path.removesuffix(".html").replace("/", ".") for path in built}
    assert {module.__name__ for module in [*PACKAGES, *MODULES]} <= made
    assert not [name for name in made if "._" in name]


def test_links_lead_somewhere(built):
    found = {path: Page(text) for path, text in built.items()}
    for path, page in found.items():
        for link in page.links:
            target, _, anchor = link.partition("#")
            if not re.match("https?:", target):
                folder = posixpath.dirname(path)
                there = posixpath.normpath(posixpath.join(folder, target)) if target else path
                assert there in found, f"{path}: {link}"
                assert not anchor or anchor in found[there].anchors, f"{path}: {link}"


def test_names_of_the_package_are_links(built):
    """A full name in backticks that is no link is of something that is gone or has no page."""
    for path, text in built.items():
        assert not re.findall(r"<code>(pajax[.\w]+)</code>", text), path


def test_stars_are_not_read_as_emphasis(built):
    """Two in a paragraph, of W* and tau*, would be; in backticks they are safe."""
    for path, text in built.items():
        assert not re.findall(r"\w<em>[^<]*|</em>\w+", text), path


def examples() -> list[str]:
    """The Python blocks in the docstrings of public modules and names."""
    texts = [inspect.getdoc(value) or "" for value in [*PACKAGES, *MODULES, *NAMES.values()]]
    assert not [text for text in texts if ">>>" in text], "examples are fenced, as in the README"
    return [code for text in texts for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]


def test_examples_run(tmp_path):
    """One after the other, in a fresh process, and of fewer and shorter runs."""
    script = "\n".join(["import matplotlib", "matplotlib.use('agg')", *examples()])
    script = script.replace("10_000", "100").replace("num_seeds=16", "num_seeds=2")
    assert "px.study(" in script
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
