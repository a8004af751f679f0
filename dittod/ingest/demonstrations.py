"""From a Document to a Demonstration, or to the sentence that says why not: the whole of ingest in one function. Pure.

Knows the order of the steps. Does not know files, the store, or what is chosen for a run. Reasons never hold the
user's text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dittod.ingest import prompts
from dittod.ingest.automatic import why_not_by_hand
from dittod.ingest.identity import same_address, sent_by_user
from dittod.ingest.mail import Cut, own_words
from dittod.ingest.secrets import mask
from dittod.types import Demonstration, Document, demonstration_id

FEWEST_WORDS = 5  # 'Thanks, see you then' shows no manner that a learner could tell from noise
_MASKED_SHARE = 0.2  # a secret in every fifth word: the mail is mostly secret
_FORWARD = re.compile(r"(?i)\s*(fw|fwd|wg|tr|rv|i|enc|doorst|vb|vl|转发)\s*[:：]")


@dataclass(frozen=True, slots=True)
class Result:
    """What a Document came to: demonstrations, or the reason for none."""

    demonstrations: tuple[Demonstration, ...] = ()
    reason: str = ""  # a phrase for people; empty when there are demonstrations
    masked: Mapping[str, int] = field(default_factory=dict[str, int])  # secrets by kind


def demonstrations_of(document: Document, identities: Sequence[str]) -> Result:
    """`identities` are the user's own addresses; without any, no mail can be told to be the user's."""
    if document.kind == "text":
        return _finish(document, Cut(document.text, "", "", ()))
    if reason := why_not_by_hand(document):
        return Result(reason=reason)
    if not sent_by_user(document, identities):
        return Result(reason="not sent by the user" if document.sender else "no sender")
    others = tuple(to for to in document.recipients if not any(same_address(to, own) for own in identities))
    return _finish(replace(document, recipients=others), own_words(document.text))


def _finish(document: Document, cut: Cut) -> Result:
    passed_on = cut.is_forward or _FORWARD.match(document.subject) is not None
    if reason := _why_too_little(cut, passed_on):
        return Result(reason=reason)
    completion, prompt = mask(_tidied(cut.kept)), mask(_prompt(document, cut, passed_on))
    counts = dict(Counter(completion.counts) + Counter(prompt.counts))
    if sum(completion.counts.values()) > _MASKED_SHARE * len(completion.text.split()):
        return Result(reason="mostly secrets", masked=counts)
    demonstration = Demonstration(
        id=demonstration_id(prompt.text, completion.text),
        prompt=prompt.text,
        completion=completion.text,
        source=document.sha256,
        written_at=document.written_at,
    )
    return Result((demonstration,), masked=counts)


def _why_too_little(cut: Cut, passed_on: bool) -> str | None:
    words = len(re.findall(r"\w+", cut.kept))
    if not words:
        return "a forward without own words" if passed_on else "no own words"
    return f"only {words} own word{'s' if words > 1 else ''}" if words < FEWEST_WORDS else None


def _prompt(document: Document, cut: Cut, passed_on: bool) -> str:
    if document.kind == "text":
        return prompts.text(document.title, document.text)
    if cut.quoted and not passed_on:
        answered = cut.quoted_from or next(iter(document.recipients), "")
        return prompts.reply(answered, document.subject, cut.quoted)
    return prompts.new_mail(document.recipients, document.subject)


def _tidied(kept: str) -> str:
    """No spaces at line ends, no more than one empty line in a row."""
    lines = "\n".join(line.replace("\xa0", " ").rstrip() for line in kept.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", lines).strip()
