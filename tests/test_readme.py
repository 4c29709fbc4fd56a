"""Every Python example of the README runs, in order, in one fresh process."""

import pathlib
import re
import subprocess
import sys

README = pathlib.Path(__file__).parents[1] / "README.md"

CHECKS = """
assert abs(surplus - 2.8407) < 1e-4
planned = px.plan(**px.load_spec("sweep.toml"), store="runs/sweep", measure=False)
assert planned.num_finished == planned.num_runs, planned
"""


def test_python_examples_run(tmp_path):
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


def test_files_named_in_it_exist():
    for link in re.findall(r"\]\(([^):]+)\)|`(pajax/[\w./]+)`", README.read_text()):
        name = next(part for part in link if part)
        assert (README.parent / name).exists(), name
