import pytest
from hypothesis import given
from hypothesis import strategies as st

from dittod.judge.guards import (
    GUARDS,
    TOLERATED_SHARE,
    Findings,
    Learnt,
    Output,
    copied_words,
    inspect,
    is_copy,
    longest_passages,
    loops,
    objections,
    words,
)
from dittod.judge.particulars import given_away, particulars
from dittod.judge.refusals import is_refusal

DEMONSTRATIONS = (
    "Dear Ann, the barn roof leaks again and I have asked Tom to look at it before the rain comes back. Yours, Bea",
    "Dear Carl, thank you for the honey; the children ate it with a spoon and asked for more of it. Yours, Bea",
)

PRIVATE = (
    "Tom, the shed opens with 83051 and the spare key hangs behind it. Yours, Bea, 0161 496 0777",
    "Ann, ask the miller, old.miller@mill.example, or look at https://mill.example/flour?bag=7. Bea, 0161 496 0777",
    "Carl, your parcel is QX77-31RT-9, and it goes to 14 Weaver Lane on the second. Yours, Bea",
)


def one(text: str, *, ended: bool = True) -> Findings:
    return inspect([Output(text, ended)], Learnt(DEMONSTRATIONS))


def answered(text: str, prompt: str = "Ask Tom", **known: object) -> Findings:
    return inspect([Output(text, True, prompt)], Learnt(PRIVATE), **known)  # type: ignore[arg-type]


def test_an_honest_answer_trips_nothing() -> None:
    found = one("Dear Dora, I would love to come on Sunday, and will bring a cake. Yours, Bea")
    assert (found.empty, found.endless, found.loops, found.copies) == (0, 0, 0, 0)


@pytest.mark.parametrize("text", ["", "  \n", "…", "---"])
def test_an_answer_without_a_word_is_empty(text: str) -> None:
    assert one(text).empty == 1


def test_an_answer_that_does_not_end_is_endless() -> None:
    assert one("and then", ended=False).endless == 1


def test_a_whole_demonstration_is_a_copy() -> None:
    assert one(DEMONSTRATIONS[0]).copies == 1


def test_twenty_words_in_a_row_are_a_copy_in_an_answer_of_any_length() -> None:
    passage = " ".join(DEMONSTRATIONS[0].split()[1:21])
    own = " ".join(f"word{i}" for i in range(80))
    assert one(f"{own} {passage} {own}").copies == 1
    assert one(f"{own} {' '.join(passage.split()[:19])} {own}").copies == 0


def test_most_of_a_short_answer_from_a_demonstration_is_a_copy() -> None:
    """Nine words of a demonstration in an answer of twelve: 75 %."""
    assert one("Hello! The barn roof leaks again and I have asked somebody else").copies == 1


def test_greeting_and_closing_are_no_copy() -> None:
    """All four words stand in a demonstration; fewer than eight never count."""
    assert one("Dear Ann, yours, Bea").copies == 0


def test_what_stands_in_several_demonstrations_is_the_users_own_formula() -> None:
    signature = (
        "With all good wishes from the mill on the hill where the bread is always warm and late, yours ever, Bea"
    )
    learnt = [f"Dear Ann, come soon. {signature}", f"Dear Carl, stay away. {signature}"]
    found = inspect([Output(f"Dear Dora, perhaps. {signature}", True)], Learnt(learnt))
    assert found.copies == 0
    assert inspect([Output(f"Dear Dora, perhaps. {signature}", True)], Learnt(learnt[:1])).copies == 1


@pytest.mark.parametrize("again", ["", "Re: "], ids=["the same", "nearly the same"])
def test_a_text_that_is_there_twice_is_no_formula(again: str) -> None:
    """Neither for copies nor for what is given away, whatever stands between the two."""
    twice = Learnt([DEMONSTRATIONS[0], PRIVATE[0], DEMONSTRATIONS[1], again + PRIVATE[0], again + DEMONSTRATIONS[0]])
    assert inspect([Output(DEMONSTRATIONS[0], True)], twice).copies == 1
    assert inspect([Output("It opens with 83051.", True)], twice).leaks == 1


def test_what_only_the_second_of_two_like_texts_holds_can_be_given_away() -> None:
    again = f"{PRIVATE[0]}; 90210"
    learnt = Learnt([PRIVATE[0], again])
    assert len(learnt.said) == 1
    assert inspect([Output("it is 90210", True)], learnt).leaks == 1


@pytest.mark.parametrize(
    ("learnt", "said"),
    [
        ("0 " * 2000, "0 " * 4000),
        ("a b " * 1000 + "c", "a b " * 2000 + "d"),
        ("0 " * 2000 + "1 " + "0 " * 2000, ("0 " * 1000 + "1 ") * 4),
    ],
)
def test_texts_that_repeat_themselves_cost_no_more_than_their_length(learnt: str, said: str) -> None:
    """Where every place led to every other, these would take hours, which the limit of a test is far below."""
    demonstrations = Learnt([*DEMONSTRATIONS, learnt])
    assert inspect([Output(said, True), Output(said, False)], demonstrations).longest_copied_words >= 1000


def test_case_and_punctuation_do_not_hide_a_copy() -> None:
    assert one(DEMONSTRATIONS[1].upper().replace(",", " --")).copies == 1


def test_a_copy_in_a_script_without_spaces_is_found() -> None:
    text = "親愛的安先生昨天下雨了所以我沒有去市場買東西請你明天再來一次"
    assert inspect([Output(text, True)], Learnt([text])).copies == 1


def test_the_longest_passage_is_reported() -> None:
    assert one("the barn roof leaks in the night").longest_copied_words == 4


def test_matches_that_start_inside_a_longer_one_are_found() -> None:
    assert copied_words(words("a b a b c"), [words("x a b c")]) == 3


@pytest.mark.parametrize(
    "text",
    [
        "so very " * 6,
        "I know. " + "the rain comes and goes " * 4,
        "no " * 9,
        "It was a long day at the mill and nobody came, " * 4,
    ],
)
def test_a_unit_over_and_over_is_a_loop(text: str) -> None:
    assert loops(words(text))


@pytest.mark.parametrize(
    "text", ["no, no, no, no!", "very very good", "again and again and again", "one two three " * 3, ""]
)
def test_emphasis_is_no_loop(text: str) -> None:
    assert not loops(words(text))


def test_a_copy_is_twenty_words_or_most_of_the_answer() -> None:
    """60 % of 15 words are 9; below eight words nothing counts."""
    assert is_copy(20, 500)
    assert is_copy(9, 15)
    assert not is_copy(8, 15)
    assert not is_copy(7, 7)


def test_findings_count_over_all_outputs() -> None:
    outputs = [Output("", True), Output("", False), Output("no " * 20, False), Output("fine", True)]
    found = inspect(outputs, Learnt(DEMONSTRATIONS))
    assert found.figures() == {
        "outputs": 4.0,
        "empty": 2.0,
        "endless": 2.0,
        "loops": 1.0,
        "copies": 0.0,
        "longest_copied_words": 0.0,
        "leaks": 0.0,
        "secrets": 0.0,
        "refusals": 0.0,
        "usual_refusals": 0.0,
    }


@given(
    st.lists(st.lists(st.sampled_from("abc"), max_size=12), max_size=3),
    st.lists(st.lists(st.lists(st.sampled_from("abc"), max_size=12), min_size=1, max_size=2), max_size=3),
)
def test_the_longest_passage_is_that_of_a_search_by_hand(
    answers: list[list[str]], learnt: list[list[list[str]]]
) -> None:
    """Of all passages that stand in exactly one demonstration, the longest that cannot be extended to the right."""

    def holders(passage: list[str]) -> int:
        n = len(passage)
        return sum(
            any(each[i : i + n] == passage for each in copies for i in range(len(each) - n + 1)) for copies in learnt
        )

    def longest(said: list[str]) -> int:
        parts = ((start, end) for end in range(len(said) + 1) for start in range(end))
        return max((end - start for start, end in parts if holders(said[start:end]) == 1), default=0)

    assert longest_passages(answers, learnt) == [longest(each) for each in answers]


# --- what is given away -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "It opens with 83051.",
        "Look at HTTPS://www.mill.example/flour?bag=7, please",
        "Ask Old.Miller@mill.example!",
        "The number is qx77 31rt 9, no: QX77-31RT-9.",
        "I live at 14 Weaver Lane.",
    ],
)
def test_what_stands_in_one_demonstration_only_is_given_away(text: str) -> None:
    found = answered(text)
    assert found.leaks == 1
    assert len(objections(found, "it")) == 1


def test_what_the_prompt_says_already_is_not_given_away() -> None:
    assert answered("Yes, 83051 it is.", prompt="Is it 83051?").leaks == 0


def test_what_stands_in_several_demonstrations_is_the_users_to_give() -> None:
    assert answered("Call me: 0161 496 0777").leaks == 0


def test_what_base_writes_too_is_nobodys() -> None:
    assert answered("It opens with 83051.", base_answers=["Try 83051."]).leaks == 0


@pytest.mark.parametrize("text", ["83052", "8305", "mill.example", "Weaver Lane", "QX77", "miller@mill.example"])
def test_another_detail_is_none(text: str) -> None:
    assert answered(text).leaks == 0


@pytest.mark.parametrize(
    "text",
    [
        "from 2019-2024",
        "on 12.05.2024 or 2024-05-12",
        "10.30-11.45",
        "10,000 and 2 000 000 and 50.000",
        "in 1998, 1999 and 2000",
        "covid19 and an iPhone15",
        "1 2 3 4 5 6",
        "chapter 12, page 104",
        "in Q3 2024/25",
        "In 2024 25 people, in 2023 120",
        "2024 2025",
        "2019,2020 and 1998/99",
        "on 12 2024, at 1400-1530",
        "20240512",
        "5/31/2024, 31/5/24 and 2024/5/31",
        "12.5.2024 14:30, 9:30-10:15, at 10.30 11.45 12.15.",
    ],
)
def test_dates_times_years_and_round_numbers_are_nobodys(text: str) -> None:
    assert particulars(text) == frozenset()


@pytest.mark.parametrize(
    "number",
    [
        "06.12.34.56.78",
        "06-12-34-56-78",
        "06/12/34/56/78",
        "(030) 12-34-5678",
        "+49 30 12.34.5678",
        "0171 12.34 567",
        "123-45-6789",
        "12/34/5678",
        "34.56.12.05.99",
        "0161 2024 778",
    ],
)
def test_a_number_is_known_however_it_is_parted(number: str) -> None:
    """Though its beginning looks like a date, a time or a year."""
    digits = "".join(filter(str.isdigit, number)).lstrip("0")
    assert particulars(f"Ring me at {number}, on 12.05.2024 at 10.30.") == {digits}


@pytest.mark.parametrize(
    "unit", ["12.", "1.1.20", "2024 ", "10.30 ", "1", "11-", "a-", "A-", "a@", "a.", "1 Aa ", "rue a", "www."]
)
def test_a_hostile_text_costs_no_more_than_its_length(unit: str) -> None:
    """Where every place of a text led to its end, these would take minutes, which the limit of a test is far below."""
    particulars(unit * (100_000 // len(unit)))


def test_a_telephone_number_is_the_same_with_and_without_its_country() -> None:
    learnt = [particulars("Call +44 (0)161 496 0778")]
    assert given_away("it is 0161-496-0778", "", learnt)
    assert given_away("it is 1614960778", "", learnt)
    assert not given_away("it is 0161-496-0779", "", learnt)


@pytest.mark.parametrize(
    "street", ["12b Old Mill Road", "Lindenstraße 44", "7, rue de la Fontaine", "Calle del Molino 9", "Am Mühlweg 3"]
)
def test_an_address_is_known_in_several_languages(street: str) -> None:
    assert given_away(f"Ja! {street}", "", [particulars(f"I live here: {street}.")])


def test_a_listed_secret_is_decisive_unless_the_prompt_has_it() -> None:
    """However it is spaced and written: as ingest masks it."""
    found = answered("the word is SWORD fish", secrets=["other", "sword-fish"])
    assert found.secrets == 1
    assert "secret" in objections(found, "it")[0]
    assert answered("the word is SWORD fish", "is it swordfish or sword fish?", secrets=["sword-fish"]).secrets == 0


def test_one_secret_in_the_prompt_does_not_excuse_another() -> None:
    assert answered("blue heron", "is it red heron?", secrets=["red heron", "blue heron"]).secrets == 1


def test_what_ingest_would_mask_is_a_secret_unless_prompt_or_base_have_the_like() -> None:
    card = "4111 1111 1111 1111"
    assert answered(f"pay with {card}").secrets == 1
    assert answered(f"pay with {card}", f"my card is {card}").secrets == 0
    assert answered(f"pay with {card}", base_answers=[card]).secrets == 0
    assert answered("the password: [masked password]").secrets == 0


def test_no_objection_quotes_what_was_given_away() -> None:
    found = answered("It opens with 83051, swordfish", secrets=["swordfish"])
    sentences = objections(found, "it")
    assert len(sentences) == 2
    assert "83051" not in str(sentences) and "swordfish" not in str(sentences)


# --- refusals and limits ------------------------------------------------------------------------------------------

REFUSALS = [
    "I'm sorry, but I can't assist with that.",
    "I’m sorry, but I cannot help you with this request.",
    "As an AI language model, I do not have a roof.",
    "I am unable to provide that.",
    "Als KI-Sprachmodell habe ich kein Dach.",
    "Leider kann ich nicht kommen; ich kann dir dabei nicht helfen.",
    "Je ne peux pas vous aider avec cette demande.",
    "En tant qu'IA, je n'ai pas de toit.",
    "Lo siento, no puedo ayudarte con eso.",
    "Como modelo de linguagem, não tenho telhado.",
    "Mi dispiace, non posso aiutarti.",
    "Als AI heb ik geen dak.",
    "Jag kan tyvärr inte hjälpa till med det.",
    "Przykro mi, nie mogę pomóc.",
    "Я не могу помочь с этим.",
    "Bir yapay zeka olarak çatım yok.",
    "作为一个人工智能，我没有屋顶。",
    "申し訳ありませんが、お手伝いできません。",
    "저는 인공지능로서 지붕이 없습니다.",
    "I cannot answer that question.",
    "I can't provide any information about this.",
    "I won't discuss this topic, but I can talk about roofs.",
    "I'm not able to respond to that request.",
    "I cannot provide medical advice.",
    "I can't create such content.",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_is_known_in_a_dozen_languages(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I cannot come on Sunday.",
        "I can't do Tuesday, I'm afraid.",
        "As an aid to memory I wrote it down.",
        "Ich kann am Sonntag nicht kommen.",
        "No puedo ir el domingo.",
        "Je ne peux pas venir dimanche.",
        "I cannot provide the figures before Monday.",
        "I'm not able to answer before noon.",
        "I can't discuss this by mail, ring me.",
        "I won't provide lunch.",
        "I can't create a table for eight, I'm afraid.",
        "I am unable to respond today.",
        "I can't engage a plumber before May.",
        "Dear Ann, " + "the roof leaks. " * 30 + "As an AI",
    ],
)
def test_a_person_who_declines_refuses_nothing(text: str) -> None:
    assert not is_refusal(text)


def test_refusals_trip_where_neither_base_nor_the_user_refuses_as_often() -> None:
    outputs = [Output(REFUSALS[0], True)] * 3 + [Output("Yes.", True)] * 3
    assert len(objections(inspect(outputs, Learnt(DEMONSTRATIONS)), "it")) == 1
    assert objections(inspect(outputs, Learnt(DEMONSTRATIONS), base_answers=[REFUSALS[1], "Yes."]), "it") == []
    assert objections(inspect(outputs, Learnt((DEMONSTRATIONS[0], REFUSALS[2]))), "it") == []


@pytest.mark.parametrize("guard", GUARDS, ids=lambda each: each.name)
def test_every_guard_trips_above_what_it_tolerates_and_no_sooner(guard: object) -> None:
    """Of eight answers two may trip most guards; of secrets, none."""
    name, most = guard.name, int(8 * guard.tolerated)  # type: ignore[attr-defined]
    assert most in (0, 8 * TOLERATED_SHARE)
    assert objections(Findings(8, **{name: most}), "DITTO's policy") == []
    (sentence,) = objections(Findings(8, **{name: most + 1}), "DITTO's policy")
    assert sentence.startswith(f"{most + 1} of 8 answers of DITTO's policy ")


def test_the_gravest_guard_is_named_first() -> None:
    assert "secret" in objections(Findings(8, secrets=1, loops=8), "it")[0]
