from hypothesis import given, settings
from hypothesis import strategies as st

from dittod.learner.batch import Batch, TokenSequence, collect, forests, micro_batches, row_tokens
from dittod.types import PreferencePair, Sample


def sample(demonstration_id: str, iteration: int, *token_ids: int) -> Sample:
    logp = -float(sum(token_ids))
    return Sample(demonstration_id, iteration, token_ids, truncated=False, reference_logp=logp, policy_logp=logp)


def own(*ids: str) -> dict[str, TokenSequence]:
    return {each: TokenSequence(each, (1, 2), (3, ord(each))) for each in ids}


def online(rejected: Sample) -> PreferencePair:
    return PreferencePair(rejected.demonstration_id, None, rejected, "online")


def test_a_demonstration_in_many_pairs_is_one_sequence() -> None:
    batch = collect([online(sample("a", 0, 7)), online(sample("a", 0, 8))], own("a"), {"a": -2.5})
    assert [each.completion_ids for each in batch.sequences] == [(3, ord("a")), (7,), (8,)]
    assert batch.reference_logps == (-2.5, -7.0, -8.0)
    assert (batch.chosen, batch.rejected, batch.demonstrations) == ((0, 0), (1, 2), (0,))


def test_a_sample_chosen_here_and_rejected_there_is_one_sequence() -> None:
    old, new = sample("a", 0, 7), sample("a", 1, 8)
    batch = collect([online(new), PreferencePair("a", new, old, "intermodel")], own("a"), {"a": 0.0})
    assert len(batch.sequences) == 3
    assert (batch.chosen, batch.rejected, batch.demonstrations) == ((0, 1), (1, 2), (0,))


def test_equal_prompts_with_different_completions_stay_apart() -> None:
    batch = collect([online(sample("a", 0, 7)), online(sample("b", 0, 7))], own("a", "b"), {"a": -1.0, "b": -2.0})
    assert len(batch.sequences) == 4
    assert batch.demonstrations == (0, 2)


def test_an_intermodel_pair_alone_brings_no_demonstration() -> None:
    batch = collect([PreferencePair("a", sample("a", 1, 8), sample("a", 0, 7), "intermodel")], own("a"), {"a": 0.0})
    assert batch.demonstrations == ()


def test_small_trees_share_a_micro_batch_and_a_large_one_is_cut() -> None:
    """Tree a: prompt 2, completions 2 + 1 + 1, so 6 tokens. Tree b: 2 + 2 + 20, more than the 23 that are allowed."""
    pairs = [online(sample("a", 0, 7)), online(sample("a", 0, 8)), online(sample("b", 0, *range(20)))]
    parts = forests(collect(pairs, own("a", "b"), {"a": 0.0, "b": 0.0}), micro_batch_tokens=23)
    assert [[sorted(piece) for piece in part] for part in parts] == [[[0, 1, 2]], [[3], [4]]]


def test_a_row_counts_each_prompt_once() -> None:
    """Prompt 1 2 for two completions of 3 and 1 tokens, prompt 9 for one of 2: 2 + 3 + 1 + 1 + 2."""
    row = [TokenSequence("a", (1, 2), (3, 4, 5)), TokenSequence("b", (1, 2), (6,)), TokenSequence("c", (9,), (8, 8))]
    assert row_tokens(row) == 9


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 40)), max_size=20), st.integers(1, 100))
def test_micro_batches_hold_every_sequence_once_within_the_budget(shapes: list[tuple[int, int]], budget: int) -> None:
    made = [TokenSequence(str(n), (7,) * p, (n,) * c) for n, (p, c) in enumerate(shapes)]
    parts = micro_batches(made, budget)
    assert sorted(each for part in parts for each in part) == list(range(len(made)))
    for part in parts:
        assert len(part) == 1 or row_tokens(made[each] for each in part) <= budget


def test_equal_prompts_come_side_by_side() -> None:
    """Tokens 3 + 1 each: two of a prompt fit into 5 together, two of different prompts do not."""
    made = [TokenSequence(str(n), (n % 2,) * 3, (n,)) for n in range(4)]
    assert micro_batches(made, 5) == [[0, 2], [1, 3]]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.integers(0, 3), st.integers(1, 9)),
        min_size=1,
        max_size=15,
    ),
    st.integers(1, 60),
)
def test_forests_never_cut_a_pair_and_lose_nothing(drawn: list[tuple[str, int, int, int]], budget: int) -> None:
    pairs = [
        online(sample(d, 0, *range(n + bad)))
        if good == 0
        else PreferencePair(d, sample(d, 1, 90, *range(good)), sample(d, 0, 91, *range(n + bad)), "intermodel")
        for d, good, bad, n in drawn
    ]
    batch = collect(pairs, own("a", "b", "c"), {"a": 0.0, "b": 0.0, "c": 0.0})
    assert len(set(batch.sequences)) == len(batch.sequences)
    seen: list[int] = []
    found: list[tuple[TokenSequence, TokenSequence]] = []
    for part in forests(batch, budget):
        whole = [each for piece in part for each in piece]
        seen += whole
        inside = batch.only(whole)
        found += _pairs(inside)
        assert len(part) == 1 or len({each.demonstration_id for each in inside.sequences}) == 1
    assert sorted(seen) == list(range(len(batch.sequences)))
    assert sorted(map(repr, found)) == sorted(map(repr, _pairs(batch)))


def _pairs(batch: Batch) -> list[tuple[TokenSequence, TokenSequence]]:
    return [(batch.sequences[c], batch.sequences[r]) for c, r in zip(batch.chosen, batch.rejected, strict=True)]


def test_where_rows_cannot_be_packed_every_prompt_counts() -> None:
    """Two completions of one token under a prompt of 3: packed 5 tokens, apart 8."""
    made = [TokenSequence(str(n), (1, 2, 3), (n,)) for n in range(2)]
    assert [row_tokens(made, packed=packed) for packed in (True, False)] == [5, 8]
    assert [len(micro_batches(made, 7, packed=packed)) for packed in (True, False)] == [1, 2]
    pairs = [online(sample("a", 0, 7))]  # tree a: prompt 2, completions 2 and 1: packed 5, apart 7
    batch = collect(pairs, own("a"), {"a": 0.0})
    assert [len(forests(batch, 6, packed=packed)[0]) for packed in (True, False)] == [1, 2]
