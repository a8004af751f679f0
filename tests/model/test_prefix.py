"""What earlier conversations have in common with a new one is found, kept within bounds, and is what was computed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dittod.model import prefix
from dittod.model.batch import Layers, States
from dittod.model.prefix import PrefixCache

TOKEN_BYTES = 2 * 2 * 3 * 4  # of each layer: keys and values, two heads of three numbers in float32
Text = tuple[str | None, tuple[int, ...]]


def layers_for(adapter: str | None, token_ids: tuple[int, ...]) -> Layers:
    """Keys and values that depend, as real ones do, on the adapter and on all tokens up to each; the second layer has
    none."""
    running = torch.tensor([hash((adapter, token_ids[: end + 1])) % 997 for end in range(len(token_ids))])
    keys = running.float()[None, None, :, None].expand(1, 2, -1, 3).clone()  # (1, heads, tokens, size)
    return [States(keys, -keys), None]


def assert_right(found: Layers, adapter: str | None, token_ids: tuple[int, ...]) -> None:
    assert found[1] is None
    expected = layers_for(adapter, token_ids)[0]
    assert expected is not None and found[0] is not None
    assert torch.equal(found[0].keys, expected.keys)
    assert torch.equal(found[0].values, expected.values)


def keep(cache: PrefixCache, token_ids: tuple[int, ...], adapter: str | None = None) -> None:
    cache.keep(adapter, token_ids, layers_for(adapter, token_ids))


def test_the_longest_common_beginning_is_found() -> None:
    cache = PrefixCache(10_000)
    for text in [(1, 2, 9), (1, 2, 3, 4, 8), (7, 7)]:
        keep(cache, text)
    tokens, layers = cache.find(None, (1, 2, 3, 4, 5, 6))
    assert tokens == 4
    assert_right(layers, None, (1, 2, 3, 4))
    assert cache.find(None, (2, 1)) == (0, [])
    assert cache.find(None, ()) == (0, [])


def test_adapters_do_not_see_each_others_keys() -> None:
    cache = PrefixCache(10_000)
    keep(cache, (1, 2, 3), "one")
    assert cache.find("two", (1, 2, 3)).tokens == cache.find(None, (1, 2, 3)).tokens == 0
    assert cache.find("one", (1, 2, 3)).tokens == 3


def test_a_conversation_that_grew_takes_the_place_of_its_own_beginning() -> None:
    cache = PrefixCache(10_000)
    keep(cache, (1, 2))
    keep(cache, (1, 2, 3, 4))
    assert cache.size_bytes == 4 * TOKEN_BYTES
    keep(cache, (1, 2, 3))  # known already
    assert cache.size_bytes == 4 * TOKEN_BYTES
    keep(cache, (1, 2), "one")  # another adapter's: no beginning of it
    assert cache.size_bytes == 6 * TOKEN_BYTES


def test_what_was_used_longest_ago_goes_first() -> None:
    """Room for nine tokens: three texts of three. The first is used again, so the second makes room for the fourth."""
    cache = PrefixCache(9 * TOKEN_BYTES)
    for text in [(1, 1, 1), (2, 2, 2), (3, 3, 3)]:
        keep(cache, text)
    cache.find(None, (1, 1))
    keep(cache, (4, 4, 4))
    assert [cache.find(None, (first,) * 3).tokens for first in (1, 2, 3, 4)] == [3, 0, 3, 3]


def test_a_text_that_does_not_fit_drops_nothing_and_is_not_kept() -> None:
    cache = PrefixCache(3 * TOKEN_BYTES)
    keep(cache, (1, 1, 1))
    keep(cache, (2, 2, 2, 2))
    assert (cache.find(None, (2, 2)).tokens, cache.find(None, (1, 1)).tokens) == (0, 2)


def test_without_room_nothing_is_ever_kept() -> None:
    cache = PrefixCache(0)
    keep(cache, (1, 2))
    assert (cache.size_bytes, cache.find(None, (1, 2)).tokens) == (0, 0)


def test_a_forgotten_adapter_leaves_nothing_behind() -> None:
    cache = PrefixCache(10_000)
    keep(cache, (1, 2), "one")
    keep(cache, (1, 2), None)
    cache.forget("one")
    assert (cache.find("one", (1, 2)).tokens, cache.find(None, (1, 2)).tokens) == (0, 2)
    assert cache.size_bytes == 2 * TOKEN_BYTES


def test_views_of_larger_tensors_are_copied_and_whole_ones_are_not() -> None:
    """A running row's columns are overwritten by whoever comes next; a computed prompt belongs to nobody else."""
    cache = PrefixCache(10_000)
    running = torch.ones(4, 2, 10, 3)
    view = running[1:2, :, 3:6]
    whole = torch.ones(1, 2, 3, 3)
    cache.keep("running", (1, 2, 3), [States(view, view)])
    cache.keep("whole", (1, 2, 3), [States(whole, whole)])
    running.zero_()
    kept = {name: cache.find(name, (1, 2, 3)).layers[0] for name in ("running", "whole")}
    assert kept["running"] is not None and kept["whole"] is not None
    assert bool((kept["running"].keys == 1).all())
    assert kept["whole"].keys.data_ptr() == whole.data_ptr()


@pytest.mark.parametrize("kind", [MemoryError, torch.OutOfMemoryError, RuntimeError])  # the last is torch's on CPU
def test_memory_that_runs_out_costs_what_is_kept_and_nothing_else(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = PrefixCache(10_000)
    keep(cache, (1, 2))

    def out_of_memory(_: object) -> None:
        raise kind

    with monkeypatch.context() as patch:
        patch.setattr(prefix, "_own", out_of_memory)
        keep(cache, (3, 4))
    assert cache.size_bytes == 0
    keep(cache, (5, 6))
    assert cache.find(None, (5, 6)).tokens == 2


TEXTS = st.tuples(st.sampled_from([None, "one", "two"]), st.lists(st.integers(0, 2), max_size=6).map(tuple))


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(["keep", "find", "forget"]), TEXTS), max_size=40), st.integers(0, 20))
def test_whatever_happens_what_is_found_is_right_and_within_bounds(
    events: list[tuple[str, Text]], most_tokens: int
) -> None:
    cache = PrefixCache(most_tokens * TOKEN_BYTES)
    seen: set[Text] = set()
    for what, (adapter, token_ids) in events:
        if what == "keep":
            keep(cache, token_ids, adapter)
            seen.add((adapter, token_ids))
            if 0 < len(token_ids) <= most_tokens:
                assert cache.find(adapter, token_ids).tokens == len(token_ids)
        elif what == "forget":
            cache.forget(adapter)
            seen = {each for each in seen if each[0] != adapter}
        else:
            tokens, layers = cache.find(adapter, token_ids)
            if tokens:
                assert any(name == adapter and text[:tokens] == token_ids[:tokens] for name, text in seen)
                assert_right(layers, adapter, token_ids[:tokens])
        assert cache.size_bytes <= most_tokens * TOKEN_BYTES


def test_a_lower_limit_drops_at_once_what_was_used_longest_ago() -> None:
    cache = PrefixCache(10_000)
    keep(cache, (1, 2, 3))
    keep(cache, (7, 8))
    cache.limit_bytes = 2 * TOKEN_BYTES
    assert cache.size_bytes == 2 * TOKEN_BYTES
    assert cache.find(None, (7, 8)).tokens == 2
    cache.limit_bytes = 0
    assert cache.size_bytes == 0
