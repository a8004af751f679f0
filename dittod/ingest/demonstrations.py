"""From a Document to a Demonstration, or to the sentence that says why not: the whole of ingest in one function. Pure.

Knows the order of the steps. Does not know files, the store, or what is chosen for a run. Reasons never hold the
user's text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from dittod.ingest import prompts
from dittod.ingest.automatic import why_not_by_hand
from dittod.ingest.identity import is_identity, sent_by_user
from dittod.ingest.mail import Cut, own_words
from dittod.ingest.secrets import Masked, mask
from dittod.ingest.signatures import known_block, tail_hashes, without_signature
from dittod.ingest.words import words_of
from dittod.types import Demonstration, DemonstrationKind, Document, PromptSource, demonstration_id

FEWEST_WORDS = 5  # 'Thanks, see you then' shows no manner that a learner could tell from noise
_MASKED_SHARE = 0.2  # a secret in every fifth word: the mail is mostly secret
_FORWARD = re.compile(r"(?i)\s*(fw|fwd|wg|tr|rv|i|enc|doorst|vb|vl|转发)\s*[:：]")


@dataclass(frozen=True, slots=True)
class Owner:
    """What is known of the user while their files are read."""

    identities: tuple[str, ...] = ()  # addresses and names; without any, no mail can be told to be the user's
    signatures: frozenset[str] = frozenset()  # `ingest.signatures`: hashes of the blocks that end many of their mails
    secrets: tuple[str, ...] = ()  # what they want masked wherever it stands


@dataclass(frozen=True, slots=True)
class Result:
    """What a Document came to: a demonstration, or the reason for none."""

    demonstrations: tuple[Demonstration, ...] = ()
    reason: str = ""  # a phrase for people; empty when there is a demonstration
    masked: Mapping[str, int] = field(default_factory=dict[str, int])  # secrets by kind
    cut: Cut | None = None  # of a mail of the user's: which lines are theirs
    tail: tuple[str, ...] = ()  # of such a mail: hashes of the blocks at its end that could be a signature


@dataclass(frozen=True, slots=True)
class _Draft:
    """A pair without secrets."""

    prompt: str
    completion: Masked
    kind: DemonstrationKind
    prompt_by: PromptSource = "template"


class _Hiding:
    """Masks one text after the other, before anything is cut from them: half a number is no longer known as one."""

    def __init__(self, owner: Owner) -> None:
        self._listed = owner.secrets
        self.counts = Counter[str]()

    def __call__(self, text: str) -> str:
        return self.whole(text).text

    def whole(self, text: str) -> Masked:
        """With what was masked in this one."""
        masked = mask(text, self._listed)
        self.counts.update(masked.counts)
        return masked


def demonstrations_of(document: Document, owner: Owner) -> Result:
    """The one demonstration that a mail, text or pair gives, or why it gives none."""
    if document.kind == "mail":
        return _from_mail(document, owner)
    hide = _Hiding(owner)
    completion = hide.whole(_tidied(document.text))
    if document.kind == "pair":
        return _finish(document, hide, _Draft(hide(document.prompt), completion, "pair", "file"))
    prompt = prompts.text(hide(document.title), [hide(each) for each in document.outline], completion.text)
    return _finish(document, hide, _Draft(prompt, completion, "text"))


def take_apart(document: Document, signatures: frozenset[str] = frozenset()) -> Cut:
    """A mail's lines: `own_words`, less the signature that is known from other mails."""
    return _less_signature(_own_words(document), document.text, signatures)


def _own_words(document: Document) -> Cut:
    is_new = not (document.is_reply or _says_forward(document))
    return own_words(document.text, document.sender, is_new=is_new)


def _says_forward(document: Document) -> bool:
    return _FORWARD.match(document.subject) is not None


def _less_signature(cut: Cut, text: str, signatures: frozenset[str]) -> Cut:
    block = known_block(cut.kept, signatures)
    if block is None:
        return cut
    removed = dict(cut.removed)
    own = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if number not in removed]
    while own and not own[0][1].strip():
        own.pop(0)  # `kept` begins with a line that is not empty
    removed.update((number, "signature") for number, _ in own[block.start : block.stop])
    kept, signature = without_signature(cut.kept, signatures)
    return replace(cut, kept=kept, signature=signature, removed=tuple(sorted(removed.items())))


def _from_mail(document: Document, owner: Owner) -> Result:
    if reason := why_not_by_hand(document):
        return Result(reason=reason)
    if not sent_by_user(document, owner.identities):
        return Result(reason="not sent by the user" if document.sender else "no sender")
    own = _own_words(document)
    cut = _less_signature(own, document.text, owner.signatures)
    others = tuple(to for to in document.recipients if not is_identity(to, owner.identities))
    passed_on = cut.is_forward or _says_forward(document)
    hide = _Hiding(owner)
    draft = _draft_of_mail(replace(document, recipients=others), cut, passed_on, hide)
    result = _finish(document, hide, draft, no_words="a forward without own words" if passed_on else "no own words")
    tail, masked = tail_hashes(own.kept), mask(own.kept, owner.secrets)
    if masked.counts:  # so it is stored, and compared with what recurs
        tail = tuple(dict.fromkeys((*tail, *tail_hashes(masked.text))))
    return replace(result, cut=cut, tail=tail)


def _draft_of_mail(document: Document, cut: Cut, passed_on: bool, hide: _Hiding) -> _Draft:
    completion, subject = hide.whole(_tidied(cut.kept)), hide(document.subject)
    recipients = [hide(each) for each in document.recipients]
    if cut.quoted and not passed_on:
        answered = hide(cut.quoted_from) or next(iter(recipients), "")
        return _Draft(prompts.reply(answered, subject, hide(cut.quoted)), completion, "reply")
    return _Draft(prompts.new_mail(recipients, subject), completion, "mail")


def _finish(document: Document, hide: _Hiding, draft: _Draft, no_words: str = "no own words") -> Result:
    if reason := _why_too_little(draft.completion.text, no_words):
        return Result(reason=reason)
    counts = dict(hide.counts)
    if _is_mostly_secret(draft.completion):
        return Result(reason="mostly secrets", masked=counts)
    demonstration = Demonstration(
        id=demonstration_id(draft.prompt, draft.completion.text),
        prompt=draft.prompt,
        completion=draft.completion.text,
        source=document.sha256,
        written_at=document.written_at,
        kind=draft.kind,
        prompt_by=draft.prompt_by,
    )
    return Result((demonstration,), masked=counts)


def _why_too_little(completion: str, no_words: str) -> str | None:
    words = len(words_of(completion))
    if not words:
        return no_words
    return f"only {words} own word{'s' if words > 1 else ''}" if words < FEWEST_WORDS else None


def _is_mostly_secret(completion: Masked) -> bool:
    return sum(completion.counts.values()) > _MASKED_SHARE * len(words_of(completion.text))


def _tidied(kept: str) -> str:
    """No spaces at line ends, no more than one empty line in a row."""
    lines = "\n".join(line.replace("\xa0", " ").rstrip() for line in kept.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", lines).strip()
