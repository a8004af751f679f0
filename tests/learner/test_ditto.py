from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import demonstration, equal, finish

from dittod.engine.protocol import Sampling, Update
from dittod.errors import ModelError, TooFewDemonstrations
from dittod.learner import checkpoint, ditto, optimiser, pairs, training
from dittod.learner.batch import TokenSequence
from dittod.learner.ditto import run
from dittod.learner.supervised import batch_of_demonstrations
from dittod.learner.task import POLICY, REFERENCE, prepare
from dittod.learner.workbench import Workbench, encode, score
from dittod.model.decode import Decoder
from dittod.model.lora import LoraShape
from dittod.types import Demonstration, Plan, Rejected

MakeWorkbench = Callable[..., Workbench]
MakeUpdate = Callable[..., Update]
Weights = Mapping[str, torch.Tensor]
STAGES = ("supervised", "sampling", "dpo")


def test_the_stages_come_in_the_order_of_the_algorithm(make_workbench: MakeWorkbench, make_update: MakeUpdate) -> None:
    """Four steps, resampled every two: samples of iteration 0, two steps, samples of iteration 1, two steps."""
    seen, outcome = finish(run(make_workbench(), make_update()))
    stages = [(each.phase, each.iteration) for each in seen if each.phase != "reference"]
    distinct = [stage for place, stage in enumerate(stages) if place == 0 or stages[place - 1] != stage]
    assert distinct == [("supervised", 0), ("sampling", 0), ("dpo", 0), ("sampling", 1), ("dpo", 1)]
    assert (outcome.steps, outcome.stopped) == (4, None)
    assert (seen[-1].done, seen[-1].of) == (4, 4)


def test_negatives_are_fresh_before_the_first_step_that_uses_them(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The released code draws them one step late. Every draw here has its own iteration's samples as the newest."""
    seen: list[tuple[int, int]] = []
    original = pairs.draw

    def spy(samples: pairs.SamplesByIteration, completions: Any, iteration: int, *rest: Any) -> Any:
        seen.append((iteration, max(samples)))
        return original(samples, completions, iteration, *rest)

    monkeypatch.setattr(ditto.pairs, "draw", spy)
    finish(run(make_workbench(), make_update()))
    assert seen == [(0, 0), (0, 0), (1, 1), (1, 1)]


def test_negatives_come_from_the_live_policy(make_workbench: MakeWorkbench, make_update: MakeUpdate) -> None:
    workbench = make_workbench()
    finish(run(workbench, make_update()))
    task = prepare(workbench, make_update())
    _, before = finish(ditto.negatives(task, 1))
    for value in workbench.adapters.parameters(POLICY):
        value.data.normal_(generator=torch.Generator().manual_seed(0))
    _, after = finish(ditto.negatives(task, 1))
    assert [each.token_ids for each in before] != [each.token_ids for each in after]


def test_the_reference_is_the_supervised_policy_and_stays(
    make_workbench: MakeWorkbench, make_update: MakeUpdate
) -> None:
    workbench, update = make_workbench(), make_update()
    work = run(workbench, update)
    while next(work).phase != "sampling":
        pass
    frozen = workbench.adapters.state(REFERENCE)
    assert equal(frozen, workbench.adapters.state(POLICY))
    finish(work)
    assert equal(frozen, workbench.adapters.state(REFERENCE))
    assert not equal(frozen, workbench.adapters.state(POLICY))


def test_the_first_step_starts_at_the_reference(make_workbench: MakeWorkbench, make_update: MakeUpdate) -> None:
    """Policy and reference are equal there: every margin is 0, up to the rounding of float32 sums."""
    seen, _ = finish(run(make_workbench(), make_update()))
    first = next(each for each in seen if each.phase == "dpo" and each.done == 1)
    assert abs(first.figures["margin"]) < 1e-3
    assert all(isinstance(value, float) for value in first.figures.values())


def test_the_policy_comes_to_prefer_the_demonstrations(make_workbench: MakeWorkbench, make_update: MakeUpdate) -> None:
    update = make_update(dpo_steps=10, resample_every=5, dpo_learning_rate=3e-3)
    _, outcome = finish(run(make_workbench(), update))
    assert outcome.figures["margin"] > 0.05
    assert outcome.figures["chosen_drift"] > outcome.figures["rejected_drift"]


def test_supervised_learning_makes_the_demonstrations_likelier(
    make_workbench: MakeWorkbench, make_update: MakeUpdate
) -> None:
    update = make_update(supervised_steps=12, supervised_learning_rate=1e-2, dpo_steps=0)
    seen, _ = finish(run(make_workbench(), update))
    losses = [each.figures["loss"] for each in seen if each.phase == "supervised" and each.figures]
    assert losses[-1] < losses[0] - 0.5


def test_supervised_learning_stops_at_its_loss(make_workbench: MakeWorkbench, make_update: MakeUpdate) -> None:
    seen, _ = finish(run(make_workbench(), make_update(supervised_stop_loss=100, dpo_steps=0)))
    assert max(each.done for each in seen if each.phase == "supervised") == 1


def test_the_end_of_turn_is_trained(make_workbench: MakeWorkbench, demonstrations: tuple[Demonstration, ...]) -> None:
    base = make_workbench().base
    assert encode(base, demonstrations[0]).completion_ids[-1] == base.end_of_turn_id
    assert encode(base, demonstrations[0]).prompt_ids.count(base.tokenizer.bos_token_id) == 1


def test_what_exceeds_the_context_is_cut_and_has_no_end(make_workbench: MakeWorkbench) -> None:
    base = make_workbench().base
    long = encode(base, demonstration("p" * 400, "c" * 2000))
    assert len(long) == base.context_tokens
    assert base.end_of_turn_id not in long.completion_ids
    assert len(long.prompt_ids) == base.context_tokens // 2


def test_texts_and_samples_are_cut_to_the_memory_plan(make_workbench: MakeWorkbench, make_update: MakeUpdate) -> None:
    """The first is 14 tokens of prompt and 5 of completion; the second, of 12 and 31, fills all 30."""
    bench = replace(make_workbench(), plan=Plan(sequence_tokens=30))
    learnt = (demonstration("Ask Bo now", "Bo?!"), demonstration("Ask Cy..", "c" * 30))
    update = make_update(learnt=learnt, completion_ratio=10, samples_per_demonstration=6)
    finish(run(bench, update))
    task = prepare(bench, update)
    _, samples = finish(ditto.negatives(task, 0))
    assert [len(each) for each in task.own.values()] == [19, 30]
    whole = [len(task.own[each.demonstration_id].prompt_ids) + len(each.token_ids) for each in samples]
    assert max(whole) == 30


def test_truncated_samples_have_no_end_and_others_have_one(
    make_workbench: MakeWorkbench, make_update: MakeUpdate
) -> None:
    workbench = make_workbench()
    update = make_update(samples_per_demonstration=30, completion_tokens_least=12, dpo_steps=1, temperature=1.5)
    finish(run(workbench, update))
    _, samples = finish(ditto.negatives(prepare(workbench, update), 0))
    limit = 12
    assert {each.truncated for each in samples} == {True, False}
    for each in samples:
        ends = [token for token in each.token_ids if token in workbench.base.stop_token_ids]
        assert len(ends) == (0 if each.truncated else 1)
        assert len(each.token_ids) == limit or not each.truncated


def test_samples_know_their_log_probability_under_the_reference(
    make_workbench: MakeWorkbench, make_update: MakeUpdate
) -> None:
    """One sample scored alone, by the model's own full logits."""
    workbench, update = make_workbench(), make_update()
    finish(run(workbench, update))
    task = prepare(workbench, update)
    _, samples = finish(ditto.negatives(task, 1))
    prompt = task.own[samples[0].demonstration_id].prompt_ids
    with workbench.adapters.active(REFERENCE), torch.no_grad():
        token_ids = torch.tensor([[*prompt, *samples[0].token_ids]])
        log_probs = workbench.base.model(input_ids=token_ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    expected = log_probs.gather(-1, torch.tensor(samples[0].token_ids)[:, None]).sum()
    assert samples[0].reference_logp == pytest.approx(float(expected), rel=1e-5)


def test_samples_know_their_log_probability_under_the_policy_that_drew_them(
    make_workbench: MakeWorkbench, make_update: MakeUpdate
) -> None:
    """At any temperature: scored again under the policy, they have what the decoder said, up to rounding."""
    workbench, update = make_workbench(), make_update(temperature=1.5, dpo_learning_rate=1e-2)
    finish(run(workbench, update))
    task = prepare(workbench, update)
    _, samples = finish(ditto.negatives(task, 1))
    sequences = [TokenSequence("", task.own[each.demonstration_id].prompt_ids, each.token_ids) for each in samples]
    _, logps = finish(score(workbench, sequences, POLICY))
    assert [each.policy_logp for each in samples] == pytest.approx(logps, rel=1e-4)
    assert any(abs(each.policy_logp - each.reference_logp) > 1e-2 for each in samples)


def test_the_first_sample_of_each_demonstration_is_shown_in_every_round(
    make_workbench: MakeWorkbench, make_update: MakeUpdate
) -> None:
    workbench, update = make_workbench(), make_update()
    began = time.time()
    finish(run(workbench, update))
    shown = workbench.drawn
    assert [(each.iteration, each.demonstration_id) for each in shown] == [
        (iteration, each.id) for iteration in (0, 1) for each in update.demonstrations
    ]
    found = checkpoint.load(Path(update.directory), prepare(workbench, update).fingerprint, key="")
    assert found is not None
    drawn = found.state.samples[1]
    first = {each.demonstration_id: each for each in reversed(drawn)}
    for each in shown[3:]:
        text = workbench.base.tokenizer.decode(first[each.demonstration_id].token_ids, skip_special_tokens=True)
        assert each.text == text and each.id == update.id and began <= each.at <= time.time()


def test_no_more_is_shown_than_the_pipe_should_take(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ditto, "MOST_SHOWN", 2)
    monkeypatch.setattr(ditto, "MOST_CHARACTERS", 3)
    workbench = make_workbench()
    finish(run(workbench, make_update()))
    assert len(workbench.drawn) == 4 and max(len(each.text) for each in workbench.drawn) <= 3


def test_what_is_sampled_for_an_answer_that_was_rated_down_is_shown_to_nobody(
    make_workbench: MakeWorkbench, make_update: MakeUpdate
) -> None:
    """It has no demonstration to stand beside."""
    workbench, update = make_workbench(), replace(make_update(), rejected=(Rejected("Ask Di", "No!"),))
    finish(run(workbench, update))
    assert {each.demonstration_id for each in workbench.drawn} == {each.id for each in update.demonstrations}


def test_every_step_and_round_is_told_once_with_its_figures(
    make_workbench: MakeWorkbench, make_update: MakeUpdate
) -> None:
    """Three supervised steps; two rounds of samples, of two preference steps each."""
    seen, outcome = finish(run(make_workbench(), make_update()))
    completed = [each for each in seen if each.completed_step]
    assert [(each.phase, each.completed_step, each.iteration) for each in completed] == [
        *(("supervised", step, 0) for step in (1, 2, 3)),
        *(("sampling", 1, 0), ("dpo", 1, 0), ("dpo", 2, 0)),
        *(("sampling", 2, 1), ("dpo", 3, 1), ("dpo", 4, 1)),
    ]
    names = {phase: {frozenset(each.figures) for each in completed if each.phase == phase} for phase in STAGES}
    assert names["supervised"] == {frozenset({"loss", "grad_norm", "learning_rate"})}
    assert names["sampling"] == {frozenset({"mean_tokens", "eos_rate", "policy_logps", "reference_logps", "drift"})}
    logps = {"chosen_logps", "rejected_logps", "chosen_drift", "rejected_drift", "demonstration_drift_per_token"}
    sizes = {"chosen_tokens", "rejected_tokens", "eos_rate"}
    assert names["dpo"] == {frozenset({"loss", "margin", "accuracy", "grad_norm", "learning_rate"} | logps | sizes)}
    assert completed[-1].figures == outcome.figures
    assert all(isinstance(value, float) for each in completed for value in each.figures.values())


def test_the_first_round_of_samples_has_not_drifted_and_later_ones_have(
    make_workbench: MakeWorkbench, make_update: MakeUpdate
) -> None:
    """In the first, policy and reference are equal: decoding and scoring agree up to the rounding of float32 sums."""
    seen, _ = finish(run(make_workbench(), make_update(dpo_learning_rate=1e-2)))
    first, second = (each.figures["drift"] for each in seen if each.phase == "sampling" and each.completed_step)
    assert abs(first) < 1e-3
    assert abs(second) > 1e-2


def test_equal_demonstrations_count_once(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, demonstrations: tuple[Demonstration, ...]
) -> None:
    once, twice = make_workbench(), make_workbench()
    _, expected = finish(run(once, make_update("once", demonstrations)))
    _, found = finish(run(twice, make_update("twice", (*demonstrations, demonstrations[1]))))
    assert found == expected
    assert equal(once.adapters.state(POLICY), twice.adapters.state(POLICY))


def test_demonstrations_whose_tokens_are_equal_are_two(make_workbench: MakeWorkbench, make_update: MakeUpdate) -> None:
    """The chat template trims the prompt: told apart by id alone, each has samples and pairs of its own."""
    learnt = (demonstration("Ask Bo", "Bo, lunch?"), demonstration(" Ask Bo ", "Bo, lunch?"))
    seen, outcome = finish(run(make_workbench(), make_update(learnt=learnt)))
    assert outcome.steps == 4
    assert {each.of for each in seen if each.phase == "sampling"} == {4}


def test_an_empty_completion_is_learnt_as_an_end_of_turn(
    make_workbench: MakeWorkbench, make_update: MakeUpdate
) -> None:
    """Reading files gives none; asked for all the same, it is one token, and learning goes on as with any other."""
    workbench, learnt = make_workbench(), (demonstration("Ask Bo", ""), demonstration("Ask Bo", "Bo, lunch?"))
    assert encode(workbench.base, learnt[0]).completion_ids == (workbench.base.end_of_turn_id,)
    _, outcome = finish(run(workbench, make_update(learnt=learnt, supervised_learning_rate=1e-2)))
    assert (outcome.steps, outcome.stopped) == (4, None)
    assert all(bool(value.isfinite().all()) for value in workbench.adapters.state(POLICY).values())


def test_one_demonstration_is_enough(make_workbench: MakeWorkbench, make_update: MakeUpdate) -> None:
    _, outcome = finish(run(make_workbench(), make_update(learnt=(demonstration("Ask Bo", "Bo, lunch?"),))))
    assert outcome.steps == 4


def test_none_is_not(make_workbench: MakeWorkbench, make_update: MakeUpdate) -> None:
    with pytest.raises(TooFewDemonstrations):
        next(run(make_workbench(), make_update(learnt=())))


def test_as_released_runs(make_workbench: MakeWorkbench, make_update: MakeUpdate) -> None:
    update = make_update(completion_tokens_most=8, rank=4)
    _, outcome = finish(run(make_workbench(), replace(update, preset="as_released")))
    assert outcome.steps == 4


def test_learning_stops_when_the_demonstrations_become_less_likely_than_under_the_reference(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second step is made to find them less likely, and every later one: patience 2 ends it after the third."""
    original = ditto.metrics
    calls = 0

    def sinking(*given: Any) -> dict[str, float]:
        nonlocal calls
        calls += 1
        return {**original(*given), "demonstration_drift_per_token": 1.0 if calls == 1 else -0.5}

    monkeypatch.setattr(ditto, "metrics", sinking)
    _, outcome = finish(run(make_workbench(), make_update(guard_patience=2)))
    assert outcome.steps == 3
    assert outcome.stopped is not None
    assert "less likely" in outcome.stopped


def test_a_step_that_diverges_leaves_the_policy_of_the_last_iteration(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fourth step diverges: the policy after the second, the end of iteration 0, is kept."""
    workbench = make_workbench()
    expected = make_workbench()
    finish(run(expected, make_update("two", dpo_steps=2)))  # its warm-up of 25 % has no step, as that of four has one
    original, calls = ditto.take_step, 0

    def failing(*given: Any) -> float:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise optimiser.Diverged
        return original(*given)

    monkeypatch.setattr(ditto, "take_step", failing)
    update = make_update(dpo_warmup=0)
    _, outcome = finish(run(workbench, update))
    assert outcome.steps == 2
    assert outcome.stopped is not None
    assert "diverged" in outcome.stopped
    assert all(bool(value.isfinite().all()) for value in workbench.adapters.state(POLICY).values())
    _, again = finish(run(make_workbench(), update))
    assert again == outcome


def test_supervised_learning_that_diverges_is_an_error(make_workbench: MakeWorkbench, make_update: MakeUpdate) -> None:
    with pytest.raises(ModelError, match="diverged"):
        finish(run(make_workbench(), make_update(supervised_learning_rate=1e30)))


def test_samples_that_all_equal_their_demonstration_leave_nothing_to_prefer(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervised policy knows its texts by heart: it is what the gate gets, and why is said."""

    def by_heart(bench: Workbench, adapter: str, prompts: Any, samplings: Any, n: int) -> Any:
        yield 0
        own = {each.prompt_ids: each.completion_ids for each in map(partial(encode, bench.base), update.demonstrations)}
        rows = {key: bench.decoder.submit(ids, samplings[key], adapter=adapter, n=n) for key, ids in prompts.items()}
        for row in (row for each in rows.values() for row in each):
            bench.decoder.cancel(row)
            row.token_ids, row.finish_reason = list(own[row.prompt_ids]), "stop"
        return rows

    update = make_update(learnt=(demonstration("Ask Bo", "Bo, lunch?"), demonstration("Thank Cy", "Cy, ta. A.")))
    monkeypatch.setattr(ditto, "draw_rows", by_heart)
    workbench = make_workbench()
    seen, outcome = finish(run(workbench, update))
    assert outcome.steps == 0
    assert outcome.stopped == "Every sample equals its demonstration: nothing is left to prefer."
    assert "dpo" not in {each.phase for each in seen}
    assert equal(workbench.adapters.state(POLICY), workbench.adapters.state(REFERENCE))
    assert finish(run(make_workbench(), update)) == ([], outcome)


@pytest.mark.parametrize(
    ("stage", "skipped"),
    [
        (("supervised", 0), set()),
        (("sampling", 0), {"supervised"}),
        (("dpo", 0), {"supervised"}),
        (("sampling", 1), {"supervised"}),
        (("dpo", 1), {"supervised", "reference", "sampling"}),
    ],
)
def test_a_killed_update_goes_on_to_the_same_bits(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, stage: tuple[str, int], skipped: set[str]
) -> None:
    """Left alone at the second micro-step of a stage; a new process ends it, without the stages before."""
    whole, killed, resumed = make_workbench(), make_workbench(), make_workbench()
    _, outcome = finish(run(whole, make_update("whole")))
    work = run(killed, make_update("killed"))
    while (each := next(work)).phase != stage[0] or each.iteration != stage[1]:
        pass
    next(work)
    left, found = finish(run(resumed, make_update("killed")))
    assert found == outcome
    assert equal(resumed.adapters.state(POLICY), whole.adapters.state(POLICY))
    assert equal(resumed.adapters.state(REFERENCE), whole.adapters.state(REFERENCE))
    assert not skipped & {each.phase for each in left}


def test_a_finished_update_does_nothing_again(make_workbench: MakeWorkbench, make_update: MakeUpdate) -> None:
    _, outcome = finish(run(make_workbench(), make_update()))
    left, found = finish(run(make_workbench(), make_update()))
    assert (left, found) == ([], outcome)


def test_another_seed_or_number_does_not_go_on_from_the_old_checkpoint(
    make_workbench: MakeWorkbench, make_update: MakeUpdate
) -> None:
    finish(run(make_workbench(), make_update()))
    seen, _ = finish(run(make_workbench(), make_update(beta=0.9)))
    assert seen[0].phase == "supervised"


def test_a_run_whose_folder_is_lost_starts_over(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, tmp_path: Path
) -> None:
    finish(run(make_workbench(), make_update()))
    shutil.rmtree(tmp_path / "run")
    seen, _ = finish(run(make_workbench(), make_update()))
    assert seen[0].phase == "supervised"


def test_there_is_a_checkpoint_after_every_stage(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After supervised learning, after each sampling, after each iteration's steps."""
    saved = []
    original = checkpoint.save

    def note(directory: Path, fingerprint: str, each: checkpoint.Checkpoint, kind: checkpoint.Kind, key: str) -> None:
        saved.append((each.state.step, len(each.state.samples), kind))
        original(directory, fingerprint, each, kind, key)

    monkeypatch.setattr(training.checkpoint, "save", note)
    finish(run(make_workbench(), make_update()))
    assert saved == [(*place, "round") for place in ((0, 0), (0, 1), (2, 1), (2, 2), (4, 2))]


def test_rows_of_an_abandoned_update_leave_the_decoder(make_workbench: MakeWorkbench, make_update: MakeUpdate) -> None:
    workbench = make_workbench()
    work = run(workbench, make_update())
    while next(work).phase != "sampling":
        pass
    work.close()
    assert not workbench.decoder.busy


def test_a_request_between_two_micro_steps_changes_nothing(
    make_workbench: MakeWorkbench, make_update: MakeUpdate
) -> None:
    alone = make_workbench()
    finish(run(alone, make_update("alone")))
    busy = make_workbench()
    work = run(busy, make_update("busy"))
    for step, _ in enumerate(work):
        if step % 3 == 0:  # an adapter comes into memory, answers, and goes
            busy.adapters.create("request", LoraShape(rank=4), seed=step)
            decoder = Decoder(busy.base, busy.adapters, max_rows=1)
            decoder.submit([1, 2, 3], Sampling(seed=0, max_tokens=2), adapter="request")
            decoder.step()
            busy.adapters.drop("request")
    assert equal(alone.adapters.state(POLICY), busy.adapters.state(POLICY))


def test_an_epoch_shows_every_demonstration_once(
    make_workbench: MakeWorkbench, demonstrations: tuple[Demonstration, ...]
) -> None:
    """Three demonstrations in batches of two: steps 0 and 1 are one epoch, steps 2 and 3 the next."""
    base = make_workbench().base
    examples = [encode(base, each) for each in demonstrations]
    for epoch in range(3):
        shown = [
            *batch_of_demonstrations(examples, 2 * epoch, 2, 5),
            *batch_of_demonstrations(examples, 2 * epoch + 1, 2, 5),
        ]
        assert sorted(shown, key=repr) == sorted(examples, key=repr)


def test_a_saved_adapter_gives_the_same_log_probs_in_plain_peft(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, tmp_path: Path
) -> None:
    from peft import PeftModel

    workbench = make_workbench()
    finish(run(workbench, make_update()))
    workbench.adapters.save(POLICY, tmp_path / "saved")
    token_ids = torch.tensor([[3, 1, 4, 1, 5]])
    with workbench.adapters.active(POLICY), torch.no_grad():
        ours = workbench.base.model(input_ids=token_ids).logits
    loaded = PeftModel.from_pretrained(make_workbench().base.model, tmp_path / "saved").eval()
    with torch.no_grad():
        theirs = loaded(input_ids=token_ids).logits
    assert torch.allclose(ours, theirs, atol=1e-6)
