"""Pollution control: a factory, a regulator, and air that remembers.

States: clean, hazy, polluted. Actions: clean, dirty, very dirty. The dirtier action pays the
factory more in every state, harms the regulator now, and makes the air worse tomorrow.

With the default horizon 5: W* = 6.5279, rho . V0 = 3.6873, and without transfers the factory's
optimum has welfare 4.8350, 74.1 % of W*. The welfare optimum is [dirty, clean, clean] in the first
four steps, then [dirty, dirty, very dirty].
"""

from pajax.game import Game, make_game

STATES = ("clean", "hazy", "polluted")
ACTIONS = ("clean", "dirty", "very dirty")

_AGENT_REWARD = [[0.35, 0.75, 0.80], [0.25, 0.70, 0.80], [0.10, 0.55, 0.70]]
_PRINCIPAL_REWARD = [[0.90, 0.85, 0.50], [0.65, 0.45, 0.20], [0.25, 0.10, 0.00]]
_TRANSITION = [
    [[0.95, 0.05, 0.00], [0.70, 0.28, 0.02], [0.35, 0.45, 0.20]],
    [[0.65, 0.33, 0.02], [0.15, 0.45, 0.40], [0.05, 0.25, 0.70]],
    [[0.15, 0.60, 0.25], [0.02, 0.18, 0.80], [0.00, 0.05, 0.95]],
]
_INITIAL = [0.5, 0.3, 0.2]


def pollution(*, horizon: int = 5, noise: str = "bernoulli") -> Game:
    """The pollution-control game of arXiv:2601.03451: S = 3, A = 3, stationary.

    Its tables are pajax's own (see `pajax.games.pollution`).

    Args:
      horizon: H >= 1.
      noise: see `make_game`.

    Raises:
      ValueError: a one-line message with the argument, the value and the rule.
    """
    return make_game(
        transition=_TRANSITION,
        agent_reward=_AGENT_REWARD,
        principal_reward=_PRINCIPAL_REWARD,
        initial=_INITIAL,
        horizon=horizon,
        noise=noise,
    )
