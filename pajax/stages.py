"""When contracts change and when is recorded: stages, record points, and both as one schedule."""

from typing import Any, NamedTuple

import numpy as np

from pajax import _checks

#: Longest stage while a mechanism adapts, in episodes: so many for each further state, since a
#: (h, s) is then met the more rarely, and at least so many.
ADAPTING_EPISODES_A_STATE, ADAPTING_EPISODES = 4, 8


class Schedule(NamedTuple):
    """The segments of a run: stages, cut where a record interval ends.

    A cut interrupts a stage but changes nothing in it: contracts are posted where a stage begins
    and observed where it ends, so what is recorded does not touch what happens.
    """

    lengths: np.ndarray  # int32 [N], episodes of a segment
    opens: np.ndarray  # int32 [N], 1 where a stage begins
    closes: np.ndarray  # int32 [N], 1 where a stage ends
    bounds: np.ndarray  # int32 [I + 1], interval i holds segments bounds[i] .. bounds[i + 1] - 1


def checkpoints(num_episodes: int, per_decade: int = 16) -> np.ndarray:
    """Log-spaced episode counts from 1 to K, with 0.9 K among them for late shares; int64 [I].

    Args:
      num_episodes: K >= 1.
      per_decade: counts in a tenfold of episodes; rounding leaves fewer early in a run.

    Raises:
      ValueError: `num_episodes` is not a whole number of at least 1.
    """
    num_episodes = _checks.whole("num_episodes", num_episodes)
    count = 1 + int(np.ceil(per_decade * np.log10(max(num_episodes, 1))))
    spaced = np.geomspace(1, num_episodes, count)
    return np.unique(np.round(np.append(spaced, max(1.0, 0.9 * num_episodes))).astype(np.int64))


def stage_lengths(num_episodes: int, adapting_until: float = 0.0, num_states: int = 1) -> list[int]:
    """Episodes of each stage: short while the mechanism adapts, then growing with time.

    After e episodes a stage is 1 + e/256 long, at most max(8, 4 (S - 1)), while
    e < adapting_until K, and 1 + e/64 long afterwards. So an agent that plans when a stage begins
    replans more often under a mechanism that adapts than under a fixed contract.
    """
    longest = max(ADAPTING_EPISODES, ADAPTING_EPISODES_A_STATE * (num_states - 1))
    lengths, done = [], 0
    while done < num_episodes:
        is_adapting = done < adapting_until * num_episodes
        length = min(1 + done // 256, longest) if is_adapting else 1 + done // 64
        lengths.append(min(length, num_episodes - done))
        done += lengths[-1]
    return lengths


def make_schedule(
    num_episodes: int, record: Any, adapting_until: float = 0.0, num_states: int = 1
) -> Schedule:
    """The stages of a run (see `stage_lengths`), cut where a record interval ends.

    Raises:
      ValueError: `record` is not increasing, or does not end with `num_episodes`.
    """
    num_episodes = _checks.whole("num_episodes", num_episodes)
    rule = "be less than 2^24, where counts in float32 stop"
    _checks.require(num_episodes < 2**24, "num_episodes", num_episodes, rule)
    record = np.asarray(record, np.int64)
    increasing = (
        record.ndim == 1 and record.size > 0 and bool((np.diff(record, prepend=0) > 0).all())
    )
    _checks.require(increasing, "record", record, "be increasing episode counts of at least 1")
    last = int(record[-1])
    _checks.require(last == num_episodes, "record", last, f"end with num_episodes = {num_episodes}")
    stage_ends = np.cumsum(stage_lengths(num_episodes, adapting_until, num_states))
    ends = np.union1d(stage_ends, record)
    closes = np.isin(ends, stage_ends)
    bounds = np.searchsorted(ends, record) + 1
    return Schedule(
        lengths=np.diff(ends, prepend=0).astype(np.int32),
        opens=np.append(True, closes[:-1]).astype(np.int32),
        closes=closes.astype(np.int32),
        bounds=np.concatenate([[0], bounds]).astype(np.int32),
    )
