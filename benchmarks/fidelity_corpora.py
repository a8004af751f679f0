"""The people of `../shared/data` as the fidelity benchmark sees them: what is learnt of each, and what is kept apart.

Every text is cut to a number of words, so that two cores get through it. Knows files and the product's own reading and
selection; knows neither models nor judges.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dittod.ingest import prompts
from dittod.ingest.demonstrations import Owner, demonstrations_of
from dittod.ingest.readers import read
from dittod.ingest.select import select
from dittod.types import Demonstration, demonstration_id

DATA = Path(__file__).parents[2] / "shared" / "data"
LEAST_WORDS = 8  # of a text that is learnt or judged
LEAST_TESTS = 2
OTHERS = 12  # texts of one person that may stand for an impostor
PANZA = ("david", "isabel")
_REPEATED_LETTERS = 60  # of a question, found in the answer: it was copied there


@dataclass(frozen=True, slots=True)
class Author:
    """One person."""

    corpus: str
    name: str
    learnt: tuple[Demonstration, ...]
    tests: tuple[Demonstration, ...]  # written later, or held out: never learnt
    others: tuple[str, ...] = ()  # more of this person's texts, in neither: they stand for an impostor of other people


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of each."""

    words: int = 80  # of a text
    learnt: int = 7  # the paper's
    tests: int = 6


def authors(corpus: str, sizes: Sizes) -> Iterator[Author]:
    """Everybody of a corpus with enough texts, in an order that does not change."""
    found = (_cut(each, sizes) for each in CORPORA[corpus](sizes))
    return (each for each in found if len(each.learnt) == sizes.learnt and len(each.tests) >= LEAST_TESTS)


def _cmcc(sizes: Sizes) -> Iterator[Author]:
    """The training texts are learnt; those for validation and test are the tests."""
    learnt, tests = _cmcc_rows("train"), _cmcc_rows("val")
    for name, rows in _cmcc_rows("test").items():
        tests.setdefault(name, []).extend(rows)
    for name, rows in sorted(learnt.items()):
        yield Author("cmcc", name, tuple(rows[: sizes.learnt]), tuple(tests[name]), _texts(rows[sizes.learnt :]))


def _cmcc_rows(split: str) -> dict[str, list[Demonstration]]:
    by_author: dict[str, list[Demonstration]] = {}
    for line in (DATA / "cmcc" / f"{split}.jsonl").read_text().splitlines():
        row = json.loads(line)
        if not repeats_the_question(row["prompt"], row["output"]):
            by_author.setdefault(row["author"], []).append(_demonstration(row["prompt"], row["output"]))
    return by_author


def repeats_the_question(prompt: str, output: str) -> bool:
    """Whether the answer holds the beginning of what was asked, which comes after the prompt's first colon."""
    question = _letters(prompt.partition(": ")[2])[:_REPEATED_LETTERS]
    return bool(question) and question in _letters(output)


def _ccat50(sizes: Sizes) -> Iterator[Author]:
    by_author: dict[str, dict[str, list[Demonstration]]] = {}
    with gzip.open(DATA / "ccat50" / "articles.jsonl.gz", "rt") as file:
        for row in map(json.loads, file):
            article = " ".join(row["text"].split())
            by_author.setdefault(row["author"], {}).setdefault(row["split"], []).append(_article(article))
    for name, parts in sorted(by_author.items()):
        learnt, others = parts["train"][: sizes.learnt], parts["train"][sizes.learnt :]
        yield Author("ccat50", name, tuple(learnt), tuple(parts["test"]), _texts(others))


def _article(text: str) -> Demonstration:
    """The paper's prompt; the article begins with the sentence that the prompt gives away."""
    return _demonstration(f"Write an article that starts with the following: {first_sentence(text)}", text)


def first_sentence(text: str) -> str:
    """Up to the first full stop, question or exclamation mark that a capital follows."""
    end = re.search(r"[.!?][\"'”’)]*(?=\s+[\"'“‘(]*[A-Z])", text)
    return text[: end.end()] if end else text


def _panza(sizes: Sizes) -> Iterator[Author]:
    for name in PANZA:
        rows = map(json.loads, (DATA / "panza" / f"{name}.jsonl").read_text().splitlines())
        mails = [
            _demonstration(prompts.new_mail((), row["subject"]), row["email"].replace("\r\n", "\n"), place)
            for place, row in enumerate(rows)
        ]
        yield _selected("panza", name, mails, sizes)


def _enron(sizes: Sizes) -> Iterator[Author]:
    """As the product reads a folder of mail."""
    with (DATA / "enron" / "people.csv").open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["person"])
    for row in rows:
        yield _selected("enron", row["person"], _mails(row["person"], row["addresses"].split()), sizes)


def _mails(person: str, addresses: Sequence[str]) -> list[Demonstration]:
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(DATA / "enron" / f"{person}.tar.gz") as archive:
            archive.extractall(folder, filter="data")
        return [
            each
            for path in sorted(Path(folder).rglob("*.eml"))
            for document in read(path)
            if document
            for each in demonstrations_of(document, Owner(identities=tuple(addresses))).demonstrations
        ]


def _selected(corpus: str, name: str, mails: Sequence[Demonstration], sizes: Sizes) -> Author:
    """The product's own choice; the latest are held out."""
    long_enough = [each for each in mails if len(each.completion.split()) >= LEAST_WORDS]
    chosen = select(long_enough, held_out_fraction=0.0, minimum_held_out=sizes.tests, limit=sizes.learnt)
    apart = {each.id for each in (*chosen.learn, *chosen.held_out)}
    others = [each for each in long_enough if each.id not in apart]
    return Author(corpus, name, chosen.learn, chosen.held_out, _texts(others))


CORPORA: dict[str, Callable[[Sizes], Iterator[Author]]] = {
    "panza": _panza,
    "cmcc": _cmcc,
    "ccat50": _ccat50,
    "enron": _enron,
}


def _cut(author: Author, sizes: Sizes) -> Author:
    return replace(
        author,
        learnt=tuple(_cut_text(each, sizes.words) for each in author.learnt),
        tests=tuple(_cut_text(each, sizes.words) for each in author.tests[: sizes.tests]),
        others=tuple(first_words(each, sizes.words) for each in author.others),
    )


def _cut_text(each: Demonstration, words: int) -> Demonstration:
    completion = first_words(each.completion, words)
    return replace(each, id=demonstration_id(each.prompt, completion), completion=completion)


def first_words(text: str, count: int) -> str:
    """The text's beginning with its line breaks, up to the end of a sentence where one ends in its second half: where
    a text ends is learnt, and nobody ends in the middle of one."""
    words = list(re.finditer(r"\S+", text))[:count]
    if not words:
        return ""
    ends = [each.end() for each in words[count // 2 :] if re.search(r"[.!?][\"'”’)]*$", each.group())]
    whole = text[: words[-1].end()]
    return whole if len(whole.strip()) == len(text.strip()) or not ends else text[: ends[-1]]


def _demonstration(prompt: str, completion: str, written_at: float = 0.0) -> Demonstration:
    return Demonstration(demonstration_id(prompt, completion), prompt, completion, "", written_at)


def _texts(demonstrations: Iterable[Demonstration]) -> tuple[str, ...]:
    return tuple(each.completion for each in demonstrations)[:OTHERS]


def _letters(text: str) -> str:
    return "".join(re.findall(r"[a-z]+", text.lower()))
