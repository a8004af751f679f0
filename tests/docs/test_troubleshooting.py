"""docs/troubleshooting.md has every title of an error that the code can show, and no other."""

from __future__ import annotations

import re
from collections import Counter

from .pages import DOCS, rows_of, section_of
from .titles import PASSED_ON, all_titles, normal, passed_on

WORDS = re.compile(r"(?<!`)(`+)(.+?)\1(?!`)")  # in as many backquotes as it takes
PAGE = section_of(DOCS / "troubleshooting.md", "## By the words of an error")
EXPLAINED = Counter(normal(found[2]) for first, *_ in rows_of(PAGE) for found in WORDS.finditer(first))
MADE = {title.words: title for title in all_titles()}


def test_every_error_that_a_user_can_meet_is_explained() -> None:
    assert [f"{title.path}:{title.line}: {words}" for words, title in MADE.items() if words not in EXPLAINED] == []


def test_every_error_that_is_explained_can_be_met() -> None:
    assert sorted(EXPLAINED - Counter(list(MADE))) == []


def test_each_is_explained_once_with_what_it_means_and_what_to_do() -> None:
    assert [words for words, count in EXPLAINED.items() if count > 1] == []
    for row in rows_of(PAGE):
        assert len(row) == 3 and all(row), row


def test_what_has_no_words_of_its_own_is_listed_with_the_reason() -> None:
    assert passed_on() == set(PASSED_ON)


def test_titles_are_read_from_constants_choices_names_tables_and_functions() -> None:
    def of(path: str) -> set[str]:
        return {title.words for title in all_titles() if title.path == path}

    assert "… is set without …" in of("dittod/config.py")
    assert {"no file or folder was named", "there is no …"} <= of("dittod/cli/ingest.py")
    assert {"an old Word file", "a picture"} <= of("dittod/ingest/readers/formats.py")
    assert "a text of yours was forgotten that this answer may have been made from" in of("dittod/engine/worker.py")
    assert "took too long" in of("dittod/ingest/process.py")
