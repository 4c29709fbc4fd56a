"""What is left of a study, cut into shards and dealt to workers: every pair once, in even parts."""

import math

import jax
import numpy as np
import pytest
from small_studies import AGENTS, KEY, MECHANISMS

import pajax as px
from pajax.studies.design import make_design
from pajax.studies.outline import OF_GAMES, Cell, Group, Outline, Pairs
from pajax.studies.work import Machine, Worker, check_worker, cut, list_tasks, owned, signature

NUMBERS_OF_WORKERS = range(1, 8)


def outline_of(num_games: dict[str, int], num_cells: int, num_seeds: int) -> Outline:
    """Names and numbers alone: groups of so many games, and so many agents."""
    groups = {
        name: Group("", 2, 2, 2, *([[0.0] * number] * len(OF_GAMES)))
        for name, number in num_games.items()
    }
    agents = {f"agent {i}": "" for i in range(num_cells)}
    return Outline([0, 1], groups, agents, {"none": ""}, {}, [1, 50], num_seeds, "seeds")


def random_outline(rng: np.random.Generator) -> Outline:
    groups = {f"group {i}": int(rng.integers(1, 6)) for i in range(rng.integers(1, 4))}
    return outline_of(groups, int(rng.integers(1, 4)), int(rng.integers(1, 40)))


def some(pairs: Pairs, rng: np.random.Generator) -> Pairs:
    """Any of them, in order."""
    return pairs.take(rng.random(len(pairs)) < rng.choice([0.0, 0.2, 0.8, 1.0]))


def as_list(*parts: Pairs) -> list[tuple[int, int]]:
    """Games and seeds of all parts."""
    return [pair for part in parts for pair in zip(*(x.tolist() for x in part), strict=True)]


def machine(shard_pairs: int | None) -> Machine:
    return Machine(shard_pairs, None, None, {})


CASES = range(60)


@pytest.mark.parametrize("number", NUMBERS_OF_WORKERS)
def test_each_pair_belongs_to_one_worker(number):
    """Whichever pairs are left, a pair has the same worker."""
    for case in CASES:
        rng = np.random.default_rng([case, number])
        outline, size = random_outline(rng), int(rng.integers(1, 50))
        for cell in outline.cells:
            every = outline.pairs(cell)
            parts = [owned(outline, cell, every, Worker(i, number), size) for i in range(number)]
            assert sorted(as_list(*parts)) == as_list(every)
            left = some(every, rng)
            for i, part in enumerate(parts):
                mine = as_list(owned(outline, cell, left, Worker(i, number), size))
                assert mine == [pair for pair in as_list(part) if pair in set(as_list(left))]


def loads_of(outline: Outline, number: int, size: int) -> list[int]:
    """Runs of each worker."""
    of_cell = lambda i, cell: owned(outline, cell, outline.pairs(cell), Worker(i, number), size)  # noqa: E731
    return [sum(len(of_cell(i, cell)) for cell in outline.cells) for i in range(number)]


@pytest.mark.parametrize("number", NUMBERS_OF_WORKERS)
def test_workers_have_even_parts(number):
    """Cells of a group are dealt piece by piece in turn, so parts differ by a piece of each group.

    Pieces themselves differ by a pair, hence parts by one more for each piece that a worker has.
    """
    for case in CASES:
        rng = np.random.default_rng([case, number, 1])
        outline, size = random_outline(rng), int(rng.integers(1, 50))
        loads = loads_of(outline, number, size)
        allowed = 0
        for group in outline.groups.values():
            pairs = len(group) * outline.num_seeds
            pieces = max(math.ceil(pairs / size), math.ceil(number / len(outline.cells)))
            of_worker = math.ceil(pieces * len(outline.agents) / number)
            allowed += math.ceil(pairs / pieces) + of_worker
        assert max(loads) - min(loads) <= allowed


def test_no_worker_is_always_given_the_smallest_piece():
    """Ten pairs in shards of at most three, in ten cells: twenty-five pairs for each of four."""
    outline = outline_of({"": 1}, num_cells=10, num_seeds=10)
    loads = loads_of(outline, 4, 3)
    assert sum(loads) == 100 and max(loads) - min(loads) <= 10  # a pair for each cell


def test_there_is_work_for_many_workers():
    """A single cell smaller than a shard is cut in as many pieces as there are workers."""
    outline = outline_of({"": 1}, num_cells=1, num_seeds=100)
    (cell,) = outline.cells
    parts = [owned(outline, cell, outline.pairs(cell), Worker(i, 7), 1000) for i in range(7)]
    assert {len(part) for part in parts} == {14, 15}


def test_shards_are_nearly_equal_and_in_order():
    cell = Cell("", "a", "m")
    for case in CASES:
        rng = np.random.default_rng([case, 2])
        every = outline_of({"": 3}, 1, int(rng.integers(1, 30))).pairs(cell)
        pairs, size = some(every, rng), int(rng.integers(1, 40))
        tasks = cut(cell, pairs, size)
        assert as_list(*(task.pairs for task in tasks)) == as_list(pairs)
        assert len(tasks) == math.ceil(len(pairs) / size)
        lengths = [len(task.pairs) for task in tasks]
        assert all(0 < length <= size for length in lengths)
        assert not tasks or max(lengths) - min(lengths) <= 1
        assert {task.size for task in tasks} <= {max(lengths, default=0)}


def test_what_is_left_is_cut_as_it_was():
    """After some shards are done, so that the checkpoint of the next one is found again."""
    cell = Cell("", "a", "m")
    for number in range(1, 60):
        every = outline_of({"": 1}, 1, number).pairs(cell)
        for size in range(1, number + 2):
            tasks = cut(cell, every, size)
            for done in range(len(tasks)):
                left = every.without(task.pairs for task in tasks[:done])
                again = cut(cell, left, size)
                for task, same in zip(tasks[done:], again, strict=True):
                    assert as_list(task.pairs) == as_list(same.pairs)


@pytest.mark.parametrize("number", NUMBERS_OF_WORKERS)
def test_tasks_are_all_that_is_lacking(number):
    for case in CASES:
        rng = np.random.default_rng([case, number, 3])
        outline = random_outline(rng)
        lacking = {cell: some(outline.pairs(cell), rng) for cell in outline.cells}
        shard_pairs = int(rng.integers(1, 50))
        tasks = [
            task
            for i in range(number)
            for task in list_tasks(outline, machine(shard_pairs), lacking, Worker(i, number))
        ]
        for cell, pairs in lacking.items():
            found = [task.pairs for task in tasks if task.cell == cell]
            assert sorted(as_list(*found)) == as_list(pairs)
        assert all(0 < len(task.pairs) <= task.size <= shard_pairs for task in tasks)


@pytest.mark.parametrize(
    ("num_steps", "expected"),
    [(1, 16_384), (24_414, 16_384), (100_000, 4096), (400_000, 1024), (3_125_000, 128), (1e9, 128)],
)
def test_a_shard_takes_some_seconds(num_steps, expected):
    """4e8 steps, rounded to a power of two of 128 to 16,384 runs."""
    assert machine(None).shard_size(num_steps) == expected
    assert machine(7).shard_size(num_steps) == 7


# Arguments


def test_without_a_worker_there_is_one():
    assert check_worker(None, has_store=False) == (0, 1)
    assert check_worker(None, has_store=True) == (0, 1)


def test_a_worker_may_be_a_list():
    """As a TOML file gives it."""
    assert check_worker([2, 3], has_store=True) == (2, 3)
    assert check_worker((np.int64(0), 1), has_store=True) == (0, 1)


@pytest.mark.parametrize(
    ("worker", "message"),
    [
        (3, r"worker: got 3, must be \(i, n\), the i-th of n from 0"),
        ((1, 2, 3), r"worker: got \(1, 2, 3\), must be \(i, n\)"),
        ("12", r"worker: got '12', must be \(i, n\)"),
        ((0.0, 2), r"worker\[0\]: got 0.0, must be a whole number"),
        ((0, "2"), r"worker\[1\]: got '2', must be a whole number"),
        ((0, 0), r"worker\[1\]: got 0, must be at least 1"),
        ((-1, 2), r"worker\[0\]: got -1, must be at least 0"),
        ((2, 2), r"worker\[0\]: got 2, must be at most 1"),
    ],
)
def test_bad_workers(worker, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        check_worker(worker, has_store=True)


def test_workers_need_a_store():
    with pytest.raises(ValueError, match=r"^worker: got \(0, 2\), must come with a store"):
        check_worker((0, 2), has_store=False)


# Compilations


@pytest.fixture(scope="module")
def design():
    games = {"one": px.games.bandit(), "large": px.games.bandit([0.1] * 6, [0.2] * 6)}
    agents = AGENTS | {"blind": px.agents.UCBQ(memory="blind")}
    options = {"agents": agents, "mechanisms": MECHANISMS, "num_episodes": 24, "num_seeds": 20}
    return make_design(KEY, games, **options)


@pytest.fixture(scope="module")
def signatures(design):
    """By cell, of shards of four runs."""
    made = Machine.of(design, 4, None, None)
    lacking = {cell: design.outline.pairs(cell) for cell in design.outline.cells}
    tasks = list_tasks(design.outline, made, lacking, Worker(0, 1))
    return {task.cell: signature(design, made, task) for task in tasks}


def test_values_share_a_compilation(signatures):
    cell = Cell("one", "low", "none")
    assert signatures[cell] == signatures[cell._replace(agent="high")]
    assert signatures[cell] == signatures[cell._replace(mechanism="paid")]


def test_sizes_and_modes_do_not(signatures):
    cell = Cell("one", "low", "none")
    assert signatures[cell] != signatures[cell._replace(group="large")]
    assert signatures[cell] != signatures[cell._replace(agent="blind")]
    assert len(set(signatures.values())) == 4


def test_the_number_of_runs_counts(design):
    made = Machine.of(design, None, None, jax.devices()[:1])
    cell = design.outline.cells[0]
    tasks = [cut(cell, design.outline.pairs(cell), size)[0] for size in (5, 5, 10)]
    found = [signature(design, made, task) for task in tasks]
    assert found[0] == found[1] != found[2]


def test_bad_pieces(design):
    with pytest.raises(ValueError, match=r"^shard_pairs: got 0, must be at least 1"):
        Machine.of(design, 0, None, None)
    with pytest.raises(ValueError, match=r"^chunk_lanes: got 1.5, must be a whole number"):
        Machine.of(design, None, 1.5, None)
