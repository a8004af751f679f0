import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from dittod.learner.pairs import REJECTED, SamplesByIteration, all_pairs, draw, pair_figures, split
from dittod.types import PairKind, PreferencePair, Sample

MIX: dict[PairKind, float] = {"online": 0.7, "replay": 0.2, "intermodel": 0.1}
BEFORE = [
    ("intermodel", (0, 2, 1), (0, 1, 0)),
    ("replay", None, (1, 1, 2)),
    ("online", None, (1, 2, 0)),
    ("online", None, (0, 2, 2)),
    ("online", None, (1, 2, 1)),
    ("online", None, (0, 2, 1)),
]


def sample(demonstration_id: str, iteration: int, *token_ids: int) -> Sample:
    return Sample(demonstration_id, iteration, token_ids, truncated=False, reference_logp=-1.0, policy_logp=-1.0)


def pool(demonstrations: int, samples: int, iterations: int) -> dict[int, list[Sample]]:
    """All different: token ids are (demonstration, iteration, number)."""
    return {
        t: [sample(f"d{d}", t, d, t, m) for d in range(demonstrations) for m in range(samples)]
        for t in range(iterations)
    }


def own(demonstrations: int) -> dict[str, tuple[int, ...]]:
    return {f"d{d}": (d,) for d in range(demonstrations)}


def orderings(pairs: list[PreferencePair]) -> set[tuple[object, tuple[int, ...], str]]:
    return {(pair.chosen and pair.chosen.token_ids, pair.rejected.token_ids, pair.kind) for pair in pairs}


def kinds(pairs: list[PreferencePair]) -> Counter[str]:
    return Counter(pair.kind for pair in pairs)


def test_the_demonstration_beats_every_sample_and_later_samples_beat_earlier_ones() -> None:
    samples = {t: [sample("d", t, t)] for t in range(3)}
    assert orderings(all_pairs(samples, {"d": (9,)}, iteration=2)) == {
        (None, (2,), "online"),
        (None, (1,), "replay"),
        (None, (0,), "replay"),
        ((2,), (1,), "intermodel"),
        ((2,), (0,), "intermodel"),
        ((1,), (0,), "intermodel"),
    }


def test_samples_of_later_iterations_take_no_part() -> None:
    samples = {t: [sample("d", t, t)] for t in range(3)}
    assert orderings(all_pairs(samples, {"d": (9,)}, iteration=0)) == {(None, (0,), "online")}


def test_seven_demonstrations_give_fifteen_online_four_replay_and_two_intermodel_pairs() -> None:
    """3 x 7 = 21 pairs; 70/20/10 of them are 14.7, 4.2 and 2.1: the largest remainder is rounded up."""
    drawn = draw(pool(7, 10, 2), own(7), 1, random.Random(0), MIX, 21)
    assert kinds(drawn) == {"online": 15, "replay": 4, "intermodel": 2}


def test_the_first_iteration_has_the_full_number_of_pairs_all_online() -> None:
    """The released code has 15 of 21 there."""
    drawn = draw(pool(7, 10, 1), own(7), 0, random.Random(0), MIX, 21)
    assert kinds(drawn) == {"online": 21}


def test_a_kind_with_no_share_is_never_drawn() -> None:
    mix: dict[PairKind, float] = {"online": 0.7, "replay": 0.2, "intermodel": 0.0}
    assert kinds(draw(pool(7, 10, 3), own(7), 2, random.Random(0), mix, 21)) == {"online": 16, "replay": 5}


def test_demonstrations_share_the_pairs_evenly() -> None:
    drawn = draw(pool(7, 10, 3), own(7), 2, random.Random(0), MIX, 21)
    assert set(Counter(pair.demonstration_id for pair in drawn).values()) == {3}


def test_no_pair_comes_twice_while_there_are_others() -> None:
    drawn = draw(pool(4, 3, 1), own(4), 0, random.Random(0), MIX, 12)
    assert len(orderings(drawn)) == 12


def test_one_demonstration_with_few_samples_repeats_pairs_to_reach_the_number() -> None:
    drawn = draw(pool(1, 2, 1), own(1), 0, random.Random(0), MIX, 3)
    assert len(drawn) == 3
    assert len(orderings(drawn)) == 2


def test_a_sample_equal_to_its_demonstration_is_dropped() -> None:
    samples = {0: [sample("d", 0, 5, 6), sample("d", 0, 1)], 1: [sample("d", 1, 5, 6), sample("d", 1, 2)]}
    assert orderings(all_pairs(samples, {"d": (5, 6)}, 1)) == {
        (None, (2,), "online"),
        (None, (1,), "replay"),
        ((2,), (1,), "intermodel"),
    }


def test_equal_samples_of_two_iterations_are_no_pair() -> None:
    samples = {0: [sample("d", 0, 1)], 1: [sample("d", 1, 1)]}
    assert kinds(all_pairs(samples, {"d": (9,)}, 1)) == {"online": 1, "replay": 1}


def test_nothing_is_drawn_where_every_sample_equals_its_demonstration() -> None:
    assert draw({0: [sample("d", 0, 5)]}, {"d": (5,)}, 0, random.Random(0), MIX, 3) == []


def test_a_demonstration_whose_samples_all_equal_it_leaves_its_pairs_to_the_others() -> None:
    samples = {0: [sample("known", 0, 5), sample("d", 0, 1), sample("d", 0, 2)]}
    drawn = draw(samples, {"known": (5,), "d": (9,)}, 0, random.Random(0), MIX, 6)
    assert Counter(pair.demonstration_id for pair in drawn) == {"d": 6}


def test_demonstrations_are_told_apart_by_id_never_by_content() -> None:
    """Two demonstrations with the same tokens: each has its own samples and its own pairs."""
    samples = {0: [sample("a", 0, 1), sample("b", 0, 2)]}
    drawn = draw(samples, {"a": (9,), "b": (9,)}, 0, random.Random(0), MIX, 2)
    assert {(pair.demonstration_id, pair.rejected.token_ids) for pair in drawn} == {("a", (1,)), ("b", (2,))}


def test_the_figures_of_pairs_are_lengths_of_both_sides_and_how_many_ended() -> None:
    """Chosen: the demonstration's 4 tokens and a sample's 2. Rejected: 1 token, ended, and 6 tokens, cut."""
    cut = Sample("d", 0, (1,) * 6, truncated=True, reference_logp=-1.0, policy_logp=-1.0)
    drawn = [
        PreferencePair("d", None, sample("d", 0, 7), "online"),
        PreferencePair("d", sample("d", 1, 1, 2), cut, "intermodel"),
    ]
    figures = pair_figures(drawn, {"d": (5, 6, 7, 8)})
    assert figures == {"chosen_tokens": 3.0, "rejected_tokens": 3.5, "eos_rate": 0.5}


def test_an_answer_that_was_edited_is_one_more_online_pair_at_every_iteration() -> None:
    """And never better or worse than a sample: who edits a word of it says nothing about those."""
    samples = {REJECTED: [sample("d", REJECTED, 8)], 0: [sample("d", 0, 0)], 1: [sample("d", 1, 1)]}
    assert orderings(all_pairs(samples, {"d": (9,)}, 0)) == {(None, (0,), "online"), (None, (8,), "online")}
    assert orderings(all_pairs(samples, {"d": (9,)}, 1)) == {
        (None, (1,), "online"),
        (None, (8,), "online"),
        (None, (0,), "replay"),
        ((1,), (0,), "intermodel"),
    }


def test_every_sample_beats_an_answer_to_the_same_prompt_that_was_rated_down() -> None:
    """No sample is said to beat another there: without a text of the user's, nothing says that policies get better."""
    samples = {REJECTED: [sample("r", REJECTED, 8)], 0: [sample("r", 0, 0)], 1: [sample("r", 1, 1)]}
    found = orderings(all_pairs(samples, {}, 1))
    assert found == {((0,), (8,), "intermodel"), ((1,), (8,), "intermodel")}


def test_a_sample_that_repeats_the_answer_rated_down_is_no_pair() -> None:
    samples = {REJECTED: [sample("r", REJECTED, 8)], 0: [sample("r", 0, 8)]}
    assert all_pairs(samples, {}, 0) == []


def test_the_shares_of_the_kinds_stay_where_answers_were_edited_or_rated_down() -> None:
    """Three demonstrations with their edited answers, two answers rated down."""
    samples: dict[int, list[Sample]] = pool(5, 4, 3)
    samples[REJECTED] = [sample(f"d{d}", REJECTED, d, 99) for d in range(5)]
    drawn = draw(samples, own(3), 2, random.Random(0), MIX, 21)
    assert kinds(drawn) == {"online": 15, "replay": 4, "intermodel": 2}
    first = draw(samples, own(3), 0, random.Random(0), MIX, 21)
    assert kinds(first) == {"online": 18, "intermodel": 3}
    assert {pair.demonstration_id for pair in first if pair.kind == "intermodel"} == {"d3", "d4"}


def test_without_feedback_the_same_pairs_are_drawn_as_before_there_was_any() -> None:
    """What version 0.6 drew: token ids of the chosen and the rejected."""
    drawn = draw(pool(2, 3, 3), own(2), 2, random.Random(3), MIX, 6)
    assert [(pair.kind, pair.chosen and pair.chosen.token_ids, pair.rejected.token_ids) for pair in drawn] == BEFORE


def test_the_same_seed_draws_the_same() -> None:
    first, second = (draw(pool(3, 4, 3), own(3), 2, random.Random(5), MIX, 9) for _ in range(2))
    assert first == second


@given(st.integers(0, 60), st.lists(st.floats(0.01, 1), min_size=1, max_size=3))
def test_a_split_adds_up_and_is_off_by_less_than_one(size: int, shares: list[float]) -> None:
    mix: dict[PairKind, float] = dict(zip(MIX, shares, strict=False))
    counts = split(size, mix)
    assert sum(counts.values()) == size
    for kind, share in mix.items():
        assert abs(counts[kind] - size * share / sum(shares)) < 1


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 24),
    st.integers(0, 9),
    st.integers(0, 3),
)
def test_every_drawn_pair_belongs_to_the_ranking_and_all_are_drawn(
    demonstrations: int, samples: int, iterations: int, size: int, seed: int, tokens: int
) -> None:
    """Token ids from a small alphabet, so that samples meet each other and their demonstrations."""
    rng = random.Random(seed)
    drawn_at: SamplesByIteration = {
        t: [
            sample(f"d{d}", t, *(rng.randrange(2) for _ in range(tokens)))
            for d in range(demonstrations)
            for _ in range(samples)
        ]
        for t in range(iterations)
    }
    completions = {f"d{d}": (d % 2,) for d in range(demonstrations)}
    possible = all_pairs(drawn_at, completions, iterations - 1)
    drawn = draw(drawn_at, completions, iterations - 1, rng, MIX, size)
    assert len(drawn) == (size if possible else 0)
    assert all(pair in possible for pair in drawn)
    for pair in possible:
        assert pair.rejected.token_ids != (pair.chosen.token_ids if pair.chosen else completions[pair.demonstration_id])
    counts = kinds(drawn)
    for kind, stock in kinds(possible).items():
        if counts[kind] <= stock:
            unique = {id(pair.rejected) * 31 + id(pair.chosen) for pair in drawn if pair.kind == kind}
            assert len(unique) == counts[kind]
