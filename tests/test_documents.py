"""The documents: every Python example of the README runs, and links lead somewhere."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pajax as px

ROOT = Path(px.__file__).parents[1]
README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "CHANGELOG.md",
    ROOT / ".github/CONTRIBUTING.md",
    *sorted((ROOT / "benchmarks").glob("*.md")),
    *sorted((ROOT / "notebooks").glob("*.ipynb")),
]
#: Where links out may lead: papers, by their number or DOI, and data; no test can follow them.
OUTSIDE = re.compile(r"https://(arxiv\.org/abs/\d{4}\.\d{4,5}|doi\.org/10\.\d{4,}/\S+)$")

CHECKS = """
assert abs(surplus - 2.8407) < 1e-4
planned = px.plan(**px.load_spec("sweep.toml"), store="runs/sweep", measure=False)
assert planned.num_finished == planned.num_runs, planned
"""


def prose(page: Path) -> str:
    """A page without its code; of a notebook, its cells of text."""
    text = page.read_text()
    if page.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(x["source"]) for x in cells if x["cell_type"] == "markdown")
    return re.sub(r"```.*?```|\$\$.*?\$\$|(?<!`)`[^`\n]+`", "", text, flags=re.DOTALL)


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", prose(page))


def anchors(page: Path) -> set[str]:
    """Names of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {words.replace(" ", "-") for words in kept}


def test_python_examples_of_the_readme_run(tmp_path):
    """And the spec in TOML is the study that the example has stored."""
    examples = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(examples) >= 3
    headless = "import matplotlib\nmatplotlib.use('agg')\n"
    script = headless + "\n".join(examples) + CHECKS
    (spec,) = re.findall(r"```toml\n(.*?)```", README.read_text(), re.DOTALL)
    (tmp_path / "sweep.toml").write_text(spec)
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in links(page):
        if link.startswith("http"):
            assert OUTSIDE.match(link), link
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(target), link


def test_there_are_links_to_check():
    assert len(links(README)) > 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_in_a_page_exist(page):
    for name in re.findall(r"`((?:pajax|tests|benchmarks)/[\w./]+)`", page.read_text()):
        assert (ROOT / name).exists(), name


def test_scripts_named_in_a_page_exist():
    for page in PAGES:
        for name in re.findall(r"python (benchmarks/\w+\.py|notebooks/\w+\.py)", page.read_text()):
            assert (ROOT / name).exists(), name


def test_the_citation_is_of_this_version():
    assert f"\nversion: {px.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {px.__version__} " in (ROOT / "CHANGELOG.md").read_text()
