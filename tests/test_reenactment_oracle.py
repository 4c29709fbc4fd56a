"""The plain-loop re-enactment against known answers and cases worked by hand.

Source: THEORY.md sections 1-5 and the trajectory specification in the docstrings of pajax. Nothing
here imports pajax: the oracle has to stand on its own before a run of pajax is held against it.
"""

import math

import numpy as np
import pytest
from oracles import interval_tests as it
from oracles.agents import epsilon_greedy, value_caps
from oracles.reenactment import (
    UCBQ,
    UCBVI,
    BestResponse,
    Episode,
    FixedContract,
    GameArrays,
    QLearning,
    SamplerTables,
    Sizes,
    Stage,
    TwoPhase,
    draw,
    reenact,
    threefry2x32,
    threefry_words,
)

BANDIT_TAU = [0.6, 0.45, 0.3, 0.15, 0.0]
FULL = (1 << 24) - 1


# Builders ------------------------------------------------------------------------------------


def alias_row(probabilities):
    """Return a packed alias row whose exact law is within 2^-22 of the probabilities."""
    size = len(probabilities)
    share = [size * float(p) for p in probabilities]
    threshold, alias = [FULL] * size, list(range(size))
    small = [i for i in range(size) if share[i] < 1.0]
    large = [i for i in range(size) if share[i] >= 1.0]
    while small and large:
        low, high = small.pop(), large.pop()
        threshold[low], alias[low] = min(FULL, round(share[low] * 2**24)), high
        share[high] -= 1.0 - share[low]
        (small if share[high] < 1.0 else large).append(high)
    return np.array([(t << 8) | a for t, a in zip(threshold, alias, strict=True)], dtype=np.uint32)


def alias_tables(game):
    """Return the packed tables of a game."""
    flat = game.transition.reshape(-1, game.transition.shape[-1])
    kernel = np.array([alias_row(row) for row in flat]).reshape(game.transition.shape)
    return SamplerTables(alias_row(game.initial), kernel)


def bandit(u, v, noise="deterministic"):
    """Return a game with one state and one step."""
    num_actions = len(u)
    return GameArrays(
        transition=np.ones((1, 1, num_actions, 1)),
        agent_reward=np.array(u, dtype=np.float64).reshape(1, 1, num_actions),
        principal_reward=np.array(v, dtype=np.float64).reshape(1, 1, num_actions, 1),
        initial=np.ones(1),
        horizon=1,
        noise=noise,
    )


def theory_bandit(noise="bernoulli"):
    """Return the bandit of THEORY.md section 5."""
    return bandit([0.2, 0.35, 0.5, 0.65, 0.8], [0.55, 0.9, 0.5, 0.3, 0.1], noise)


def random_game(seed, horizon, num_states, num_actions, timed=False):
    """Return a game with a full-support random kernel."""
    rng = np.random.default_rng(seed)
    shape = (horizon if timed else 1, num_states, num_actions)
    kernel = 0.2 / num_states + 0.8 * rng.dirichlet(np.ones(num_states), size=shape)
    return GameArrays(
        transition=kernel,
        agent_reward=rng.uniform(size=shape),
        principal_reward=rng.uniform(size=(*shape, 1)),
        initial=np.full(num_states, 1.0 / num_states),
        horizon=horizon,
    )


def sizes_of(game, num_episodes):
    """Return the Sizes a learner is told."""
    _, num_states, num_actions = game.agent_reward.shape
    return Sizes(game.horizon, num_states, num_actions, num_episodes)


def contract_of(transfer):
    """Return a contract with no target."""
    return FixedContract(transfer).post()


def play(game, agent, mechanism, stage_lengths, key=(7, 11)):
    """Re-enact on the game's own tables."""
    words = threefry_words(key)
    return reenact(game, alias_tables(game), words, agent, mechanism, stage_lengths)


def one_state_episode(actions, rewards, payments=None):
    """Return an Episode of a game with one state."""
    length = len(actions)
    paid = [0.0] * length if payments is None else payments
    return Episode([0] * length, list(actions), list(rewards), list(paid), [0] * length)


def values_of(game, transfer=0.0):
    """Return Q [H, S, A] by vectorised backward induction."""
    horizon = game.horizon
    shape = (horizon, *game.agent_reward.shape[1:])
    reward = np.broadcast_to(game.agent_reward, shape) + transfer
    kernel = np.broadcast_to(game.transition, (*shape, shape[1]))
    q, value = np.zeros(shape), np.zeros(shape[1])
    for step in reversed(range(horizon)):
        q[step] = reward[step] + np.einsum("ijk,k->ij", kernel[step], value)
        value = q[step].max(axis=1)
    return q


def minimal_transfers(game):
    """Return tau* of (T2)."""
    q = values_of(game)
    return q.max(axis=2, keepdims=True) - q


# Random words and draws ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "counter", "answer"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_known_answers(key, counter, answer):
    assert threefry2x32(key, counter) == answer
    assert threefry_words(key)(*counter) == answer


def test_draw_reads_the_entry_and_its_alias():
    row = np.array([(1 << 23) << 8 | 2, FULL << 8 | 1, 0 << 8 | 0], dtype=np.uint32)
    third = (1 << 32) // 3 + 1  # the least word that falls on entry 1
    assert draw(row, 0) == 0
    assert draw(row, third // 2 - 200) == 0
    assert draw(row, third // 2 + 200) == 2
    assert draw(row, third + 5) == 1
    assert draw(row, 0xFFFFFFFF) == 0  # threshold 0: always the alias


def test_draw_has_the_law_of_the_row():
    probabilities = [0.5, 0.05, 0.3, 0.15]
    row, words = alias_row(probabilities), threefry_words((1, 2))
    counts = np.bincount([draw(row, words(i, 0)[0]) for i in range(4000)], minlength=4)
    np.testing.assert_allclose(counts / 4000, probabilities, atol=0.035)


def test_words_reach_the_places_the_specification_gives_them():
    game, used = random_game(3, 3, 2, 2, timed=True), []
    words = threefry_words((5, 6))

    def recorded(episode, place):
        used.append((episode, place))
        return words(episode, place)

    agent = UCBVI(sizes_of(game, 2), bonus=0.1)
    mechanism = FixedContract(np.zeros((3, 2, 2)))
    trajectory = reenact(game, alias_tables(game), recorded, agent, mechanism, [2])
    assert sorted(used) == [(e, d) for e in range(2) for d in range(7)]
    first_state = draw(alias_row(game.initial), words(0, 6)[0])
    mean = game.agent_reward[0, first_state, 0]
    assert trajectory.states[0, 0] == first_state
    assert trajectory.agent_rewards[0, 0] == float((words(0, 0)[0] >> 8) * 2.0**-24 < mean)
    mean = game.principal_reward[0, first_state, 0, 0]
    assert trajectory.principal_rewards[0, 0] == float((words(0, 0)[1] >> 8) * 2.0**-24 < mean)
    kernel = alias_tables(game).kernel
    for episode in range(2):
        for step in range(2):
            state, action = trajectory.states[episode, step], trajectory.actions[episode, step]
            row = kernel[step, state, action]
            drawn = draw(row, words(episode, 2 * step + 1)[0])
            assert trajectory.states[episode, step + 1] == drawn


def test_time_indexed_tables_are_read_at_their_step():
    kernel = np.zeros((2, 2, 1, 2))
    kernel[0, :, :, 1] = 1.0  # step 0 leads to state 1, step 1 to state 0
    kernel[1, :, :, 0] = 1.0
    agent_reward = np.array([[[0.1], [0.2]], [[0.3], [0.4]]])
    principal_reward = np.array([[[0.5], [0.6]]])[..., None]  # stationary, the others are not
    game = GameArrays(kernel, agent_reward, principal_reward, np.eye(2)[0], 2, "deterministic")
    agent = UCBVI(sizes_of(game, 3), bonus=0.1)
    trajectory = play(game, agent, FixedContract(np.zeros((2, 2, 1))), [3])
    assert trajectory.states.tolist() == [[0, 1]] * 3
    assert trajectory.agent_rewards.tolist() == [[0.1, 0.4]] * 3
    assert trajectory.principal_rewards.tolist() == [[0.5, 0.6]] * 3
    assert agent.transitions[0, 0, 0].tolist() == [0, 3]
    assert agent.transitions[1, 1, 0].tolist() == [3, 0]  # drawn at the last step too


def test_epsilon_greedy_reuses_its_uniform():
    row = [0.0, 3.0, 3.0, 1.0]
    word = {x: int(x * 2**32) for x in (0.0, 0.125, 0.25, 0.4375, 0.5)}
    assert [epsilon_greedy(row, 0.5, word[x]) for x in word] == [0, 1, 2, 3, 1]
    assert epsilon_greedy(row, 0.0, 0) == 1


# Agents --------------------------------------------------------------------------------------


def test_q_learning_by_hand():
    agent = QLearning(Sizes(2, 1, 1, 10))
    agent.begin(contract_of(np.zeros((2, 1, 1))))
    agent.update(one_state_episode([0, 0], [0.5, 1.0]))  # lr = 3/3
    assert agent.q.ravel().tolist() == [0.5, 1.0]
    agent.update(one_state_episode([0, 0], [0.25, 0.0], [0.25, 0.0]))  # lr = 3/4, q[1] before
    assert agent.q.ravel().tolist() == [0.5 + 0.75 * (0.5 + 1.0 - 0.5), 0.25]
    assert agent.visits.ravel().tolist() == [2, 2]


def test_q_learning_takes_numbers_and_schedules():
    seen = []
    agent = QLearning(
        Sizes(1, 1, 2, 10),
        epsilon=lambda done: 1.0 / (1 + done),
        learning_rate=lambda n: seen.append(n) or 0.5,
    )
    contract = contract_of(np.zeros((1, 1, 2)))
    agent.begin(contract)
    assert agent.epsilon == 1.0
    for _ in range(3):
        agent.update(one_state_episode([1], [1.0]))
    agent.begin(contract)
    assert (agent.epsilon, seen) == (0.25, [0, 1, 2])
    assert agent.q[0, 0].tolist() == [0.0, 0.875]


def test_memory_of_q_learning():
    offer = np.array([[[0.0, 0.5], [0.0, 0.0]]])
    q, visits = np.full((1, 2, 2), 0.25), np.full((1, 2, 2), 3)
    expected = {
        "aware": ([[0.25, 0.75], [0.25, 0.25]], [[3, 3], [3, 3]]),
        "restarting": ([[0.0, 0.0], [0.25, 0.25]], [[0, 0], [3, 3]]),
        "blind": ([[0.25, 0.25], [0.25, 0.25]], [[3, 3], [3, 3]]),
    }
    for memory, (q_after, visits_after) in expected.items():
        agent = QLearning(Sizes(1, 2, 2, 10), memory=memory)
        agent.q, agent.visits = q.copy(), visits.copy()
        agent.begin(contract_of(offer))
        agent.begin(contract_of(offer))  # the same contract again changes nothing
        assert agent.q[0].tolist() == q_after, memory
        assert agent.visits[0].tolist() == visits_after, memory
    aware = QLearning(Sizes(1, 2, 2, 10))
    aware.begin(contract_of(offer))
    aware.begin(contract_of(np.zeros((1, 2, 2))))
    assert not aware.q.any()
    with pytest.raises(ValueError, match="memory"):
        QLearning(Sizes(1, 2, 2, 10), memory="wise")


def test_a_trajectory_of_q_learning_by_hand():
    game = bandit([0.25, 0.5], [1.0, 0.0])
    offers = iter([[0.0, 0.0], [0.0, 0.5], [0.0, 0.0]])

    class Offers:
        def post(self):
            return contract_of(np.array(next(offers)).reshape(1, 1, 2))

        def observe(self, stage):
            pass

    trajectory = play(game, QLearning(sizes_of(game, 6)), Offers(), [2, 2, 2])
    # q = (0, 0), then (.25, 0); the offer makes it (.25, .5), one visit (.25, 1), then (.25, .5)
    assert trajectory.actions.ravel().tolist() == [0, 0, 1, 1, 1, 1]
    assert trajectory.agent_rewards.ravel().tolist() == [0.25, 0.25, 0.5, 0.5, 0.5, 0.5]
    assert trajectory.payments.ravel().tolist() == [0.0, 0.0, 0.5, 0.5, 0.0, 0.0]
    assert trajectory.principal_rewards.ravel().tolist() == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    assert trajectory.targets[0].tolist() == [[-1]]
    assert trajectory.lo is None


def test_ucb_q_by_hand():
    agent = UCBQ(Sizes(2, 1, 1, 10), bonus=0.5)
    agent.begin(contract_of(np.array([[[0.0]], [[0.25]]])))
    assert agent.q.ravel().tolist() == [2.0, 1.25]  # aware adds the offer
    assert agent.cap == [2.25, 1.25, 0.0]
    agent.q[1, 0, 0] = 9.0  # the target clips it at cap[1]
    agent.update(one_state_episode([0, 0], [1.0, 0.5], [0.0, 0.25]))  # lr = 1
    bonus = 0.5 * math.sqrt(2**3 * math.log(1 * 1 * 2 * 10) / 1)
    assert agent.q.ravel().tolist() == [
        2.0 + (1.0 + bonus + 1.25 - 2.0),
        9.0 + (0.75 + bonus - 9.0),
    ]


def test_ucb_q_restarts_at_the_steps_to_go():
    agent = UCBQ(Sizes(2, 1, 2, 10), bonus=0.5, memory="restarting")
    agent.begin(contract_of(np.zeros((2, 1, 2))))
    agent.update(one_state_episode([0, 1], [1.0, 0.5]))
    kept = agent.q[0].copy()
    agent.begin(contract_of(np.array([[[0.0, 0.0]], [[0.5, 0.0]]])))
    assert agent.q[1].tolist() == [[1.0, 1.0]]
    assert agent.visits.tolist() == [[[1, 0]], [[0, 0]]]
    assert (agent.q[0] == kept).all()
    assert agent.cap == [2.5, 1.5, 0.0]


def test_caps_add_the_best_offer_of_every_later_step():
    transfer = np.array([[[0.0, 0.5], [0.25, 0.0]], [[0.0, 0.0], [0.0, 2.0]]])
    assert value_caps(transfer) == [4.5, 3.0, 0.0]


@pytest.mark.parametrize("memory", ["aware", "restarting", "blind"])
def test_ucb_vi_by_hand(memory):
    agent = UCBVI(Sizes(1, 1, 2, 8), bonus=0.25, memory=memory)
    offer = contract_of(np.array([[[0.25, 0.0]]]))
    agent.begin(offer)
    assert agent.q[0, 0].tolist() == [1.25, 1.25]
    for _ in range(4):
        agent.update(one_state_episode([0], [0.5], [0.25]))
    radius = 0.25 * math.sqrt(math.log(8) / 4)
    agent.begin(offer)
    assert agent.q[0, 0].tolist() == [0.75 + radius, 1.25]
    agent.begin(contract_of(np.zeros((1, 1, 2))))
    after = {"aware": 0.5 + radius, "blind": 0.75 + radius, "restarting": 1.0}[memory]
    assert agent.q[0, 0].tolist() == [min(1.0, after), 1.0]


def test_ucb_vi_plans_on_its_counts():
    game = random_game(1, 3, 3, 2)
    agent = UCBVI(sizes_of(game, 200), bonus=0.02)
    transfer = np.random.default_rng(2).uniform(0.0, 0.3, size=(3, 3, 2))
    play(game, agent, FixedContract(transfer), [20] * 10)
    agent.begin(contract_of(transfer))
    visits = agent.transitions.sum(axis=3)
    assert visits.sum() == 600
    cap, value = value_caps(transfer), np.zeros(3)
    for step in (2, 1, 0):
        n = np.maximum(visits[step], 1)
        q = agent.reward_sum[step] / n + transfer[step] + agent.transitions[step] @ value / n
        q = np.minimum(cap[step], q + 0.02 * (3 - step) * np.sqrt(np.log(200) / n))
        q = np.where(visits[step] > 0, q, cap[step])
        np.testing.assert_allclose(agent.q[step], q, rtol=1e-13)
        value = q.max(axis=1)


@pytest.mark.parametrize("timed", [False, True])
def test_best_response_solves_its_game(timed):
    game = random_game(4, 4, 3, 3, timed)
    transfer = np.random.default_rng(5).uniform(size=(4, 3, 3))
    agent = BestResponse(game)
    agent.begin(contract_of(transfer))
    np.testing.assert_allclose(agent.q, values_of(game, transfer), rtol=1e-13)


def test_best_response_explores_at_its_rate():
    game = theory_bandit()
    mechanism = FixedContract(np.zeros((1, 1, 5)))
    greedy = play(game, BestResponse(game), mechanism, [50])
    assert (greedy.actions == 4).all()
    explored = play(game, BestResponse(game, epsilon=0.5), mechanism, [2000])
    shares = np.bincount(explored.actions.ravel(), minlength=5) / 2000
    np.testing.assert_allclose(shares, [0.1, 0.1, 0.1, 0.1, 0.6], atol=0.04)
    means = [explored.agent_rewards[explored.actions == a].mean() for a in range(5)]
    np.testing.assert_allclose(means, [0.2, 0.35, 0.5, 0.65, 0.8], atol=0.12)


# Phase 1, one (step, state) at a time --------------------------------------------------------


def fresh_intervals(top, num_actions=1, **fields):
    """Return untouched intervals and the settings of K = 10^4."""
    return it.Intervals.start(top, num_actions), it.Settings(**fields).fill(10_000)


def test_defaults_follow_the_number_of_episodes():
    settings = it.Settings().fill(10_000)
    assert settings.width == pytest.approx(0.2)
    assert (settings.test_visits, settings.check_visits) == (25.0, 20)
    settings = it.Settings(min_visits=5).fill(10_000)
    assert settings.check_visits == 12.5


def test_gallop_when_every_answer_is_no():
    intervals, settings = fresh_intervals(5.0)
    offers, lows = [], []
    for _ in range(4):
        test = it.next_test(intervals, settings, verify=True)
        offers.append(test.offer)
        it.close_bisection(intervals, test, yes=False, inflation=0.125)
        lows.append(intervals.lo[0])
    # 1.3125 = 2 * .65625 leaves lo = 1.3125 - .125 * 1.3125 = 1.1484375, then 2.296875
    assert offers == [0.5, 0.75, 1.3125, 2.296875]
    assert lows[:3] == [0.375, 0.65625, 1.1484375]
    assert intervals.hi == [5.0] and intervals.touched == [False]


def test_a_touched_interval_shrinks_by_1_6():
    for yes in (True, False):
        intervals, settings = fresh_intervals(4.0)
        intervals.touched[0], intervals.lo[0] = True, 2.0
        test = it.next_test(intervals, settings, verify=True)
        assert (test.kind, test.offer) == (it.BISECT, 3.0)
        it.close_bisection(intervals, test, yes, inflation=0.125)
        assert intervals.hi[0] - intervals.lo[0] == 2.0 / 1.6
        assert (intervals.lo[0], intervals.hi[0]) == ((2.0, 3.25) if yes else (2.75, 4.0))


def test_a_touched_interval_is_halved_and_not_galloped():
    intervals, settings = fresh_intervals(4.0)
    intervals.lo, intervals.hi, intervals.touched = [0.25], [3.25], [True]
    assert it.next_test(intervals, settings, verify=True).offer == 1.75
    intervals.touched = [False]
    assert it.next_test(intervals, settings, verify=True).offer == 0.5


def test_wide_intervals_need_fewer_visits():
    intervals, settings = fresh_intervals(4.0, width=0.5, test_visits=1600, min_visits=20)
    assert it.next_test(intervals, settings, verify=True).needed == 25.0
    intervals.lo = [3.0]
    assert it.next_test(intervals, settings, verify=True).needed == 400.0
    intervals.lo, intervals.hi = [0.0], [16.0]
    assert it.next_test(intervals, settings, verify=True).needed == 20


def test_first_yes_of_a_gallop_uses_the_part_below_the_offer():
    intervals, settings = fresh_intervals(5.0)
    test = it.next_test(intervals, settings, verify=True)
    it.close_bisection(intervals, test, yes=True, inflation=0.125)
    assert (intervals.lo, intervals.hi, intervals.touched) == ([0.0], [0.625], [True])
    assert it.next_test(intervals, settings, verify=True).offer == 0.3125


def test_order_of_the_tests_and_what_a_failed_check_does():
    intervals, settings = fresh_intervals(4.0, num_actions=2, width=0.25)
    intervals.lo, intervals.hi = [1.0, 0.0], [1.25, 0.25]
    assert it.next_test(intervals, settings, verify=False).kind == it.DONE
    test = it.next_test(intervals, settings, verify=True)
    assert (test.kind, test.action, test.offer, test.needed) == (it.CHECK_HIGH, 0, 1.375, 20)
    it.close_check(intervals, test, True, 0.25)
    test = it.next_test(intervals, settings, verify=True)
    assert (test.kind, test.action) == (it.CHECK_HIGH, 1)
    it.close_check(intervals, test, True, 0.25)
    test = it.next_test(intervals, settings, verify=True)
    assert (test.kind, test.action, test.offer) == (it.CHECK_LOW, 0, 0.875)
    it.close_check(intervals, test, True, 0.25)  # lo - w/2 sufficed: reopen
    assert (intervals.lo, intervals.fails) == ([0.75, 0.0], [1, 0])
    assert (intervals.checked_hi, intervals.checked_lo) == ([False, True], [False, False])
    test = it.next_test(intervals, settings, verify=True)
    assert (test.kind, test.action) == (it.BISECT, 0)
    intervals.lo[0] = 1.0
    test = it.next_test(intervals, settings, verify=True)
    assert (test.kind, test.action) == (it.CHECK_HIGH, 0)
    it.close_check(intervals, test, False, 0.25)
    assert (intervals.hi[0], intervals.fails[0]) == (1.75, 2)


def test_checks_stop_after_max_failures():
    intervals, settings = fresh_intervals(1.0, num_actions=1, width=1.0)
    for count in range(6):
        test = it.next_test(intervals, settings, verify=True)
        assert (test.kind, intervals.fails[0]) == (it.CHECK_HIGH, count)
        it.close_check(intervals, test, False, 1.0)
    assert it.next_test(intervals, settings, verify=True).kind == it.DONE
    assert intervals.hi == [1.0]


# TwoPhase ------------------------------------------------------------------------------------


def one_action_stage(action, num_episodes, num_actions=2, reward=0.0):
    """Return a stage of the one-state, one-step game in which one action was played."""
    transitions = np.zeros((1, 1, num_actions, 1), dtype=np.int64)
    transitions[0, 0, action, 0] = num_episodes
    rewards = np.zeros((1, 1, num_actions))
    rewards[0, 0, action] = reward * num_episodes
    return Stage(transitions, rewards, num_episodes)


def test_a_test_burns_its_first_visits_by_whole_stages():
    mechanism = TwoPhase(Sizes(1, 1, 2, 1000), width=0.25, min_visits=10, test_visits=10)
    assert not mechanism.post().transfer.any()
    mechanism.observe(one_action_stage(0, 4))  # 0 visits before: burnt
    mechanism.observe(one_action_stage(0, 4))  # 4 < 5: burnt
    assert mechanism.tests[0][0].counts == [0, 0]
    mechanism.observe(one_action_stage(1, 4))  # counted, 4 < 5
    mechanism.observe(one_action_stage(1, 4))  # finished
    assert mechanism.hi.ravel().tolist() == [1.0, 0.25]
    test = mechanism.tests[0][0]
    assert (test.kind, test.action, test.offer, test.visits) == (it.BISECT, 0, 0.5, 0)
    assert mechanism.post().transfer.ravel().tolist() == [0.5, 0.0]


def steering_mechanism():
    """Return a TwoPhase forced into phase 2 by a tiny cap, with the target on action 0."""
    mechanism = TwoPhase(Sizes(1, 1, 2, 100), width=0.25, cap=0.04, min_visits=10)
    mechanism.observe(one_action_stage(0, 2, reward=1.0))
    mechanism.observe(one_action_stage(1, 2, reward=0.0))
    return mechanism


def test_phase_two_posts_the_margin_and_repairs():
    mechanism = steering_mechanism()
    assert (mechanism.in_phase_one, mechanism.phase_one_episodes) == (False, 4)
    assert mechanism.target.tolist() == [[0]]
    contract = mechanism.post()
    assert contract.transfer.ravel().tolist() == [1.1, 0.0]
    assert contract.target.tolist() == [[0]]
    mechanism.visits_at_plan[:] = 10**6  # keep the plan, so that the window goes on
    mechanism.observe(one_action_stage(1, 19))
    assert not mechanism.bump.any()
    mechanism.observe(one_action_stage(0, 1))
    assert mechanism.bump.ravel().tolist() == [0.25, 0.0]
    mechanism.observe(one_action_stage(1, 20))
    assert mechanism.bump.ravel().tolist() == [0.75, 0.0]
    mechanism.observe(one_action_stage(1, 20))
    assert mechanism.bump.ravel().tolist() == [1.0, 0.0]  # no more than H - h
    assert mechanism.streak.ravel().tolist() == [3, 0]
    mechanism.observe(one_action_stage(0, 20))
    assert mechanism.bump[0, 0, 0] == 1.0 and mechanism.streak[0, 0, 0] == 0


def test_phase_two_replans_when_a_count_doubles():
    mechanism = steering_mechanism()
    assert mechanism.visits_at_plan.ravel().tolist() == [2, 2]
    mechanism.observe(one_action_stage(0, 1))
    assert mechanism.visits_at_plan.ravel().tolist() == [2, 2]
    mechanism.observe(one_action_stage(0, 1))
    assert mechanism.visits_at_plan.ravel().tolist() == [4, 2]
    assert mechanism.window_visits[0, 0] == 2  # the target stays, so does its window


def test_a_first_second_visit_counts_as_doubling():
    mechanism = TwoPhase(Sizes(1, 1, 2, 100), width=0.25, cap=0.04, min_visits=10)
    mechanism.observe(one_action_stage(0, 8, reward=1.0))
    assert mechanism._shifted_value((0, 0, 1), [0.0]) == 1.0  # never tried: H - h
    assert mechanism.target.tolist() == [[1]]
    mechanism.observe(one_action_stage(1, 1))
    assert mechanism.visits_at_plan.ravel().tolist() == [8, 0]
    mechanism.observe(one_action_stage(1, 1))
    assert mechanism.visits_at_plan.ravel().tolist() == [8, 2]
    assert mechanism.target.tolist() == [[0]]  # the target moves, so its window restarts
    assert mechanism.window_visits[0, 0] == mechanism.window_hits[0, 0] == 0


def test_half_compliance_is_enough():
    mechanism = steering_mechanism()
    mechanism.visits_at_plan[:] = 10**6
    mechanism.observe(one_action_stage(0, 10))
    mechanism.observe(one_action_stage(1, 10))
    assert not mechanism.bump.any()


def test_resolved_needs_the_checks_only_under_verify():
    flags = {}
    for order in ("parallel", "backward"):
        mechanism = TwoPhase(Sizes(1, 1, 4, 100), order, width=0.25)
        place = mechanism.intervals[0][0]
        place.lo, place.hi = [0.0, 0.0, 0.5, 0.5], [0.25, 0.25, 0.75, 0.75]
        place.checked_hi, place.checked_lo = [False, True, True, True], [False, False, False, True]
        flags[order] = mechanism.resolved.ravel().tolist()
    assert flags == {"parallel": [False, True, False, True], "backward": [True] * 4}


def test_phase_two_plan_by_hand():
    mechanism = steering_mechanism()
    radius = 0.1 * math.sqrt(math.log(100) / 2)
    row = [mechanism._shifted_value((0, 0, a), [0.0]) for a in range(2)]
    assert row == [1.0 - 0.5 + radius, 0.0 - 0.5 + radius]


def assert_inside(trajectory, tau, slack=1e-12):
    resolved = trajectory.resolved
    assert (trajectory.lo[resolved] <= tau[resolved] + slack).all()
    assert (trajectory.hi[resolved] >= tau[resolved] - slack).all()


@pytest.mark.parametrize("stage_length", [1, 7])
def test_parallel_finds_the_minimal_transfers_of_the_bandit(stage_length):
    game = theory_bandit()
    sizes = sizes_of(game, 2800)
    mechanism = TwoPhase(sizes, width=0.05, test_visits=12, min_visits=8)
    trajectory = play(game, BestResponse(game), mechanism, [stage_length] * (2800 // stage_length))
    tau = np.array(BANDIT_TAU).reshape(1, 1, 5)
    np.testing.assert_allclose(minimal_transfers(game), tau, atol=1e-15)
    assert trajectory.resolved.all()
    assert trajectory.phase_one_episodes < 1400
    assert_inside(trajectory, tau)
    assert (trajectory.hi - trajectory.lo <= 0.05 * (1 + 1e-4)).all()
    assert trajectory.targets[0].tolist() == [[-1]]
    assert trajectory.targets[-1].tolist() == [[1]]  # the welfare-best arm
    late = trajectory.actions[-1000:].ravel()
    assert (late == 1).mean() > 0.97
    posted = trajectory.transfers[-1].ravel()
    assert posted[1] == trajectory.hi[0, 0, 1] + 0.1
    assert posted.sum() == posted[1]


def test_parallel_with_defaults_on_the_bandit():
    game = theory_bandit()
    mechanism = TwoPhase(sizes_of(game, 6000))
    trajectory = play(game, BestResponse(game), mechanism, [20] * 300)
    assert trajectory.resolved.all()
    assert_inside(trajectory, minimal_transfers(game))
    assert trajectory.targets[-1].tolist() == [[1]]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_backward_contains_the_minimal_transfers(seed):
    game = random_game(seed, 2, 2, 2, timed=True)
    mechanism = TwoPhase(sizes_of(game, 3000), "backward", width=0.1, test_visits=10, min_visits=8)
    trajectory = play(game, BestResponse(game), mechanism, [5] * 600)
    assert trajectory.resolved.all()
    assert trajectory.phase_one_episodes < 1500
    assert_inside(trajectory, minimal_transfers(game))
    first = trajectory.transfers[0]
    assert first[0].tolist() == [[1.0, 0.0], [1.0, 0.0]]  # roll-in, planned from nothing
    assert not first[1].any()
    assert all(x.ravel()[x.ravel() > 0].size <= 4 for x in trajectory.transfers)


def rolled_mechanism(done_state):
    """Return a backward TwoPhase at level 1 whose action a leads to state a; one state is done."""
    mechanism = TwoPhase(Sizes(2, 2, 2, 1000), "backward", width=0.25)
    for state in range(2):
        for action in range(2):
            mechanism.transitions[0, state, action, action] = 50
    mechanism.visits = mechanism.transitions.sum(axis=3)
    mechanism.tests[1][done_state].kind = it.DONE
    mechanism._plan_roll_in()
    return mechanism


def test_roll_in_steers_to_the_unfinished_state():
    for done_state in range(2):
        mechanism = rolled_mechanism(done_state)
        assert mechanism.rolled[0].tolist() == [1 - done_state] * 2
        transfer = mechanism.post().transfer
        assert transfer[0, :, 1 - done_state].tolist() == [1.0, 1.0]
        assert transfer.sum() == 2.0


def test_roll_in_tries_what_was_never_tried():
    mechanism = TwoPhase(Sizes(2, 2, 2, 1000), "backward", width=0.25)
    mechanism.transitions[0, :, 0, 0] = 50
    mechanism.visits = mechanism.transitions.sum(axis=3)
    mechanism.tests[1][0].kind = it.DONE
    mechanism._plan_roll_in()
    assert mechanism.rolled[0].tolist() == [1, 1]


def test_roll_in_is_replanned_every_fifty_episodes():
    mechanism = TwoPhase(Sizes(2, 1, 2, 10_000), "backward", width=0.25, min_visits=1000)
    transitions = np.zeros((2, 1, 2, 1), dtype=np.int64)
    transitions[:, 0, 0, 0] = 20
    plans = []
    for _ in range(6):
        mechanism.observe(Stage(transitions, np.zeros((2, 1, 2)), 20))
        plans.append(mechanism.last_plan)
    assert plans == [0, 0, 60, 60, 60, 120]


def test_backward_leaves_a_level_at_its_cap():
    mechanism = TwoPhase(Sizes(2, 1, 2, 100), "backward", width=0.25, min_visits=1000)
    transitions = np.zeros((2, 1, 2, 1), dtype=np.int64)
    transitions[:, 0, 0, 0] = 10
    levels = []
    for _ in range(6):
        mechanism.observe(Stage(transitions, np.zeros((2, 1, 2)), 10))
        levels.append((mechanism.level, mechanism.in_phase_one))
    # cap K / H = 25 episodes, seen at the end of a stage of 10
    assert levels == [(1, True), (1, True), (0, True), (0, True), (0, True), (-1, False)]
    assert mechanism.phase_one_episodes == 60
    assert not mechanism.resolved.any()


@pytest.mark.parametrize("memory", ["aware", "restarting", "blind"])
@pytest.mark.parametrize("order", ["parallel", "backward"])
def test_learners_run_under_two_phase(order, memory):
    game = random_game(9, 2, 2, 2)
    sizes = sizes_of(game, 120)
    agents = [
        QLearning(sizes, epsilon=0.1, memory=memory),
        UCBQ(sizes, bonus=0.05, memory=memory),
        UCBVI(sizes, bonus=0.05, memory=memory),
    ]
    for agent in agents:
        mechanism = TwoPhase(sizes, order, min_visits=4)
        trajectory = play(game, agent, mechanism, [5] * 24)
        assert set(np.unique(trajectory.agent_rewards)) <= {0.0, 1.0}
        assert mechanism.visits.sum() == 240
        assert len(trajectory.transfers) == len(trajectory.targets) == 24
        for stage, transfer in enumerate(trajectory.transfers):
            rows = slice(5 * stage, 5 * stage + 5)
            for step in range(2):
                paid = transfer[step, trajectory.states[rows, step], trajectory.actions[rows, step]]
                assert (trajectory.payments[rows, step] == paid).all()
