"""Prompts improved by the base model: it reads a text and says which points it makes (instruction back-translation).

The idea is that of Li et al. (arXiv:2308.06259); what a sentence must do to be kept is in judge/points.py. Texts are
tried a few at a time, since each is compared with the others: what has been decided is told at once, and a stop loses
one such group at most. Knows the base model and a person's texts; knows nothing of the store, or when there is time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from dittod.engine.protocol import Done, Improve, Improved, Sampling
from dittod.ingest.secrets import mask
from dittod.judge.guards import loops, words
from dittod.judge.leaks import gives_away
from dittod.judge.points import LEAST_GAIN, LEAST_WORDS, MOST_WORDS, PREFIX, Gains, most_words, tidied, with_points
from dittod.learner.batch import TokenSequence
from dittod.learner.chance import derived_seed
from dittod.learner.sampling import draw_rows
from dittod.learner.workbench import Workbench, score
from dittod.model.chat import encode_chat, encode_completion
from dittod.model.load import BaseModel
from dittod.types import Demonstration, Message

CANDIDATES = 4  # sentences drawn about each text
TEMPERATURE = 0.7
GROUP = 4  # texts that are compared with each other
ADDITION_TOKENS = 128  # room for the paragraph in a prompt
RETOKENISED = 8  # by so many tokens more or less may a text come back from its tokens
LEAST_TOKENS = 32  # of a text that are shown and scored, where the context is small
INSTRUCTION = (
    "Somebody wrote this:\n\n{text}\n\nSay in one sentence of at most {words} words what it says, in its language but"
    " not in its words."
)
TOO_SHORT = "the text is too short to be summed up"
NO_ROOM = "no room for it beside the text"
NO_RIVALS = "too few other texts to compare with"
UNLIKELY = "no likelier"
UNSPECIFIC = "no likelier than after words about other texts"

Step = TypeVar("Step")
Result = TypeVar("Result")
Steps = Generator[Improved | None, None, Result]  # None: a micro-step that decided nothing


@dataclass(frozen=True, slots=True)
class Text:
    """A demonstration whose prompt can be tried. `completion_ids` are cut to what fits with any addition."""

    demonstration: Demonstration
    completion_ids: tuple[int, ...]
    question_ids: tuple[int, ...]
    most_words: int  # of an addition

    @property
    def most_tokens(self) -> int:
        """Of an answer; words of some languages are many tokens."""
        return min(ADDITION_TOKENS - RETOKENISED, 3 * self.most_words + RETOKENISED)


@dataclass(frozen=True, slots=True)
class Sentence:
    """What the base model says about a text."""

    points: str
    about: int  # place of the text in its group
    leaks: bool


def improve(workbench: Workbench, command: Improve) -> Steps[Done]:
    """Yields after each micro-step; with it, once for every demonstration, what became of its prompt."""
    texts: list[Text] = []
    for each in command.demonstrations:
        found = text_of(workbench, each)
        if isinstance(found, Text):
            texts.append(found)
        else:
            yield Improved(command.id, each.id, None, found)
    others = [found for each in command.others if isinstance(found := text_of(workbench, each), Text)]
    for wanted, group in groups(texts, others):
        sentences, objections = yield from _sentences(workbench, group)
        gains = yield from _gains(workbench, group, sentences)
        for place in range(wanted):
            verdict = decide(place, group[place].demonstration, sentences, objections[place], gains)
            yield replace(verdict, id=command.id)
    return Done(command.id, 0, 0)  # tokens are counted for who asked for an answer


def text_of(workbench: Workbench, demonstration: Demonstration) -> Text | str:
    """Ready to be tried, or the reason why it cannot be."""
    base = workbench.base
    most = most_words(demonstration.completion)
    if not most:
        return TOO_SHORT
    room = min(base.context_tokens, workbench.plan.sequence_tokens) - ADDITION_TOKENS
    completion_ids = encode_completion(base, demonstration.completion)
    scored = room - _prompt_tokens(base, demonstration)
    shown = room - len(_question(base, "", most)) - RETOKENISED
    if min(scored, shown) < min(LEAST_TOKENS, len(completion_ids)):
        return NO_ROOM
    beginning = base.tokenizer.decode(completion_ids[:shown], skip_special_tokens=True)
    question_ids = _question(base, beginning, most)[-room:]
    return Text(demonstration, tuple(completion_ids[:scored]), tuple(question_ids), most)


def most_tokens(base: BaseModel, demonstration: Demonstration) -> int:
    """Of the longest sequence that trying it can take."""
    before = max(_prompt_tokens(base, demonstration), len(_question(base, "", MOST_WORDS)) + RETOKENISED)
    return before + len(encode_completion(base, demonstration.completion)) + ADDITION_TOKENS


def groups(texts: Sequence[Text], others: Sequence[Text]) -> Iterator[tuple[int, list[Text]]]:
    """Texts that are compared with each other, and how many of them, from the first, are to be decided on."""
    for start in range(0, len(texts), GROUP):
        wanted = list(texts[start : start + GROUP])
        rivals = [*others, *texts[:start], *texts[start + GROUP :]]
        yield len(wanted), wanted + rivals[: GROUP - len(wanted)]


def decide(
    place: int, demonstration: Demonstration, sentences: Sequence[Sentence], objections: Sequence[str], gains: Gains
) -> Improved:
    """Whether one of the sentences about this text goes into its prompt: the likeliest that nothing speaks against."""

    def refused(reason: str, **figures: float) -> Improved:
        return Improved("", demonstration.id, None, reason, figures)

    own = [k for k, each in enumerate(sentences) if each.about == place and not each.leaks]
    if not own:
        leaks = ["gives the text away" for each in sentences if each.about == place]
        return refused(Counter([*objections, *leaks]).most_common(1)[0][0])
    needed = gains.needed(place)
    if needed is None:
        return refused(NO_RIVALS)
    passing = [k for k in own if gains.of[place][k] > LEAST_GAIN and gains.advantage(place, k) > needed]
    best = max(passing or own, key=lambda k: gains.of[place][k])
    gain = gains.of[place][best]
    figures = {  # nats per token
        "template": gains.template[place],
        "gain": gain,
        "advantage": gains.advantage(place, best),
        "needed": needed,
    }
    if not passing:
        return refused(UNSPECIFIC if gain > LEAST_GAIN else UNLIKELY, **figures)
    prompt = with_points(demonstration.prompt, sentences[best].points)
    return Improved("", demonstration.id, prompt, f"likelier by {gain:.2f} nats per token", figures)


def objection(points: str, most: int, control_tokens: frozenset[str]) -> str | None:
    """What speaks against an addition whatever text it is about."""
    said = words(points)
    if len(said) < LEAST_WORDS:
        return "says nothing"
    if len(said) > most:
        return "longer than a quarter of the text"
    if loops(said):
        return "repeats itself"
    if any(token in points for token in control_tokens):
        return "holds control tokens"
    return "holds a secret" if mask(points).counts else None


def _sentences(workbench: Workbench, group: Sequence[Text]) -> Steps[tuple[list[Sentence], list[list[str]]]]:
    """All that may be used, and for each text what speaks against the rest."""
    base = workbench.base
    control = _control_tokens(base)
    prompts = {each.demonstration.id: each.question_ids for each in group}
    samplings = {each.demonstration.id: _sampling(each) for each in group}
    drawn = yield from _quietly(draw_rows(workbench, None, prompts, samplings, CANDIDATES))
    sentences: dict[tuple[int, str], Sentence] = {}
    objections: list[list[str]] = [[] for _ in group]
    for place, text in enumerate(group):
        for row in drawn[text.demonstration.id]:
            points = _answer(base, row)
            against = objection(points, text.most_words, control)
            if against:
                objections[place].append(against)
                continue
            leaks = gives_away(points, text.demonstration.completion, text.demonstration.prompt)
            sentences[place, points] = Sentence(points, place, leaks)
    return list(sentences.values()), objections


def _control_tokens(base: BaseModel) -> frozenset[str]:
    """Texts that the tokenizer makes one token of, whoever wrote them."""
    tokens = {*base.tokenizer.all_special_tokens, *base.tokenizer.get_added_vocab()}
    return frozenset(token for token in tokens if token.strip())


def _gains(workbench: Workbench, group: Sequence[Text], sentences: Sequence[Sentence]) -> Steps[Gains]:
    """Every text after its template, and after its template with every sentence."""
    table, templates = [], []
    for text in group:
        template = text.demonstration.prompt
        prompts = [template, *(with_points(template, each.points) for each in sentences)]
        sequences = [_sequence(workbench.base, text, prompt) for prompt in prompts]
        bare, *added = yield from _quietly(score(workbench, sequences, None))
        tokens = len(text.completion_ids)
        table.append([(logp - bare) / tokens for logp in added])
        templates.append(-bare / tokens)
    return Gains(table, [each.about for each in sentences], templates)


def _sequence(base: BaseModel, text: Text, prompt: str) -> TokenSequence:
    prompt_ids = tuple(encode_chat(base, [Message("user", prompt)]))
    return TokenSequence(text.demonstration.id, prompt_ids, text.completion_ids)


def _prompt_tokens(base: BaseModel, demonstration: Demonstration) -> int:
    return len(encode_chat(base, [Message("user", demonstration.prompt)]))


def _sampling(text: Text) -> Sampling:
    seed = derived_seed(0, "points", text.demonstration.id)
    return Sampling(temperature=TEMPERATURE, max_tokens=text.most_tokens, seed=seed)


def _question(base: BaseModel, text: str, most: int) -> list[int]:
    """The answer is begun for the model: small ones answer the text otherwise."""
    asked = encode_chat(base, [Message("user", INSTRUCTION.format(text=text, words=most))])
    return asked + list(base.tokenizer(PREFIX, add_special_tokens=False)["input_ids"])


def _answer(base: BaseModel, row: Any) -> str:
    ended = row.finish_reason == "stop"
    token_ids = row.token_ids[:-1] if ended else row.token_ids
    return tidied(base.tokenizer.decode(token_ids), ended=ended)


def _quietly(work: Generator[Step, None, Result]) -> Steps[Result]:
    """Run some work to its end. Closes it when closed."""
    try:
        while True:
            try:
                next(work)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            yield None
    finally:
        work.close()
