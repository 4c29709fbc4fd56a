"""How hard a known game is for learners: a report.

- What laissez-faire loses: W* - W^pi for pi the agent's optimum without transfers (ties to the
  lowest action), the principal playing its best own action; 0 if there is nothing to mend.
- The smallest positive welfare gap VW - QW (T1): how well one must know the game to be optimal in
  it. H w below this makes the error of transfers vanish from the regret (T8).
- The smallest positive tau* = V0 - Q0 (T2): how fine a transfer tells two actions apart.
- Coverage (A2): the smallest probability of a visit, over the (h, s) that matter: those that the
  welfare optimum (ties to the lowest action) visits with probability `pajax.planning.OFTEN` at
  least. And the smallest under the agent's own optimum over the same (h, s), which is what a
  principal sees while it pays nothing; 0 where some are never visited.
- The Coase value W* - rho . V0[0] (T3): what the principal may hope to net.

Both smallest gaps are taken over the (h, s, a) whose (h, s) *some* policy visits with positive
probability: others never cost anything, nor are they ever seen.

What is positive? All is computed in float64, so the numbers of the tables decide: they are reals
that were rounded, by a relative eps / 2, eps being that of the game's type. This moves a reward of
at most r by r eps / 2 and an expectation of values at most r (H - h - 1) by eps / 2 of it, and so Q
by (r eps / 2) H (H + 1) / 2 in all; a gap, the difference of two such, by twice as much. The S + 2
roundings of each step in float64 add theirs. Gaps up to

    r (eps + (S + 2) eps64) H (H + 1) / 2,    r = 2 for welfare, 1 for tau*,

may be those of two actions that tie, and count as zero.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from pajax import lanes, planning, printing, transfers
from pajax.game import Game
from pajax.printing import Table

_ROWS = {
    "optimal_welfare": "optimal welfare W*",
    "laissez_faire_gap": "welfare that laissez-faire loses",
    "laissez_faire_gap_share": "    as a share of W*",
    "smallest_welfare_gap": "smallest positive welfare gap",
    "smallest_transfer": "smallest positive tau*",
    "coverage": "coverage of the optimal path",
    "laissez_faire_coverage": "    when nothing is paid",
    "coase_value": "Coase value",
}


class Hardness(NamedTuple):
    """What makes a game hard; each [...] over the game's lanes, NumPy float64.

    It prints as a table: of one game its values, of several their minimum, median and maximum.

    Attributes:
      optimal_welfare: W*, reward units an episode.
      laissez_faire_gap: W* less the welfare of the agent's optimum, reward units an episode.
      laissez_faire_gap_share: the same as a share of W*, in [0, 1]; 0 where W* is.
      smallest_welfare_gap: least VW - QW > 0 (T1), reward units; infinite where there is none.
      smallest_transfer: least tau* > 0 (T2), reward units; infinite where there is none.
      coverage: least probability of a visit, of what matters to the welfare optimum (A2).
      laissez_faire_coverage: least probability of the same under the agent's optimum.
      coase_value: W* - rho . V0[0] (T3), reward units an episode.
    """

    optimal_welfare: Any
    laissez_faire_gap: Any
    laissez_faire_gap_share: Any
    smallest_welfare_gap: Any
    smallest_transfer: Any
    coverage: Any
    laissez_faire_coverage: Any
    coase_value: Any

    def as_tables(self) -> list[Table]:
        """The words."""
        shape = np.shape(self.coase_value)
        names = ("min", "median", "max") if shape else ("",)
        columns = (np.min, np.median, np.max) if shape else (np.asarray,)
        title = f"Hardness of {math.prod(shape)} games" if shape else "Hardness of a game"
        rows = [
            [label, *(_told(column(getattr(self, field))) for column in columns)]
            for field, label in _ROWS.items()
        ]
        return [Table("", [title, *names], rows, num_names=1)]

    def __repr__(self) -> str:
        return printing.text(self.as_tables())

    def _repr_html_(self) -> str:
        return printing.to_html(self.as_tables())


def hardness(game: Game) -> Hardness:
    """The report on a game, or on each of a batch; not to be traced by `jit`.

    Args:
      game: the game; `pajax.hardness` says what is computed of it.
    """
    eps = float(jnp.finfo(game.transition.dtype).eps)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda table: jnp.asarray(np.asarray(table, np.float64)), game)
        return jax.tree.map(np.asarray, _measure(wide, eps))


@jax.jit
def _measure(game: Game, eps: Array) -> Hardness:
    welfare = planning.welfare_values(game)
    free = planning.best_response(game)
    best, left_alone = planning.expected(game, welfare), planning.policy_welfare(game, free)
    path = planning.greedy(welfare.q_values)
    visited, seen_free = planning.occupancy(game, path), planning.occupancy(game, free)
    matters = planning.often_visited(game, path)
    return Hardness(
        optimal_welfare=best,
        laissez_faire_gap=best - left_alone,
        laissez_faire_gap_share=jnp.where(best > 0.0, (best - left_alone) / best, 0.0),
        smallest_welfare_gap=_smallest(game, welfare.gaps, 2.0, eps),
        smallest_transfer=_smallest(game, transfers.minimal_transfers(game), 1.0, eps),
        coverage=jnp.where(matters, visited, 1.0).min((0, 1)),
        laissez_faire_coverage=jnp.where(matters, seen_free, 1.0).min((0, 1)),
        coase_value=transfers.coase_value(game),
    )


def _smallest(game: Game, gaps: Array, largest_reward: float, eps: Array) -> Array:
    """The smallest gap [H, S, A, ...] that is certainly positive and can be met, [...]."""
    steps = game.horizon * (game.horizon + 1) / 2
    rounding = eps + (game.num_states + 2) * jnp.finfo(gaps.dtype).eps
    counts = (gaps > largest_reward * steps * rounding) & _reachable(game)[:, :, None]
    return jnp.where(counts, gaps, jnp.inf).min((0, 1, 2))


def _reachable(game: Game) -> Array:
    """Where some policy may be, bool [H, S, ...]."""

    def forward(reached: Array, h: Array) -> tuple[Array, Array]:
        moves = lanes.at_step(game.transition, h) > 0.0
        return (moves & reached[:, None, None]).any((0, 1)), reached

    return lax.scan(forward, game.initial > 0.0, jnp.arange(game.horizon))[1]


def _told(number: np.ndarray) -> str:
    """Four digits; an infinite smallest is that of nothing."""
    return f"{number:.4g}" if np.isfinite(number) else "none"
