"""What the docstring of a game states, by pajax and by the oracle."""

import numpy as np
from oracles import exact

import pajax as px


def by_pajax(game: px.Game) -> dict[str, float]:
    plan = px.planning
    found = {
        "W*": plan.expected(game, plan.welfare_values(game)),
        "rho . V0": plan.expected(game, plan.agent_values(game)),
        "laissez-faire": plan.policy_welfare(game, plan.best_response(game)),
        "W* - rho . V0": px.transfers.coase_value(game),
    }
    return {name: float(value) for name, value in found.items()}


def by_oracle(game: exact.NumpyGame) -> dict[str, float]:
    values, _ = exact.backward_induction(game, exact.agent_rewards(game))
    return {
        "W*": exact.optimal_welfare(game),
        "rho . V0": exact.expected(game, values),
        "laissez-faire": exact.best_response_welfare(game),
        "W* - rho . V0": exact.coase_value(game),
    }


def assert_figures(
    game: px.Game, oracle: exact.NumpyGame, stated: dict[str, float], share: float
) -> None:
    """Figures agree with the oracle's and with the docstring, which gives `share` in percent."""
    found, expected = by_pajax(game), by_oracle(oracle)
    for name, figure in stated.items():
        # Welfare is at most 2 a step; a difference of two values may be off by both.
        assert abs(found[name] - expected[name]) <= 2 * exact.rounding(oracle, 2.0)
        # Half a unit in the last place printed.
        assert abs(found[name] - figure) <= 0.5e-4
    assert abs(100.0 * found["laissez-faire"] / found["W*"] - share) <= 0.05


def assert_tables(game: px.Game, oracle: exact.NumpyGame) -> None:
    """The same tables, to some roundings of numbers up to 1."""
    assert (game.horizon, game.lanes) == (oracle.horizon, ())
    for name in ("transition", "agent_reward", "principal_reward", "initial"):
        found, expected = np.asarray(getattr(game, name)), getattr(oracle, name)
        assert found.shape == expected.shape
        # A formula of fewer than eight operations, and a row that is divided by its own total.
        atol = (8 + oracle.num_states) * exact.EPSILON
        np.testing.assert_allclose(found, expected, rtol=0.0, atol=atol)
