"""benchmarks/fidelity.py on invented people: what is cut, what is kept, who wins, what chance may do."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import demonstration, make_tiny_model

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import fidelity
import fidelity_corpora as corpora
import fidelity_gating as gating
import fidelity_generating as generating
import fidelity_judging as judging
import fidelity_pairwise as pairwise
import fidelity_preferences as preferences
from fidelity_methods import ABLATIONS, CURVES, HALVED, MAIN, VARIANTS

from dittod.judge.pairwise import Ask, Question
from dittod.types import Sample

TINY = {
    "supervised_steps": 2,
    "dpo_steps": 4,
    "resample_every": 1,
    "samples_per_demonstration": 1,
    "completion_tokens_least": 4,
    "completion_ratio": 0.5,
}
DUELLISTS = ("ditto", "zero_shot", "few_shot", "sft")
Scores = dict[str, np.ndarray]


def author(name: str = "bo", corpus: str = "panza") -> corpora.Author:
    learnt = tuple(demonstration(f"Ask {name} {place}", f"{name}, {place} teas?") for place in range(2))
    tests = tuple(demonstration(f"Thank {name} {place}", f"Ta {name} {place}.") for place in range(4))
    return corpora.Author(corpus, name, learnt, tests)


def scores(likelihood: float, verifier: float = 0.5, style: float = -1.0, prompts: int = 4) -> Scores:
    return {
        "likelihood": np.full((prompts, 1), likelihood),
        "verifier": np.full((prompts, 3), verifier),
        "style": np.full((prompts, 3), style),
    }


def judged(*seeds: dict[str, Scores]) -> judging.Judged:
    return judging.Judged(author(), dict(enumerate(seeds)), {})


# --- corpora -----------------------------------------------------------------------------------------------------


def test_an_answer_that_holds_its_question_is_found() -> None:
    prompt = "Write an email to someone who asked you: Do you like the new bridge over the river, and why so?"
    assert corpora.repeats_the_question(prompt, "do you like the NEW bridge over the river and why so. I do.")
    assert not corpora.repeats_the_question(prompt, "I like the new bridge.")
    assert not corpora.repeats_the_question("Write an e-mail", "Write an e-mail")


def test_a_first_sentence_ends_before_a_capital() -> None:
    assert corpora.first_sentence('Shares of 3.5 fell. "We" knew.') == "Shares of 3.5 fell."
    assert corpora.first_sentence("No end of it") == "No end of it"


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("One two. Three four. Five six", "One two. Three four."),
        ("One two three four five six", "One two three four five"),
        ("One. two three four five six", "One. two three four five"),
        ("Hi\nBo.\nTea", "Hi\nBo.\nTea"),
        ("", ""),
    ],
)
def test_a_text_is_cut_where_a_sentence_ends_in_its_second_half(text: str, cut: str) -> None:
    assert corpora.first_words(text, 5) == cut


# --- methods and items -------------------------------------------------------------------------------------------


def test_every_variant_differs_from_the_main_run_in_what_its_name_says() -> None:
    changed = {name: each.overrides(HALVED).items() - HALVED.items() for name, each in VARIANTS.items()}
    assert changed[MAIN] == set()
    assert changed["no_resampling"] == {("resample_every", HALVED["dpo_steps"])}
    assert changed["negatives_2"] == {("samples_per_demonstration", 2)}
    assert changed["negatives_10"] == {("samples_per_demonstration", 10)}
    assert changed["iterations_6"] == {("dpo_steps", 30)}
    assert changed["spin"] == {("online", 1.0), ("replay", 0.0), ("intermodel", 0.0), ("moving_reference", True)}
    assert changed["moving_reference"] == {("moving_reference", True)}


def test_every_person_is_complete_before_the_next_begins_and_the_corpora_take_turns() -> None:
    people = {name: [author(f"{name}{place}", name) for place in range(3)] for name in ("cmcc", "enron")}
    listed = list(fidelity.items(people, (*ABLATIONS, *CURVES)))
    order = list(dict.fromkeys(each.author.name for each in listed))
    assert order == ["cmcc0", "enron0", "cmcc1", "enron1", "cmcc2", "enron2"]  # the ablated one again, after the third
    assert len({(each.author.name, each.variant, each.seed) for each in listed}) == len(listed)
    assert len(listed) == 6 * 3 + len(ABLATIONS) + len(CURVES)
    assert {each.author.name for each in listed if each.variant in ABLATIONS} == {"enron0"}


# --- generating --------------------------------------------------------------------------------------------------


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Makes one item on the tiny model, as a worker process does."""
    settings = generating.Settings(str(make_tiny_model(tmp_path / "model")), corpora.Sizes(), TINY)
    work = tmp_path / "work"
    generating.claim(work, settings)
    monkeypatch.setattr(generating, "_engines", [])
    generating._begin(settings)

    def make(variant: str) -> Path:
        item = generating.Item(author(), variant, 0)
        generating._make(item, work, settings)
        return item.folder(work)

    return make


def test_a_main_run_leaves_what_every_method_wrote_and_its_policies(make: Callable[[str], Path]) -> None:
    folder = make(MAIN)
    result = json.loads((folder / "result.json").read_text())
    trained = {"sft", "ditto_1", "ditto_2", "ditto_3", "ditto"}
    prompted = {"zero_shot", "few_shot", "self_prompt", "sft_few_shot", "ditto_few_shot"}
    assert result["methods"].keys() == trained | prompted
    assert {path.stem for path in folder.glob("*.safetensors")} == trained
    for each in result["methods"].values():
        assert [len(outputs) for outputs in each["outputs"]] == [3] * 4
        assert all(nats > 0 for nats in each["nats"])
    assert result["methods"]["zero_shot"]["nats"] != result["methods"]["few_shot"]["nats"]
    assert result["methods"]["zero_shot"]["nats"] != result["methods"]["ditto"]["nats"]
    assert list(folder.parents[2].glob(".run-*")) == []


@pytest.mark.parametrize("variant", ["spin", "warm_start", "iterations_6", "preferences_20"])
def test_other_runs_leave_their_own_policies_alone(make: Callable[[str], Path], variant: str) -> None:
    result = json.loads((make(variant) / "result.json").read_text())
    iterates = {f"iterations_6_{each}" for each in range(1, 6)} if variant == "iterations_6" else set()
    assert result["methods"].keys() == {variant} | iterates


def test_a_warm_start_begins_with_the_weights_of_the_run_before(make: Callable[[str], Path]) -> None:
    engine = generating._engines[0]
    shape = generating.LoraShape(rank=2, alpha=4)
    engine.adapters.create("before", shape, seed=1)
    weights = engine.adapters.state("before")
    warm = generating.WarmAdapters(engine.adapters, weights)
    warm.create("after", shape, seed=2)
    after = engine.adapters.state("after")
    assert all(bool((after[key] == weights[key]).all()) for key in weights)
    assert "after" in warm.names()


def sample(demonstration_id: str, token: int) -> Sample:
    return Sample(demonstration_id, 0, (token,), False, -1.0, -1.0)


def test_of_two_answers_the_one_that_is_liked_better_is_preferred() -> None:
    drawn = [sample("a", 1), sample("a", 2), sample("a", 3), sample("a", 3), sample("b", 4), sample("b", 5)]
    found = list(preferences.pairs(drawn, [0.0, 1.0, 0.0, 1.0, 2.0, 2.0]))
    assert [(each.chosen, each.rejected) for each in found] == [(drawn[1], drawn[0])]


def test_a_folder_made_with_other_settings_is_refused(tmp_path: Path) -> None:
    settings = generating.Settings("starter", corpora.Sizes(), HALVED)
    generating.claim(tmp_path / "work", settings)
    generating.claim(tmp_path / "work", settings)
    assert (tmp_path / "work").stat().st_mode & 0o077 == 0
    with pytest.raises(SystemExit, match="other settings"):
        generating.claim(tmp_path / "work", replace(settings, model="another"))


def test_what_is_there_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted: list[str] = []

    class Pool:
        """In place of processes."""

        def __init__(self, *_: object, **__: object) -> None:
            pass

        def __enter__(self) -> Pool:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def submit(self, _: object, item: generating.Item, *__: object) -> generating.Future[float]:
            submitted.append(item.variant)
            done: generating.Future[float] = generating.Future()
            done.set_result(1.0)
            return done

    monkeypatch.setattr(generating, "ProcessPoolExecutor", Pool)
    listed = [generating.Item(author(), variant, 0) for variant in (MAIN, "spin")]
    listed[0].folder(tmp_path).mkdir(parents=True)
    generating.generate(listed, tmp_path, generating.Settings("starter", corpora.Sizes(), HALVED), 1)
    assert submitted == ["spin"]


# --- judging -----------------------------------------------------------------------------------------------------


def test_a_tie_counts_half_and_every_pair_of_answers_counts() -> None:
    ours, theirs = {"style": np.array([[1.0, 2.0]])}, {"style": np.array([[1.0, 0.0]])}
    assert judging.win_rate(ours, theirs, "style") == pytest.approx((0.5 + 1 + 1 + 1) / 4)
    assert judging.win_rate(ours, ours, "style") == 0.5


def test_the_win_rates_of_all_methods_average_to_a_half() -> None:
    rng = np.random.default_rng(0)
    methods = {name: {judge: rng.random((4, 3)) for judge in judging.JUDGES} for name in ("a", "b", "c")}
    rates = [judging.rates_against_all([judged(methods)], each, ["a", "b", "c"])["panel"][0] for each in methods]
    assert np.mean(rates) == pytest.approx(0.5)


def test_only_people_who_have_both_methods_are_compared() -> None:
    people = [judged({"a": scores(-1), "b": scores(-2)}), judged({"a": scores(-1)})]
    assert judging.rates_against(people, "a", "b")["likelihood"].tolist() == [1.0]


def test_intervals_are_of_people() -> None:
    mean, low, high = judging.interval(np.array([0.0, 1.0, 0.0, 1.0]))
    assert (mean, low, high) == (0.5, 0.0, 1.0)
    assert np.isnan(judging.interval(np.array([]))[0])


def test_no_text_of_the_author_and_no_answer_that_is_judged_stands_for_an_impostor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(judging, "IMPOSTORS", 1000)  # those that ship too: there is one other person only

    def shelf(name: str) -> judging.Shelf:
        texts = ((f"base for {name}",),)
        return judging.Shelf(author(name), {0: {"zero_shot": judging.Answers((1.0,), (1,), texts, ((True,),))}})

    found = [shelf("bo"), shelf("cy")]
    others = judging.impostors(found[0], found, [author("bo"), author("cy")])
    assert {"cy, 0 teas?", "cy, 1 teas?", "base for cy"} <= set(others)
    assert not any("bo" in each.split() for each in others)


def test_what_lies_in_the_folder_is_read_by_seed_and_method(tmp_path: Path) -> None:
    for variant, methods in (("ditto-0", ("ditto", "sft")), ("spin-0", ("spin",)), ("ditto-1", ("ditto",))):
        folder = tmp_path / "panza" / "bo" / variant
        folder.mkdir(parents=True)
        wrote = {"nats": [2.0], "tokens": [1], "outputs": [[["hi", True], ["ho", False]]]}
        (folder / "result.json").write_text(json.dumps({"methods": dict.fromkeys(methods, wrote)}))
    (shelf,) = judging.shelves(tmp_path, [author("bo"), author("cy")])
    assert {seed: set(methods) for seed, methods in shelf.by_seed.items()} == {
        0: {"ditto", "sft", "spin"},
        1: {"ditto"},
    }
    assert shelf.by_seed[0]["spin"].texts == (("hi", "ho"),)
    assert judging.ended_share([shelf], "ditto") == 0.5
    assert judging.nats_per_token([shelf], "ditto") == 2.0


def asks_for(word: str) -> Ask:
    """A judge that takes whichever text has the word for the author's."""

    def ask(questions: Sequence[Question]) -> Generator[int, None, list[float]]:
        yield len(questions)
        return [float(word in each.first) - float(word in each.second) for each in questions]

    return ask


def duellists() -> tuple[list[judging.Judged], list[judging.Shelf]]:
    wrote = {name: judging.Answers((1.0,) * 4, (1,) * 4, ((name,),) * 4, ((True,),) * 4) for name in DUELLISTS}
    learnt = [replace(author(name), learnt=author(name).learnt * 5) for name in ("bo", "cy")]
    found = [judging.Shelf(each, {0: wrote}) for each in learnt]
    return [judging.Judged(each, {0: dict.fromkeys(DUELLISTS, scores(-1.0))}, {}) for each in learnt], found


def test_a_model_that_tells_the_authors_apart_judges_with_the_others() -> None:
    """Its own author is always 'bo' or 'cy'; of the answers, it likes those of one method."""
    people, found = duellists()

    def ask(questions: Sequence[Question]) -> Generator[int, None, list[float]]:
        yield len(questions)
        liked = ["ditto" if "Ta" in each.sample else each.sample[:2] for each in questions]
        asked = list(zip(liked, questions, strict=True))
        return [float(each.first.startswith(who)) - float(each.second.startswith(who)) for who, each in asked]

    judged, share = pairwise.with_duels(ask, people, found)
    assert share == 1.0
    assert judged[0].duels == {("ditto", each): 1.0 for each in pairwise.RIVALS}
    assert judging.rates_against(judged, "ditto", "sft")["panel"].tolist() == [(3 * 0.5 + 1) / 4] * 2


def test_a_model_that_does_not_is_left_out() -> None:
    people, found = duellists()
    judged, share = pairwise.with_duels(asks_for("bo"), people, found)
    assert share < 0.7
    assert all(not each.duels for each in judged)


# --- the gate ----------------------------------------------------------------------------------------------------


def test_in_hindsight_the_best_has_no_regret_and_the_base_has_all() -> None:
    methods = {"zero_shot": scores(-5.0, 0.1, -4.0), "sft": scores(-4.0, 0.9, -1.0), "ditto": scores(-3.0, 0.9, -1.0)}
    regrets = gating.hindsight([judged(methods)])
    assert regrets["zero_shot"]["panel"] == pytest.approx(5.0)  # units, at the cap of every judge
    assert regrets["gate"] == regrets["sft"] | {"promoted": 1.0}
    assert regrets["sft"]["panel"] == 0.0


def test_the_gate_serves_what_is_clearly_better_and_the_base_where_nothing_is() -> None:
    better = {"zero_shot": scores(-5.0, 0.1, -3.0), "ditto": scores(-3.0, 0.9, -1.0)}
    same = {"zero_shot": scores(-5.0), "ditto": scores(-5.0)}
    assert gating.chosen([judged(better), judged(same), judged(same)]) == {"zero_shot": 2, "ditto": 1}


def test_two_seeds_are_tried_both_ways() -> None:
    good, bad = scores(-1.0, 0.9, -1.0), scores(-3.0, 0.1, -3.0)
    assert gating.same_recipe([judged({"ditto": good}, {"ditto": bad})], "ditto") == gating.Trials(1, 2)
    assert gating.same_recipe([judged({"ditto": good}, {"ditto": good})], "ditto") == gating.Trials(0, 2)
    assert gating.same_recipe([judged({"ditto": good})], "ditto").trials == 0


def test_where_the_base_is_served_there_is_nothing_for_chance_to_replace() -> None:
    seed = {"zero_shot": scores(-5.0, 0.1, -3.0), "ditto": scores(-3.0, 0.9, -1.0)}
    nothing = {"zero_shot": scores(-5.0), "ditto": scores(-5.0)}
    assert gating.all_offered([judged(seed, seed), judged(nothing, nothing)]) == gating.Trials(0, 2)


def test_the_interval_of_a_share_is_wilsons() -> None:
    assert gating.Trials(0, 10).wilson() == pytest.approx((0.0, 0.2775), abs=1e-3)
    assert gating.Trials(5, 10).wilson() == pytest.approx((0.2366, 0.7634), abs=1e-3)


def test_what_all_prompts_of_a_person_share_is_told_from_their_noise() -> None:
    """Twenty people whose second seed is 0.3 nats off as a whole, either way, with noise of 0.1 on each prompt."""
    rng = np.random.default_rng(0)

    def person(place: int) -> judging.Judged:
        moved = {"ditto": {"likelihood": (-1) ** place * 0.3 + 0.1 * rng.standard_normal((6, 1))}}
        return judged({"ditto": {"likelihood": np.zeros((6, 1))}}, moved)

    found = gating.spread([person(each) for each in range(20)], "ditto", "likelihood")
    assert found.shared == pytest.approx(0.3, abs=0.03)
    assert found.of_prompts == pytest.approx((0.3**2 + 0.1**2) ** 0.5, abs=0.03)
    assert found.differences == 120
