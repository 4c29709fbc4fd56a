"""A commons: a renewable stock, one who harvests it, and one who values what is left of it.

States: stock s = 0..K, K = S - 1. Action a takes y = min(a, s) units and leaves k = s - y.

    u = y / (A - 1)                          the harvest
    v = conservation * x (2 - x), x = k / K  the stock left, with diminishing returns
    s' = k + Binomial(G(k), survival)        the recruits that survive
    G(k) = min(K - k, floor(growth * k (1 - k / K) + 1/2)), the logistic law in whole units

All stocks are equally likely at first. An empty one stays empty: nothing is earned there, and all
actions are equal. The agent spares the stock for its own later harvests alone: it takes more than
welfare allows in every step, and all it can in the last.

Closed form, where every harvest is possible (A = S). Harvests telescope, sum_h y_h = s_0 - k_{H-1}
+ sum_{h<H-1} (s_{h+1} - k_h), hence under any policy

    E sum_h (u + v) = E[s_0 / K + sum_{h<H-1} phi(k_h) + phi_last(k_{H-1})],
    phi(k) = v(k) + survival * G(k) / K,    phi_last(k) = v(k) - k / K.

Let m maximise phi and m_last phi_last. Leaving m, in the last step m_last, is optimal where it is
possible. The stock never falls by itself, so if m_last <= m it is possible from every s >= m, and
VW[0, s] = s / K + (H - 1) phi(m) + phi_last(m_last). With v = 0 the same holds of the agent without
transfers: it leaves the m that maximises G, and nothing in the last step. These are the
constant-escapement policies of fisheries (Reed, 1979, J. Environ. Econ. Manage. 6, 350-363).

By default welfare is best served by leaving 3 of 4 units, in the last step 2; the agent leaves 1,
then none. VW[0, s] = s / 4 + 4.5 for s >= 3, V0[0, s] = s / 4 + 1.5 for s >= 1. W* = 4.0193,
rho . V0 = 1.7000, W* - rho . V0 = 2.3193, and without transfers the agent's optimum has welfare
3.1000, 77.1 % of W*.
"""

import math

import numpy as np

from pajax import _checks
from pajax.game import Game, make_game


def commons(
    *,
    num_states: int = 5,
    num_actions: int = 5,
    horizon: int = 5,
    growth: float = 4.0,
    survival: float = 0.5,
    conservation: float = 1.0,
    noise: str = "bernoulli",
) -> Game:
    """The harvesting of a renewable stock: S stocks, up to A - 1 units a step, stationary.

    Where every harvest is possible (A = S), the optimum is a constant-escapement policy (Reed,
    1979); `pajax.games.commons` has the equations and closed forms.

    Args:
      num_states: S, stocks 0 to S - 1, 2 to 256.
      num_actions: A, harvests 0 to A - 1, 2 to S.
      horizon: H >= 1.
      growth: rate of the logistic law, per step, at least 0.
      survival: probability that a recruit survives, in [0, 1]; 0 and 1 are deterministic.
      conservation: v of the full stock, reward units, in [0, 1].
      noise: see `make_game`.

    Raises:
      ValueError: a one-line message with the argument, the value and the rule.
    """
    states = _checks.whole("num_states", num_states, 2, 256)
    actions = _checks.whole("num_actions", num_actions, 2)
    _checks.require(actions <= states, "num_actions", actions, f"be at most num_states = {states}")
    _checks.in_range("growth", growth, 0.0, math.inf)
    _checks.in_range("survival", survival, 0.0, 1.0)
    _checks.in_range("conservation", conservation, 0.0, 1.0)
    stock = np.arange(states)[:, None]
    harvest = np.minimum(np.arange(actions), stock)  # [S, A]
    left = (stock - harvest) / (states - 1)
    return make_game(
        transition=_next_stock(states, growth, survival)[stock - harvest],
        agent_reward=harvest / (actions - 1),
        principal_reward=conservation * left * (2.0 - left),
        initial=np.full(states, 1.0 / states),
        horizon=horizon,
        noise=noise,
    )


def _next_stock(states: int, growth: float, survival: float) -> np.ndarray:
    """Probabilities of the next stock, given the stock left, [S, S']."""
    kernel, capacity = np.zeros((states, states)), states - 1
    for left in range(states):
        law = growth * left * (capacity - left) / capacity
        recruits = min(capacity - left, math.floor(law + 0.5))
        for born in range(recruits + 1):
            odds = survival**born * (1.0 - survival) ** (recruits - born)
            kernel[left, left + born] = math.comb(recruits, born) * odds
    return kernel
