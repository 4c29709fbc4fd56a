"""Calibration of `pajax.statistics` by simulation of cases whose truth is known.

Question: does each interval that is said to cover at 95 % do so, and does each test reject a true
hypothesis in 5 % of cases?

Curves of regret have 41 log-spaced checkpoints up to K = 1e5 and the mean 3 t^0.6. Their noise:

    normal       1 + 0.25 z, z a stationary AR(1) over checkpoints with correlation 0.9
    lognormal    exp(s z - s^2 / 2) with s = 0.4, or s = 1, which is very skew
    increments   those of the mean curve, times gamma variables of shape 1/2: variance grows, skew
    rare         3 runs of 10 grow linearly, the others like t^0.6; both with s = 0.2

Bands of level also have stationary AR(1) curves and random walks. Games have normal, gamma (shape
1) or lognormal (s = 0.75) means, and five seeds with normal noise. `error` is the standard error of
a coverage, from its number of repetitions; what has none is exact. `inside`: from 93 to 97 %.

Run `python benchmarks/statistics_calibration.py` (about ten minutes on two cores).
"""

import functools
import sys
import time

import harness
import jax
import numpy as np
import scipy.stats

from pajax import statistics
from pajax.statistics import bands, clusters, exponents, resampling

LEVEL, EXPONENT = 0.95, 0.6
EPISODES = np.unique(np.rint(np.geomspace(1, 1e5, 41)))
MEAN = 3.0 * EPISODES**EXPONENT
CHUNK = 10


# What is simulated


def correlated(rng, shape, correlation=0.9):
    """Stationary AR(1) along the last axis, variance 1."""
    steps = rng.normal(size=shape)
    steps[..., 1:] *= np.sqrt(1 - correlation**2)
    for at in range(1, shape[-1]):
        steps[..., at] += correlation * steps[..., at - 1]
    return steps


def lognormal(rng, shape, scale):
    return np.exp(scale * correlated(rng, shape) - scale**2 / 2)


def increments(rng, shape):
    steps = np.diff(MEAN, prepend=0.0) * rng.gamma(0.5, 2.0, shape)
    return steps.cumsum(-1)


def rare(rng, shape):
    linear = MEAN[-1] * EPISODES / EPISODES[-1]
    is_linear = rng.random((*shape[:-1], 1)) < 0.3
    return np.where(is_linear, linear, MEAN) * lognormal(rng, shape, 0.2)


RARE_MEAN = 0.7 * MEAN + 0.3 * MEAN[-1] * EPISODES / EPISODES[-1]
CURVES = {
    "normal": (lambda rng, shape: MEAN * (1 + 0.25 * correlated(rng, shape)), MEAN),
    "lognormal 0.4": (lambda rng, shape: MEAN * lognormal(rng, shape, 0.4), MEAN),
    "lognormal 1": (lambda rng, shape: MEAN * lognormal(rng, shape, 1.0), MEAN),
    "increments": (increments, MEAN),
    "rare": (rare, RARE_MEAN),
}
LEVELS = {
    "AR(1)": (lambda rng, shape: 1 + correlated(rng, shape), 1.0),
    "random walk": (lambda rng, shape: rng.normal(size=shape).cumsum(-1), 0.0),
}
GAMES = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "gamma": lambda rng, shape: rng.gamma(1.0, size=shape) - 1.0,
    "lognormal": lambda rng, shape: np.exp(0.75 * rng.normal(size=shape)) - np.exp(0.75**2 / 2),
}


# Coverage of intervals


def spreads(statistic, samples, *arguments, seed, resamples, noise=resampling.NOISE):
    """The `Spread` of each repetition [repetition, n, J], by the code of the library."""
    number = samples.shape[1]
    rows = resampling.num_rows(number)
    samples = np.concatenate([samples, np.zeros_like(samples[:, :1]).repeat(rows - number, 1)], 1)

    def one(key, sample):
        drawn = resampling.make_resamples(key, number, rows, resamples)
        return resampling.spread_of(statistic, drawn, number, sample, *arguments, noise=noise)

    batch = jax.jit(jax.vmap(one))
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(seed), len(samples))
        for at in range(0, len(samples), CHUNK):
            here = slice(at, at + CHUNK)
            yield resampling.Spread(*map(np.asarray, batch(keys[here], samples[here])))


def covered(ends, found, truth):
    """Whether each interval has the truth, for all spreads that were found."""
    parts = [ends(spread, LEVEL) for spread in found]
    return np.concatenate([(part.low <= truth) & (truth <= part.high) for part in parts])


def slope_weights(decades, ends):
    """Weights of the slopes over the windows that end at some checkpoints."""
    starts = ends / 10**decades
    return np.stack(
        [
            exponents.slope_weights(EPISODES, (start <= EPISODES) & (end >= EPISODES))
            for start, end in zip(starts, ends, strict=True)
        ]
    )


def growth_exponents(rng, args):
    weights = slope_weights(1.5, EPISODES[-1:])
    for name, (make, mean) in CURVES.items():
        truth = weights @ np.log(mean)
        for n in args.sizes:
            samples = make(rng, (args.repetitions, n, len(EPISODES)))
            found = spreads(
                exponents.weighted_log, samples, weights, seed=n, resamples=args.resamples
            )
            hits = covered(resampling.symmetric, found, truth)[:, 0]
            yield row("growth exponent", name, f"{n} seeds", hits)


def local_exponents(rng, args):
    weights = slope_weights(0.5, EPISODES[EPISODES >= 10])
    jointly = functools.partial(resampling.symmetric, is_joint=True)
    for name in ("lognormal 0.4", "increments"):
        make, mean = CURVES[name]
        truth = weights @ np.log(mean)
        for n in args.sizes:
            samples = make(rng, (args.repetitions, n, len(EPISODES)))
            found = [
                *spreads(exponents.weighted_log, samples, weights, seed=n, resamples=args.resamples)
            ]
            hits = covered(resampling.symmetric, found, truth)
            yield row("local exponent, at K", name, f"{n} seeds", hits[:, -1])
            hits = covered(jointly, found, truth).all(1)
            yield row("local exponents, band", name, f"{n} seeds", hits)


def simultaneous_bands(rng, args):
    jointly = functools.partial(resampling.symmetric, is_joint=True)
    cases = [(f"{name}, linear", *case, bands.mean_curve) for name, case in LEVELS.items()]
    for name in ("lognormal 0.4", "increments"):
        cases.append((f"{name}, log", *CURVES[name], bands.log_curve))
    for name, make, mean, statistic in cases:
        truth = np.log(mean) if statistic is bands.log_curve else mean
        for n in args.sizes:
            samples = make(rng, (args.repetitions, n, len(EPISODES)))
            found = spreads(statistic, samples, seed=n, resamples=args.resamples)
            hits = covered(jointly, found, truth).all(1)
            yield row("simultaneous band", name, f"{n} seeds", hits)


def clustered_means(rng, args):
    for name, make in GAMES.items():
        for n in args.sizes:
            games = make(rng, (args.repetitions, n, 1))
            samples = games + 0.5 * rng.normal(size=(args.repetitions, n, 5))
            found = spreads(
                clusters.itself,
                samples.mean(-1, keepdims=True),
                seed=n,
                resamples=args.resamples,
                noise=clusters.NOISE,
            )
            hits = covered(resampling.equal_tailed, found, 0.0)[:, 0]
            yield row("mean over games", name, f"{n} games", hits)
            pooled = samples.reshape(args.repetitions, -1)
            low, high = statistics.mean_interval(pooled)[1:]
            yield row("  seeds pooled (wrong)", name, f"{n} games", (low <= 0) & (high >= 0))


def means_over_seeds(rng, args):
    for n in (2, 5, 16):
        _, low, high = statistics.mean_interval(rng.normal(size=(args.repetitions, n)))
        yield row("mean, Student's t", "normal", f"{n} seeds", (low <= 0) & (high >= 0))


def shares_of_trials(rng, args):
    """Exact: the binomial probability of the counts whose interval has the truth."""
    for n in (10, 64, 1000):
        counts = np.arange(n + 1)
        _, low, high = statistics.clopper_pearson(counts, n)
        for p in (0.01, 0.05, 0.2, 0.5):
            hit = scipy.stats.binom.pmf(counts, n, p)[(low <= p) & (p <= high)].sum()
            yield shown("Clopper-Pearson", f"p = {p}", f"{n} trials", hit, None, None)


# Size of tests


def sign_flips(rng, args):
    """Share of true hypotheses that are not rejected at 5 %."""
    draws = {
        "normal": lambda shape: rng.normal(size=shape),
        "exchangeable lognormal": lambda shape: np.subtract(
            *np.exp(0.5 * rng.normal(size=(2, *shape)))
        ),
        "skew, mean 0": lambda shape: GAMES["lognormal"](rng, shape),
    }
    for name, draw in draws.items():
        for n in (6, 8, 16, 32, 64):
            p = statistics.sign_flip_test(draw((n, args.repetitions)), seed=n)
            yield row("sign flips, 1 - size", name, f"{n} pairs", p > 0.05)


def families(rng, args):
    """Share of families of 20 true hypotheses, correlated, of which Holm rejects none."""
    shared = rng.normal(size=(16, args.repetitions, 1))
    differences = shared + rng.normal(size=(16, args.repetitions, 20))
    p_values = statistics.sign_flip_test(differences)
    hits = np.array([(statistics.holm(p) > 0.05).all() for p in p_values])
    yield row("Holm, none rejected", "20 tests", "16 pairs", hits)


def row(what, case, size, hits):
    share = float(np.mean(hits))
    return shown(what, case, size, share, np.sqrt(share * (1 - share) / len(hits)), len(hits))


def shown(what, case, size, coverage, error, repetitions):
    return {
        "what": what,
        "case": case,
        "size": size,
        "coverage %": 100 * float(coverage),
        "error %": None if error is None else 100 * float(error),
        "repetitions": repetitions,
        "inside": "yes" if 0.93 <= coverage <= 0.97 else "no",
    }


PARTS = (
    means_over_seeds,
    growth_exponents,
    local_exponents,
    simultaneous_bands,
    clustered_means,
    shares_of_trials,
    sign_flips,
    families,
)


def main():
    parser = harness.options(str(__doc__), ["seed"])
    parser.add_argument("--repetitions", type=int, default=2000, help="of each case")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[5, 8, 16, 32, 64])
    args = harness.parse(parser, repetitions=50, resamples=100, sizes=[8])
    rows = []
    for part in PARTS:
        start = time.perf_counter()
        rows += part(np.random.default_rng(args.seed), args)
        print(f"{part.__name__}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    question = "Do intervals cover at 95 %, and do tests reject a true hypothesis in 5 % of cases?"
    harness.report(question, rows, options=vars(args))


if __name__ == "__main__":
    main()
