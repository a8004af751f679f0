"""One contender at one DITTO step, in a process of its own: learner.py and scaling.py start it with a job as JSON.

Three sides do the same arithmetic: LoRA of rank 16 on all linear layers, sigmoid DPO with beta 0.1, the bare base as
reference, AdamW. `trl` is TRL's DPOTrainer; `naive` is a loop in the manner of DITTO's released code; `dittod` is ours.
Knows how each is driven; knows nothing of how they compare.

    python benchmarks/contenders.py '{"side": "dittod", "model": "FOLDER", "steps": 2, "size": {}, "settings": {}}'
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from naive import naive_loss
from stage import ALPHA, BETA, RANK, DittoStep, Size, Watch, ditto_step, finish, text_of
from transformers import AutoConfig

Gradients = dict[str, torch.Tensor]  # by PEFT's names
SIDES = ("prompt", "chosen", "rejected")  # TRL's names


@dataclass(frozen=True, slots=True)
class Job:
    """What to measure."""

    side: str
    model: str
    steps: int = 1  # measured; a few tokens have been learnt before
    size: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    quantisation: str = "none"
    gradients: str | None = None  # a file: one step in fp32 from given adapter values, its gradient kept

    @property
    def bf16(self) -> bool:
        return self.gradients is None

    def step(self) -> DittoStep:
        return ditto_step(AutoConfig.from_pretrained(self.model).vocab_size, Size(**self.size))


def main() -> None:
    """Measure; the figures are the last line."""
    job = Job(**json.loads(sys.argv[1]))
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    print(json.dumps({"trl": trl, "naive": padded_loop, "dittod": dittod}[job.side](job)))


def dittod(job: Job) -> dict[str, Any]:
    """Ours, through the entry points that `learner.ditto` calls. `settings` are fields of Plan."""
    from dittod.learner.batch import collect
    from dittod.learner.loss import LossWeights
    from dittod.learner.optimiser import make_optimiser, take_step
    from dittod.learner.preset import CLEAN
    from dittod.learner.step import backward_preferences
    from dittod.learner.workbench import score

    step, bench = job.step(), workbench(job)
    scoring, watch = Watch(), Watch()
    scoring.start()
    sequences = step.sequences()
    logps = finish(score(bench, sequences, None))
    scoring.stop()
    reference = {(s.demonstration_id, s.completion_ids): logp for s, logp in zip(sequences, logps, strict=True)}
    own_reference = {key: reference.get((key, each.completion_ids), 0.0) for key, each in step.own.items()}
    pairs = step.with_reference(reference)
    parameters = bench.adapters.parameters("policy")
    if job.gradients:
        bench.adapters.load_state("policy", given_values(bench.adapters.state("policy")))
    optimiser = make_optimiser(CLEAN, parameters)
    with bench.adapters.active("policy"):
        warm_up(bench.base.model)
    watch.weigh()
    for _ in range(job.steps):
        watch.start()
        batch = collect(pairs, step.own, own_reference)
        weights = LossWeights(BETA, 0.0, len(batch.chosen), len(batch.demonstrations))
        finish(backward_preferences(bench, "policy", batch, weights))
        if job.gradients:
            names = sorted(bench.adapters.state("policy"))
            return keep(job, {name: value.grad for name, value in zip(names, parameters, strict=True)})
        take_step(optimiser, 1e-6, 1.0)
        watch.stop()
    return figures(watch, sum(scoring.seconds))


def workbench(job: Job) -> Any:
    """Ours with a fresh adapter, as the engine has it."""
    from dittod.learner.workbench import Workbench
    from dittod.model.decode import Decoder
    from dittod.model.load import load_base
    from dittod.model.lora import LoraAdapters, LoraShape
    from dittod.types import Plan

    base = load_base(job.model, quantisation=job.quantisation)  # type: ignore[arg-type]
    if not job.bf16:
        base.model.float()
        base = replace(base, dtype=torch.float32)
    adapters = LoraAdapters(base)
    adapters.create("policy", LoraShape(RANK, ALPHA), seed=0)
    return Workbench(base, adapters, Decoder(base, adapters, max_rows=1), Plan(**job.settings))


def padded_loop(job: Job) -> dict[str, Any]:
    """Pairs padded and concatenated, some at a time; all logits of policy and reference each step; PEFT's LoRA."""
    model, step = peft_model(job), job.step()
    rows, at_once = step.rows(), job.settings["pairs_at_once"]
    optimiser = torch.optim.AdamW([value for value in model.parameters() if value.requires_grad], lr=1e-6)
    if job.gradients:
        set_values(model)
    watch = Watch()
    warm_up(model)
    watch.weigh()
    for _ in range(job.steps):
        watch.start()
        for start in range(0, len(rows), at_once):
            some = rows[start : start + at_once]
            both = [(prompt, c) for prompt, c, _ in some] + [(prompt, r) for prompt, _, r in some]
            share = len(some) / len(rows)
            (share * naive_loss(model, both, BETA, model.disable_adapter())).backward()
        if job.gradients:
            return keep(job, gradients_of(model))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        watch.stop()
    return figures(watch, 0.0)


def peft_model(job: Job) -> Any:
    """The base with a fresh adapter by PEFT, layers recomputed in the backward pass as in the released settings."""
    from peft import get_peft_model

    model = bare_model(job)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.enable_input_require_grads()
    return get_peft_model(model, lora_config()).train()


def bare_model(job: Job) -> Any:
    """The base as transformers loads it."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    nf4 = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return AutoModelForCausalLM.from_pretrained(
        job.model,
        dtype=torch.bfloat16 if job.bf16 else torch.float32,
        device_map={"": "cuda" if torch.cuda.is_available() else "cpu"},
        quantization_config=nf4 if job.quantisation == "nf4" else None,
    )


def lora_config() -> Any:
    """The same adapter for everybody."""
    from peft import LoraConfig

    return LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", lora_dropout=0.0, task_type="CAUSAL_LM")


def trl(job: Job) -> dict[str, Any]:
    """DPOTrainer. `settings` are fields of DPOConfig; what is not given has TRL's default, but for the size of a
    micro-batch, which is the whole step."""
    scoring, watch = Watch(), Watch()
    rows = job.step().rows()
    with tempfile.TemporaryDirectory() as folder:
        trainer = dpo_trainer(job, rows, folder, scoring)
        read = [tuple(tuple(each[f"{side}_ids"]) for side in SIDES) for each in trainer.train_dataset]
        assert read == rows, "TRL read other tokens than the others were given"
        if job.gradients:
            set_values(trainer.model)
        trainer.add_callback(clock(job, watch))
        trainer.train()
    return figures(watch, sum(scoring.seconds))


def dpo_trainer(job: Job, rows: list[tuple[tuple[int, ...], ...]], folder: str, scoring: Watch) -> Any:
    """Ready to train; with `precompute_ref_log_probs`, the reference has been scored by then."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    class Trainer(DPOTrainer):
        def compute_ref_log_probs(self, *args: Any, **kwargs: Any) -> Any:
            scoring.start()
            found = super().compute_ref_log_probs(*args, **kwargs)
            scoring.stop()
            return found

    unclipped_fp32 = {} if job.bf16 else {"bf16": False, "max_grad_norm": 0.0}
    arguments = DPOConfig(
        folder,
        beta=BETA,
        max_steps=job.steps,
        **{"per_device_train_batch_size": len(rows), **job.settings, **unclipped_fp32},
        save_strategy="no",
        use_cpu=not torch.cuda.is_available(),
        report_to="none",
        disable_tqdm=True,
    )
    texts = [dict(zip(SIDES, (text_of(prompt) + " ", text_of(c), text_of(r)), strict=True)) for prompt, c, r in rows]
    return Trainer(
        bare_model(job),
        args=arguments,
        train_dataset=Dataset.from_list(texts),
        processing_class=AutoTokenizer.from_pretrained(job.model),
        peft_config=lora_config(),
    )


def clock(job: Job, watch: Watch) -> Any:
    """What starts and stops the watch around a trainer's steps."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def on_train_begin(self, *args: Any, model: Any, **kwargs: Any) -> None:
            warm_up(model)
            watch.weigh()

        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            watch.start()

        def on_pre_optimizer_step(self, *args: Any, model: Any, **kwargs: Any) -> None:
            if job.gradients:
                keep(job, gradients_of(model))

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            watch.stop()

    return Clock()


def warm_up(model: Any) -> None:
    """The first forward-backward of a process is slow: libraries load. So it is one of 8 tokens."""
    token_ids = torch.arange(8, device=model.device)[None]
    model(input_ids=token_ids, labels=token_ids, use_cache=False).loss.backward()
    model.zero_grad()


def figures(watch: Watch, reference_seconds: float) -> dict[str, Any]:
    """What the parent reads."""
    return {"seconds": watch.seconds, "added_bytes": watch.added_bytes(), "reference_seconds": reference_seconds}


def given_values(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Adapter values that are the same for all contenders, in A and in B."""
    generator = torch.Generator().manual_seed(1)
    return {name: 0.05 * torch.randn(state[name].shape, generator=generator) for name in sorted(state)}


def set_values(model: Any) -> None:
    """The values above, into PEFT's adapter."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    set_peft_model_state_dict(model, given_values(get_peft_model_state_dict(model)))


def gradients_of(model: Any) -> Gradients:
    """Of PEFT's adapter."""
    named = model.named_parameters()
    return {name.replace(".default.", "."): value.grad for name, value in named if value.requires_grad}


def keep(job: Job, gradients: Gradients) -> dict[str, Any]:
    """Write the gradient to the job's file."""
    assert job.gradients is not None
    torch.save({name: value.detach().cpu().double() for name, value in gradients.items()}, Path(job.gradients))
    return {}


if __name__ == "__main__":
    main()
