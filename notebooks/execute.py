"""Run the notebooks in place, top to bottom, at full scale: python notebooks/execute.py [NAME ...].

A notebook says how large its studies are by a constant, SCALE, in its first cell of code: 1 for the
figures that are kept in it, less for a look in seconds (the tests run it so).
"""

import argparse
import re
import tempfile
import time
from pathlib import Path

import nbclient
import nbformat

HERE = Path(__file__).parent
SCALE = re.compile(r"^SCALE = .*?(?=  #|$)", re.MULTILINE)
BAR = "application/vnd.jupyter.widget-view+json"


def names() -> list[str]:
    """The notebooks, in their order."""
    return sorted(path.stem for path in HERE.glob("*.ipynb"))


def read(name: str) -> nbformat.NotebookNode:
    """A notebook as it is kept."""
    return nbformat.read(HERE / f"{name}.ipynb", as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """Its cells of code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def execute(notebook: nbformat.NotebookNode, folder: str | Path) -> nbformat.NotebookNode:
    """The notebook, run in a folder; raises the error of a cell that fails."""
    resources = {"metadata": {"path": str(folder)}}
    options = {"timeout": 3600, "coalesce_streams": True, "resources": resources}
    return nbclient.NotebookClient(notebook, **options).execute()


def rescaled(notebook: nbformat.NotebookNode, scale: float) -> nbformat.NotebookNode:
    """The notebook with another SCALE."""
    first = code_cells(notebook)[0]
    first.source, found = SCALE.subn(f"SCALE = {scale}", first.source)
    if found != 1:
        raise ValueError("the first cell of code must set SCALE, once")
    return notebook


def without_bars(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook as it is kept: bars of progress are for those who wait, and need a kernel."""
    for cell in code_cells(notebook):
        cell.outputs = [out for out in cell.outputs if BAR not in out.get("data", {})]
        cell.metadata.pop("execution", None)  # times of the clock
    notebook.metadata.pop("widgets", None)
    return notebook


def main() -> None:
    """Run those named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"any of {', '.join(names())}; all by default")
    for name in parser.parse_args().names or names():
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            done = without_bars(execute(rescaled(read(name), 1), folder))
        nbformat.write(done, HERE / f"{name}.ipynb")
        print(f"{name}: {time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
