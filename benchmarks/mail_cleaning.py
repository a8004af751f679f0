"""Which lines of a mail did its sender write? Hand-labelled mails, dittod beside two libraries and the naive cut.

Kept lines against the labels in `mail_labels/` (see its README): real mails of 42 people, labelled by file name and
line number, and written ones over languages and clients. Empty lines have no label. Every method gets the same text,
the reader's. Text that a method returns is aligned with that text's lines (difflib, white space aside); dittod says
which lines it keeps. A line kept in part counts as kept.

Own lines lost are joined, run by run, and split behind `.`, `!` or `?` before a space (not behind a list's "1.") and
behind `。！？`; each piece that holds a letter or a figure is a lost sentence ("Thanks, Ann" is one). A line that also
holds others' words counts whole.

    python benchmarks/mail_cleaning.py    [--data FOLDER] [--show dev] [--quick]

Does not look at prompts, secrets or attachments. Nothing of a mail's text is printed.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tarfile
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import email_reply_parser
import mailparser_reply
from mailparser_reply.constants import MAIL_LANGUAGES
from rich.console import Console
from rich.table import Table

from dittod.ingest.demonstrations import take_apart
from dittod.ingest.mail import own_words
from dittod.ingest.readers import read
from dittod.ingest.signatures import recurring, tail_hashes
from dittod.types import Document

PARTS = ("dev", "test", "blind", "written dev", "written test", "written blind")
LABELS = Path(__file__).parent / "mail_labels"
DATA = Path(__file__).parents[2] / "shared" / "data"
_SENTENCE_END = re.compile(r"(?<=[.!?])(?<!\b\d\.)\s+|(?<=[。！？])")
_WORD = re.compile(r"\w")
_FIRST_QUOTE = re.compile(r"^\s*>|^\s*On\b.*\bwrote:\s*$|^\s*-+\s*Original Message\s*-+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Mail:
    """A labelled mail."""

    part: str
    name: str  # for --show: the file
    document: Document
    own: frozenset[int]  # line numbers from 1, none of them an empty line
    signatures: frozenset[str]  # known from the other mails of the same person

    @property
    def text(self) -> str:
        """What every method is given."""
        return self.document.text


@dataclass(frozen=True, slots=True)
class Score:
    """One method on one mail."""

    part: str
    kept: int
    right: int
    own: int
    lost_sentences: int


def naive(mail: Mail) -> str:
    """Everything above the first '>', 'On … wrote:' or '-----Original Message-----'."""
    lines = mail.text.split("\n")
    first = next((i for i, line in enumerate(lines) if _FIRST_QUOTE.search(line)), len(lines))
    return "\n".join(lines[:first])


def dittod(mail: Mail) -> frozenset[int]:
    """As ingest cleans a mail of a person whose other mails it has read. It says itself which lines it keeps."""
    removed = {number for number, _ in take_apart(mail.document, mail.signatures).removed}
    lines = enumerate(mail.text.split("\n"), start=1)
    return frozenset(number for number, line in lines if line.strip() and number not in removed)


def mail_parser_reply(mail: Mail) -> str:
    """The latest reply without its header, in all languages it has. Its `body` would also lose the closing formula."""
    parser = mailparser_reply.EmailReplyParser(languages=list(MAIL_LANGUAGES))
    full_body: str = parser.read(text=mail.text).replies[0].full_body
    return full_body


def reply_parser(mail: Mail) -> str:
    """`parse_reply`, the one call its README shows for this."""
    reply: str = email_reply_parser.EmailReplyParser.parse_reply(mail.text)
    return reply


OTHERS: dict[str, Callable[[Mail], str]] = {
    "mail-parser-reply": mail_parser_reply,
    "email-reply-parser": reply_parser,
    "naive": naive,
}


def main() -> None:
    """Table on stdout, one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="holds enron/; without it only the written mails count")
    parser.add_argument("--show", choices=PARTS, help="where dittod differs: files, line numbers")
    parser.add_argument("--quick", action="store_true", help="the same: it is quick")
    given = parser.parse_args()
    mails = [*_enron_mails(given.data / "enron"), *_written_mails()]
    if not mails:
        sys.exit("no labelled mail can be read: neither Enron nor written mails are there")
    scores = {name: [_score(mail, method(mail)) for mail in mails] for name, method in _methods().items()}
    _print_table(scores)
    for mail in mails:
        if mail.part == given.show:
            _print_differences(mail, dittod(mail))
    print(json.dumps(_summary(scores)))


def _methods() -> Mapping[str, Callable[[Mail], str | frozenset[int]]]:
    return {"dittod": dittod, **OTHERS}


def _enron_mails(folder: Path) -> Iterable[Mail]:
    if not folder.is_dir():
        print(f"{folder} is not there: only the written mails are scored")
        return
    by_person: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for label in _labels("enron.jsonl"):
        by_person[label["person"]].append(label)
    for person, labels in sorted(by_person.items()):
        yield from _mails_of(folder / f"{person}.tar.gz", labels)


def _mails_of(archive: Path, labels: list[dict[str, Any]]) -> list[Mail]:
    """The labelled mails of one person, with the signatures that all mails in the archive show."""
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        documents = {path.name: next(read(path)) for path in Path(folder).rglob("*.eml")}
    signatures = _signatures(documents.values())
    return [_labelled(label, documents[label["file"]], signatures) for label in labels]


def _labelled(label: Mapping[str, Any], document: Document, signatures: frozenset[str]) -> Mail:
    lines = document.text.split("\n")
    name = f"{label['person']}/{label['file']}"
    if (found := sum(bool(line.strip()) for line in lines)) != label["lines"]:
        sys.exit(f"{name}: the reader gives {found} non-empty lines, the label was made for {label['lines']}")
    own = frozenset(
        number for first, last in label["own"] for number in range(first, last + 1) if lines[number - 1].strip()
    )
    return Mail(label["part"], name, document, own, signatures)


def _written_mails() -> Iterable[Mail]:
    labels = _labels("written.jsonl")
    documents = {label["file"]: next(read(LABELS / "written" / label["file"])) for label in labels}
    series: defaultdict[str, list[Document]] = defaultdict(list)  # mails of one person; any other stands alone
    for label in labels:
        series[label.get("series", label["file"])].append(documents[label["file"]])
    for label in labels:
        signatures = _signatures(series[label.get("series", label["file"])])
        document = documents[label["file"]]
        own = _lines_with(document.text, label["own"])
        if missing := len(label["own"]) - len(own):
            print(f"{label['file']}: {missing} own lines are not in the reader's text", file=sys.stderr)
        yield Mail(label["part"], label["file"], document, own, signatures)


def _lines_with(text: str, own: list[str]) -> frozenset[int]:
    """Each own line at its first place that is not taken."""
    free = {number: _normal(line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()}
    found = []
    for line in own:
        number = next((number for number, there in free.items() if there == _normal(line)), None)
        if number is not None:
            found.append(number)
            del free[number]
    return frozenset(found)


def _labels(name: str) -> list[dict[str, Any]]:
    path = LABELS / name
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def _signatures(documents: Iterable[Document]) -> frozenset[str]:
    """What recurs at the end of one person's mails."""
    kept = (own_words(each.text, each.sender).kept for each in documents)
    return recurring(Counter(tail for words in kept for tail in tail_hashes(words)))


def _normal(line: str) -> str:
    return " ".join(line.split())


def _kept_lines(text: str, kept: str) -> frozenset[int]:
    """Line numbers of `text` that a method returned: equal lines in order; between these, one that holds the other."""
    lines = [(number, _normal(line)) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    returned = [_normal(line) for line in kept.split("\n") if line.strip()]
    found = []
    matcher = SequenceMatcher(None, [line for _, line in lines], returned, autojunk=False)
    for how, start, end, other_start, other_end in matcher.get_opcodes():
        if how == "equal":
            found += [number for number, _ in lines[start:end]]
        elif how == "replace":
            others = returned[other_start:other_end]
            found += [number for number, line in lines[start:end] if any(o in line or line in o for o in others)]
    return frozenset(found)


def _score(mail: Mail, returned: str | frozenset[int]) -> Score:
    kept = returned if isinstance(returned, frozenset) else _kept_lines(mail.text, returned)
    lost = _lost_sentences(mail, kept)
    return Score(mail.part, len(kept), len(kept & mail.own), len(mail.own), lost)


def _lost_sentences(mail: Mail, kept: frozenset[int]) -> int:
    """See the module's docstring. A run of lost lines may have empty lines in it."""
    runs: list[list[str]] = [[]]
    for number, line in enumerate(mail.text.split("\n"), start=1):
        if number in mail.own and number not in kept:
            runs[-1].append(line.strip())
        elif line.strip():
            runs.append([])
    sentences = (part for run in runs for part in _SENTENCE_END.split(" ".join(run)))
    return sum(bool(_WORD.search(sentence)) for sentence in sentences)


def _figures(scores: list[Score]) -> dict[str, float | int]:
    """Micro-averaged over lines."""
    kept, right, own = (sum(getattr(score, name) for score in scores) for name in ("kept", "right", "own"))
    return {
        "f1": round(2 * right / (kept + own), 4) if kept + own else 1.0,
        "precision": round(right / kept, 4) if kept else 1.0,
        "recall": round(right / own, 4) if own else 1.0,
        "mails_losing_own_sentences": sum(score.lost_sentences > 1 for score in scores),
        "mails_losing_any": sum(score.lost_sentences > 0 for score in scores),
        "labelled_mails": len(scores),
    }


def _by_part(scores: list[Score]) -> dict[str, dict[str, float | int]]:
    parts = dict.fromkeys(score.part for score in scores)
    return {part: _figures([score for score in scores if score.part == part]) for part in parts}


def _summary(scores: dict[str, list[Score]]) -> dict[str, Any]:
    each = {name: {**_figures(ours), "parts": _by_part(ours)} for name, ours in scores.items()}
    return {**each.pop("dittod"), "others": each}


def _print_table(scores: dict[str, list[Score]]) -> None:
    table = Table("part", "method", "mails", "precision", "recall", "F1", "losing > 1", "losing any", box=None)
    figures = {name: {**_by_part(ours), "all": _figures(ours)} for name, ours in scores.items()}
    for part in figures["dittod"]:
        for name in scores:
            table.add_row(part, name, *_cells(figures[name][part]), end_section=name == "naive")
    Console(width=110).print(table)
    print("losing: mails in which own sentences are lost, more than one and one or more")


def _cells(figures: dict[str, float | int]) -> list[str]:
    shares = [f"{figures[key]:.3f}" for key in ("precision", "recall", "f1")]
    losing = [str(figures[key]) for key in ("mails_losing_own_sentences", "mails_losing_any")]
    return [str(figures["labelled_mails"]), *shares, *losing]


def _print_differences(mail: Mail, kept: frozenset[int]) -> None:
    for what, numbers in (("lost", mail.own - kept), ("kept wrongly", kept - mail.own)):
        if numbers:
            print(f"{mail.name}: {what} {', '.join(map(str, sorted(numbers)))}")


if __name__ == "__main__":
    main()
