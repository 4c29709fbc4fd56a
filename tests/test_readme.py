"""Every Python example of the README runs, in order, in one fresh process."""

import pathlib
import re
import subprocess
import sys

README = pathlib.Path(__file__).parents[1] / "README.md"


def test_python_examples_run():
    examples = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(examples) >= 3
    headless = "import matplotlib\nmatplotlib.use('agg')\n"
    script = headless + "\n".join(examples) + "\nassert abs(surplus - 2.8407) < 1e-4\n"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_files_named_in_it_exist():
    for link in re.findall(r"\]\(([^):]+)\)|`(pajax/[\w./]+)`", README.read_text()):
        name = next(part for part in link if part)
        assert (README.parent / name).exists(), name
