"""The judge of DITTO's paper (arXiv:2406.00888, appendix D): a model is shown a text of the person and two others, and
says which of the two the same person wrote. There it was GPT-4; a private daemon has its own base model.

Each pair is asked about in both orders, and once more beside somebody else's text in the place of the person's. What
counts is by how much the letter of one text is likelier than that of the other, with the person's text more than with
the other one: a model wins nothing by liking the letter A, or short texts, or greetings. No answer is drawn. A small
model cannot do this at all, so `competence` asks first what is known: the person's own texts against other people's.
(Without the second text, the starter model was right in 6 % or in 81 % of its trials, by the seed that drew them; with
it, in none of 26 draws often enough.)

Knows questions and letters; the model is behind `Ask`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import cycle, permutations
from random import Random

from dittod.learner.batch import TokenSequence
from dittod.learner.workbench import Workbench, score
from dittod.model.chat import encode_chat, encode_completion
from dittod.model.load import BaseModel
from dittod.types import Message

TRIALS = 32
LEAST_TRIALS = 8
NEEDED = 0.7  # of the trials; by guessing, 23 of 32 are right in 1 of 100 cases
MOST_TEXT_TOKENS = 300  # of each of the three texts; manner shows in the first hundred words

_QUESTION = """Here is a text that a person wrote, and two more texts, A and B. One of these two is by the same person.

--- The person's text
{sample}

--- Text A
{first}

--- Text B
{second}

---
Compare the manner of writing, not the topic. Which one is by the same person? Answer with one letter, A or B."""


@dataclass(frozen=True, slots=True)
class Question:
    """Which of two texts is by the author of the sample?"""

    sample: str
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts to choose from."""

    sample: str  # of the person
    stranger: str  # a text of somebody who wrote neither
    ours: str
    theirs: str

    def questions(self) -> list[Question]:
        """Beside the person's text in both orders, then beside the stranger's."""
        both = (self.ours, self.theirs), (self.theirs, self.ours)
        return [Question(sample, *order) for sample in (self.sample, self.stranger) for order in both]


Ask = Callable[[Sequence[Question]], Generator[int, None, list[float]]]  # log P(A) − log P(B) of each


def competence(ask: Ask, known: Sequence[str], impostors: Sequence[str], seed: int) -> Generator[int, None, float]:
    """The share of trials in which a text of the person's own is told from somebody else's; 0 where there are too few
    texts to try. Stops where it can no longer be enough."""
    trials = _trials(known, impostors, Random(seed))
    if len(trials) < LEAST_TRIALS:
        return 0.0
    right = 0
    for done, trial in enumerate(trials, start=1):
        margins = yield from _margins(ask, [trial])
        right += margins[0] > 0
        if right + len(trials) - done < NEEDED * len(trials):
            break
    return right / len(trials)


def is_competent(share: float) -> bool:
    """Whether a model's judgement counts."""
    return share >= NEEDED


def shares_won(
    ask: Ask,
    samples: Sequence[str],
    strangers: Sequence[str],
    ours: Sequence[Sequence[str]],
    theirs: Sequence[Sequence[str]],
) -> Generator[int, None, list[float]]:
    """For each sample, how many of our answers are taken for its author's rather than the rival's beside it; a tie is
    half a win."""
    pairs = [
        Pair(sample, stranger, mine, other)
        for sample, stranger, own, others in zip(samples, cycle(strangers), ours, theirs, strict=False)
        for mine, other in zip(own, others, strict=True)
    ]
    margins = iter((yield from _margins(ask, pairs)))
    return [sum(_won(next(margins)) for _ in own) / len(own) for own in ours]


def by_model(bench: Workbench) -> Ask:
    """The base model, without any adapter."""

    def ask(questions: Sequence[Question]) -> Generator[int, None, list[float]]:
        prompts = [_prompt(bench, each) for each in questions]
        letters = [tuple(encode_completion(bench.base, letter)[:-1]) for letter in "AB"]
        sequences = [TokenSequence("", prompt, letter) for prompt in prompts for letter in letters]
        logps = yield from score(bench, sequences, None)
        return [first - second for first, second in zip(logps[::2], logps[1::2], strict=True)]

    return ask


def _margins(ask: Ask, pairs: Sequence[Pair]) -> Generator[int, None, list[float]]:
    """By how much ours is preferred in each, in nats, for the person's sake."""
    found = iter((yield from ask([question for each in pairs for question in each.questions()])))
    asked = [(next(found), next(found), next(found), next(found)) for _ in pairs]
    return [(first - turned) - (elsewhere - turned_elsewhere) for first, turned, elsewhere, turned_elsewhere in asked]


def _won(margin: float) -> float:
    return 0.5 if margin == 0 else float(margin > 0)


def _trials(known: Sequence[str], impostors: Sequence[str], random: Random) -> list[Pair]:
    own, strangers = list(permutations(known, 2)), list(impostors)
    random.shuffle(own)
    random.shuffle(strangers)
    others = strangers[1:] + strangers[:1]
    return [
        Pair(sample, stranger, ours, theirs)
        for (sample, ours), theirs, stranger in zip(cycle(own), strangers[:TRIALS], others, strict=False)
    ]


def _prompt(bench: Workbench, question: Question) -> tuple[int, ...]:
    base = bench.base
    room = min(base.context_tokens, bench.plan.sequence_tokens)
    empty = _QUESTION.format(sample="", first="", second="")
    left = room - len(encode_chat(base, [Message("user", empty)])) - 2  # letters of a token or two
    each = max(1, min(MOST_TEXT_TOKENS, left // 3))
    sample, first, second = (
        _beginning(base, text, each) for text in (question.sample, question.first, question.second)
    )
    asked = _QUESTION.format(sample=sample, first=first, second=second)
    return tuple(encode_chat(base, [Message("user", asked)])[-room:])


def _beginning(base: BaseModel, text: str, tokens: int) -> str:
    encoded = base.tokenizer(text, add_special_tokens=False, split_special_tokens=True)
    return str(base.tokenizer.decode(encoded["input_ids"][:tokens], skip_special_tokens=True))
