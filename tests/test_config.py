"""A study asks for a warning, given once, where loops are not hoisted; `configure` hoists them."""

import os
import subprocess
import sys

import jax
import pytest

import pajax as px

ASK_TWICE = """
import warnings
import pajax as px
from pajax.config import warn_unless_hoisting
{configure}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    warn_unless_hoisting()
    warn_unless_hoisting()
for warning in caught:
    print(warning.message)
"""


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="hoisting is for CPUs")
@pytest.mark.parametrize(
    ("configure", "expected"),
    [("", 1), ("px.configure(hoist_loops=False)", 1), ("px.configure()", 0)],
)
def test_warns_once_unless_loops_are_hoisted(configure, expected):
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    script = ASK_TWICE.format(configure=configure)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    messages = done.stdout.splitlines()
    assert len(messages) == expected
    assert all("pajax.configure()" in message for message in messages)


class Asked(Exception):
    pass


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="hoisting is for CPUs")
def test_a_study_on_a_cpu_asks(monkeypatch):
    def ask():
        raise Asked

    # `px.study` is the function, which hides its module
    monkeypatch.setattr(sys.modules["pajax.studies.study"], "warn_unless_hoisting", ask)
    with pytest.raises(Asked):
        px.study(
            jax.random.key(0),
            px.games.bandit(),
            agents={"agent": px.agents.QLearning()},
            mechanisms={"none": px.mechanisms.NoTransfer()},
            num_episodes=1,
            num_seeds=1,
        )
