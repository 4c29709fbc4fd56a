"""The design of a study: its parts and its outline, checked before anything runs.

Pair (g, i) of a cell, with game g counted within its group, has the random key
`fold_in(fold_in(key, g), i)` in every cell. So cells and groups share their random numbers, and
more seeds, games, agents or mechanisms extend a study without changing what it has.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from pajax import _checks
from pajax._pytree import map_with_rank, with_lanes
from pajax.game import Game
from pajax.hardness import hardness
from pajax.simulate import check_parts, spec_of, start
from pajax.stages import checkpoints, make_schedule
from pajax.studies import identity, kept
from pajax.studies.outline import OF_GAMES, SIZES, Cell, Group, Outline

KEEPS = ("seeds", "moments")
#: Runs of a cell, at most: their numbers alone take 16 bytes each.
MAX_RUNS = 2**28


class Parts(NamedTuple):
    """What a cell is made of; the game has one lane axis."""

    game: Game
    agent: Any
    mechanism: Any


class Design(NamedTuple):
    """What a study runs; made and checked by `make_design`."""

    outline: Outline
    key: Array
    groups: Mapping[str, Game]
    agents: Mapping[str, Mapping[str, Any]]  # by name, then by group
    mechanisms: Mapping[str, Mapping[str, Any]]

    def parts(self, cell: Cell) -> Parts:
        """The objects of a cell."""
        agent, mechanism = self.agents[cell.agent], self.mechanisms[cell.mechanism]
        return Parts(self.groups[cell.group], agent[cell.group], mechanism[cell.group])


def make_design(
    key: Array,
    game: Game | Mapping[str, Game],
    *,
    agents: Mapping[str, Any],
    mechanisms: Mapping[str, Any],
    num_episodes: int,
    num_seeds: int,
    record: Any = None,
    keep: str = "seeds",
) -> Design:
    """A checked `Design`; the arguments are those of `pajax.study`.

    Raises:
      ValueError: an argument breaks a rule.
    """
    named = {"game": game} if isinstance(game, Mapping) else {}
    for name, parts in (*named.items(), ("agents", agents), ("mechanisms", mechanisms)):
        _check_names(name, parts)
    groups = game if isinstance(game, Mapping) else {"": game}
    num_seeds = _checks.whole("num_seeds", num_seeds)
    _checks.choice("keep", keep, KEEPS)
    record = checkpoints(num_episodes) if record is None else np.asarray(record, np.int64)
    make_schedule(num_episodes, record)  # raises early
    for group, one in groups.items():
        argument = f"game[{group!r}]" if group else "game"
        _checks.require(isinstance(one, Game), argument, repr(one), "be a pajax.Game")
        rule = "have at most one lane axis (a batch of games)"
        _checks.require(len(one.lanes) <= 1, argument, f"lanes {one.lanes}", rule)
    agents = _in_each_group("agents", agents, groups)
    mechanisms = _in_each_group("mechanisms", mechanisms, groups)
    for group, one in groups.items():
        named_agents, named_mechanisms = (
            _named(kind, group) for kind in _kinds(agents, mechanisms)
        )
        check_parts(key, one, named_agents, named_mechanisms, [])
    _checks.require(key.shape == (), "key", f"shape {key.shape}", "be one key, not several")
    groups = {group: with_lanes(one, one.lanes or (1,)) for group, one in groups.items()}
    outline = Outline(
        key=np.asarray(jax.random.key_data(key)).tolist(),
        groups={name: _group(game) for name, game in groups.items()},
        agents=_shown(agents),
        mechanisms=_shown(mechanisms),
        terms=_terms(mechanisms, groups, num_episodes),
        record=record.tolist(),
        num_seeds=num_seeds,
        keep=keep,
    )
    largest = max(len(group) for group in outline.groups.values()) * num_seeds
    rule = f"make at most {MAX_RUNS:,} runs of a cell"
    _checks.require(largest <= MAX_RUNS, "num_seeds", f"{num_seeds} ({largest:,} runs)", rule)
    return Design(outline, key, groups, agents, mechanisms)


def _group(game: Game) -> Group:
    """What is known of games."""
    known = hardness(game)
    values = {
        "optimal_welfare": known.optimal_welfare,
        "agent_value": known.optimal_welfare - known.coase_value,
        "laissez_faire_welfare": known.optimal_welfare - known.laissez_faire_gap,
        "smallest_welfare_gap": known.smallest_welfare_gap,
        "path_coverage": known.coverage,
        "laissez_faire_coverage": known.laissez_faire_coverage,
    }
    sizes = {name: getattr(game, name) for name in SIZES}
    return Group(repr(game), **sizes, **{name: x.tolist() for name, x in values.items()})


def _terms(
    mechanisms: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Game], num_episodes: int
) -> dict[str, dict[str, dict[str, list[float]]]]:
    """What bounds ask of mechanisms, for each game of each group; those that have no terms miss."""
    taken = {*kept.VARIABLES, *OF_GAMES, *SIZES}

    def of_group(name: str, mechanism: Any, game: Game) -> dict[str, list[float]]:
        terms = with_lanes(mechanism, game.lanes).terms(spec_of(game, num_episodes))
        shown = f"terms {sorted(taken & terms.keys())}"
        rule = "have terms that no variable of a Dataset is called by"
        _checks.require(taken.isdisjoint(terms), f"mechanisms[{name!r}]", shown, rule)
        of_games = lambda value: np.broadcast_to(np.asarray(value, float), game.lanes)  # noqa: E731
        return {name: of_games(value).tolist() for name, value in terms.items()}

    return {
        name: {group: of_group(name, part, groups[group]) for group, part in of_groups.items()}
        for name, of_groups in mechanisms.items()
        if hasattr(next(iter(of_groups.values())), "terms")
    }


def _shown(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Parts by name as text for people; by group only where they differ."""

    def of_groups(of_group: Mapping[str, Any]) -> Any:
        shown = {group: repr(part) for group, part in of_group.items()}
        texts = [*dict.fromkeys(shown.values())]
        return texts[0] if len(texts) == 1 else shown

    return {name: of_groups(of_group) for name, of_group in parts.items()}


def _kinds(agents: Any, mechanisms: Any) -> Iterator[tuple[str, Mapping[str, Mapping[str, Any]]]]:
    yield "agents", agents
    yield "mechanisms", mechanisms


def _named(kind: tuple[str, Mapping[str, Mapping[str, Any]]], group: str) -> dict[str, Any]:
    """The parts of one kind in a group, by what an error should call them."""
    return {f"{kind[0]}[{name!r}]": of_group[group] for name, of_group in kind[1].items()}


def _check_names(argument: str, parts: Any) -> None:
    is_named = isinstance(parts, Mapping) and len(parts) > 0
    _checks.require(is_named, argument, repr(parts), "map at least one name to an object")
    for name in parts:
        is_name = isinstance(name, str) and bool(name.strip())
        _checks.require(is_name, argument, f"the name {name!r}", "have names that are strings")
        # games of a group are labelled NAME/0, NAME/1
        has_slash = argument == "game" and "/" in name
        _checks.require(not has_slash, argument, f"the name {name!r}", "have names without /")


def _in_each_group(
    argument: str, parts: Mapping[str, Any], groups: Mapping[str, Game]
) -> dict[str, dict[str, Any]]:
    """Parts by name and group; a function of the game is called with that of each group."""

    def of_group(part: Any, game: Game) -> Any:
        return part(game) if not dataclasses.is_dataclass(part) and callable(part) else part

    return {
        name: {group: of_group(part, game) for group, game in groups.items()}
        for name, part in parts.items()
    }


def form(parts: Parts) -> Any:
    """What tracing depends on; equal for parts that share a compilation."""

    def of_leaf(leaf: Any, rank: int) -> str:
        dtype = jax.dtypes.canonicalize_dtype(np.asarray(leaf).dtype).name
        return f"{np.shape(leaf)[:rank]} {np.ndim(leaf) > rank} {dtype}"

    forms = jax.tree.leaves([map_with_rank(of_leaf, part) for part in parts])
    return jax.tree.structure(parts), *forms


def rehearse(design: Design) -> dict[Cell, int]:
    """Trace the first stage of every form of cell, so that what cannot run fails at once.

    Returns:
      Bytes of the state of one pair, by cell.
    """
    of_form: dict[Any, int] = {}
    sizes = {}
    for cell in design.outline.cells:
        parts = design.parts(cell)
        key = form(parts)
        if key not in of_form:
            of_form[key] = _pair_bytes(parts, design.outline.num_episodes)
        sizes[cell] = of_form[key]
    return sizes


def _pair_bytes(parts: Parts, num_episodes: int) -> int:
    """Bytes of the state of a pair, by tracing the first stage."""
    game, agent, mechanism = (with_lanes(part, parts.game.lanes) for part in parts)
    begin = functools.partial(start, num_episodes=num_episodes)
    opening = jax.eval_shape(begin, game, agent, mechanism)
    jax.eval_shape(agent.begin, opening.agent, opening.contract)
    jax.eval_shape(mechanism.report, opening.mechanism)
    num_bytes = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(opening))
    return num_bytes // math.prod(game.lanes)


# What a design is, by value


def entries(design: Design) -> dict[str, Any]:
    """Descriptions of all that a result depends on but seeds and names of cells, by name.

    Designs whose common entries are equal can share their results: one extends the other.
    """
    found: dict[str, Any] = {"study": _settings(design)}
    for group, game in design.groups.items():
        label = f"game[{group!r}]" if group else "game"
        found[label] = identity.describe(game)
        found |= _of_games(label, game, game.lanes[0])
    for argument, parts in _kinds(design.agents, design.mechanisms):
        for name, of_group in parts.items():
            for group, part in of_group.items():
                label = f"{argument}[{name!r}]" + (f" in game[{group!r}]" if group else "")
                found[label] = identity.describe(part)
                found |= _of_games(label, part, len(design.outline.groups[group]))
    return found


def identities(design: Design) -> dict[Cell, tuple[str, list[str]]]:
    """Hashes of all that results depend on but seeds, by cell.

    The first is of what all games of a cell share; then one for each game, of what it has of its
    own in all parts.
    """
    settings = _settings(design)
    known: dict[Any, Any] = {}

    def of_part(part: Any, num_games: int) -> Any:
        key = id(part), num_games
        if key not in known:
            known[key] = identity.describe(part), identity.each_game(part, num_games)
        return known[key]

    found = {}
    for cell in design.outline.cells:
        number = len(design.outline.groups[cell.group])
        described = [of_part(part, number) for part in design.parts(cell)]
        own = [part for _, part in described if part[0] is not None]
        each = [identity.digest(list(of_parts)) for of_parts in zip(*own, strict=True)]
        found[cell] = identity.digest([settings, *(part for part, _ in described)]), each
    return found


def _settings(design: Design) -> dict[str, Any]:
    from pajax import __version__

    outline = design.outline
    return {
        "pajax": __version__,  # stands for its code
        "key": outline.key,
        "num_episodes": outline.num_episodes,
        "record": identity.describe(np.array(outline.record)),
        "keep": outline.keep,
        "float": jnp.zeros(()).dtype.name,
    }


def _of_games(label: str, part: Any, num_games: int) -> dict[str, Any]:
    each = identity.each_game(part, num_games)
    return {f"{label}[{g}]": {"arrays": of_game} for g, of_game in enumerate(each) if of_game}
