"""The line above a quotation, as mail programs in many languages write it. Every name here is invented."""

# ruff: noqa: E501
from __future__ import annotations

import pytest

from dittod.ingest.attribution import attribution_ending_at
from dittod.ingest.mail import own_words

ATTRIBUTIONS = {
    "gmail en2": "On Mon, 5 Jan 2015 at 15:04, Ann Lee <ann@example.com> wrote:",
    "gmail glued": "On Mon, Jan 5, 2015 at 3:04 PM, Ann Lee <ann@example.com>wrote:",
    "gmail short": "On 1/5/15, Ann Lee <ann@example.com> wrote:",
    "gmail 2010": "2015/1/5 Ann Lee <ann@example.com>",
    "gmail de": "Am Mo., 5. Jan. 2015 um 15:04 Uhr schrieb Ann Lee <ann@example.com>:",
    "gmail de w": "Am Mo., 5. Jan. 2015 um 15:04 Uhr schrieb Ann Lee <\nann@example.com>:",
    "gmail es2": "El 5 de enero de 2015, 15:04, Ann Lee<ann@example.com> escribió:",
    "gmail es3": "El lun., 5 de enero de 2015 3:04 p. m., Ann Lee <ann@example.com> escribió:",
    "gmail it2": "Il giorno 5 gennaio 2015 15:04, Ann Lee <ann@example.com> ha scritto:",
    "gmail pt-pt": "Ann Lee <ann@example.com> escreveu no dia segunda, 5/01/2015 à(s) 15:04:",
    "gmail pl2": "W dniu 5 stycznia 2015 15:04 użytkownik Ann Lee <ann@example.com> napisał:",
    "gmail ru2": "5 января 2015 г., 15:04 пользователь Ann Lee <ann@example.com> написал:",
    "gmail zh": "Ann Lee <ann@example.com> 于2015年1月5日周一 15:04写道：",
    "gmail zhtw": "Ann Lee <ann@example.com> 於 2015年1月5日 週一 下午3:04寫道：",
    "gmail ja": "2015年1月5日(月) 15:04 Ann Lee <ann@example.com>:",
    "gmail ko": "2015년 1월 5일 (월) 오후 3:04, Ann Lee <ann@example.com>님이 작성:",
    "gmail da": "Den man. 5. jan. 2015 kl. 15.04 skrev Ann Lee <ann@example.com>:",
    "gmail no": "man. 5. jan. 2015 kl. 15:04 skrev Ann Lee <ann@example.com>:",
    "gmail cs": "po 5. 1. 2015 v 15:04 odesílatel Ann Lee <ann@example.com> napsal:",
    "gmail sk": "po 5. 1. 2015 o 15:04 Ann Lee <ann@example.com> napísal(a):",
    "gmail fi": "ma 5. tammik. 2015 klo 15.04 Ann Lee (<ann@example.com>) kirjoitti:",
    "gmail hu": "Ann Lee <ann@example.com> ezt írta (időpont: 2015. jan. 5., H, 15:04):",
    "gmail tr": "Ann Lee <ann@example.com>, 5 Oca 2015 Pzt, 15:04 tarihinde şunu yazdı:",
    "gmail el": "Στις Δευ, 5 Ιαν 2015 στις 3:04 μ.μ., ο χρήστης Ann Lee <ann@example.com> έγραψε:",
    "gmail ro": "lun., 5 ian. 2015 la 15:04, Ann Lee <ann@example.com> a scris:",
    "gmail uk": "пн, 5 січ. 2015 р. о 15:04 Ann Lee <ann@example.com> пише:",
    "gmail he": "\u202bבתאריך יום ב׳, 5 בינו׳ 2015 ב-15:04 מאת \u202aAnn Lee\u202c\u200f <\u202aann@example.com\u202c\u200f>:\u202c",
    "apple en": "On Jan 5, 2015, at 3:04 PM, Ann Lee <ann@example.com> wrote:",
    "apple en no addr": "On Jan 5, 2015, at 3:04 PM, Ann Lee wrote:",
    "apple fr": "Le 5 janv. 2015 à 15:04, Ann Lee <ann@example.com> a écrit :",
    "apple it": "Il giorno 05/gen/2015, alle ore 15:04, Ann Lee <ann@example.com> ha scritto:",
    "apple pt": "No dia 5 de jan de 2015, às 15:04, Ann Lee <ann@example.com> escreveu:",
    "apple pt2": "Em 05/01/2015, à(s) 15:04, Ann Lee <ann@example.com> escreveu:",
    "apple pl": "Wiadomość napisana przez Ann Lee <ann@example.com> w dniu 5 sty 2015, o godz. 15:04:",
    "apple pl2": "Dnia 5 sty 2015 o godz. 15:04 Ann Lee <ann@example.com> napisał(a):",
    "apple ru": "5 янв. 2015 г., в 15:04, Ann Lee <ann@example.com> написал(а):",
    "apple zh": "在 2015年1月5日，下午3:04，Ann Lee <ann@example.com> 写道：",
    "apple ja": "2015/01/05 15:04、Ann Lee <ann@example.com>のメール:",
    "apple sv": "5 jan. 2015 kl. 15:04 skrev Ann Lee <ann@example.com>:",
    "apple cs": "5. 1. 2015 v 15:04, Ann Lee <ann@example.com>:",
    "apple fi": "Ann Lee <ann@example.com> kirjoitti 5.1.2015 kello 15.04:",
    "apple ko": "2015. 1. 5. 오후 3:04, Ann Lee <ann@example.com> 작성:",
    "tb en": "On 1/5/2015 3:04 PM, Ann Lee wrote:",
    "tb fr": "Le 05/01/2015 à 15:04, Ann Lee a écrit :",
    "tb es": "El 05/01/15 a las 15:04, Ann Lee escribió:",
    "tb it": "Il 05/01/2015 15:04, Ann Lee ha scritto:",
    "tb pt": "Em 05/01/2015 15:04, Ann Lee escreveu:",
    "tb pt2": "Às 15:04 de 05/01/2015, Ann Lee escreveu:",
    "tb nl": "Op 05-01-15 om 15:04 schreef Ann Lee:",
    "tb pl": "W dniu 05.01.2015 o 15:04, Ann Lee pisze:",
    "tb ru": "05.01.2015 15:04, Ann Lee пишет:",
    "tb zh": "在 2015/1/5 15:04, Ann Lee 写道:",
    "tb sv": "Den 2015-01-05 kl. 15:04, skrev Ann Lee:",
    "tb sv2": "Ann Lee skrev den 2015-01-05 15:04:",
    "tb da": "Den 05-01-2015 kl. 15:04 skrev Ann Lee:",
    "tb cs": "Dne 5.1.2015 v 15:04 Ann Lee napsal(a):",
    "tb fi": "Ann Lee kirjoitti 5.1.2015 klo 15:04:",
    "yahoo": "On Monday, January 5, 2015, 03:04:05 PM CST, Ann Lee <ann@example.com> wrote:",
    "yahoo09": "--- On Mon, 1/5/09, Ann Lee <ann@example.com> wrote:",
    "yahoo de": "Am Montag, 5. Januar 2015, 15:04:05 MEZ hat Ann Lee <ann@example.com> Folgendes geschrieben:",
    "yahoo de old": "Ann Lee <ann@example.com> schrieb am 15:04 Montag, 5.Januar 2015:",
    "yahoo fr": "Le lundi 5 janvier 2015 à 15:04:05 UTC+1, Ann Lee <ann@example.com> a écrit :",
    "yahoo fr2": "Le Lundi 5 janvier 2015 15h04, Ann Lee <ann@example.com> a écrit :",
    "yahoo es": "El lunes, 5 de enero de 2015 15:04:05 CET, Ann Lee <ann@example.com> escribió:",
    "yahoo it": "Il lunedì 5 gennaio 2015 15:04:05 CET, Ann Lee <ann@example.com> ha scritto:",
    "yahoo pt": "Em segunda-feira, 5 de janeiro de 2015 15:04:05 BRT, Ann Lee <ann@example.com> escreveu:",
    "yahoo plain": "Ann Lee <ann@example.com> wrote:",
    "outlook mobile": 'On Mon, Jan 5, 2015 at 3:04 PM -0600, "Ann Lee" <ann@example.com> wrote:',
    "outlook mac": 'On 1/5/15, 3:04 PM, "Ann Lee" <ann@example.com> wrote:',
    "outlook mac de": 'Am 05.01.15, 15:04 schrieb "Ann Lee" <ann@example.com>:',
    "notes": "Ann Lee wrote on 01/05/2015 03:04:05 PM:",
    "notes addr": "ann@example.com wrote on 01/05/2015 03:04:05 PM:",
    "notes wrapped": '"Lee, Ann" <ann.lee.of.the.accounting.department@example.com> wrote on 01/05/2015\n03:04:05 PM:',
    "notes de": "Ann Lee <ann@example.com> schrieb am 05.01.2015 15:04:05:",
    "notes mobile": "Ann Lee|LON|ACME wrote on 1/5/15 3:04 pm:",
    "netease": 'At 2015-01-05 15:04:05, "Ann Lee" <ann@example.com> wrote:',
    "netease zh": '在 2015-01-05 15:04:05，"Ann Lee" <ann@example.com> 写道：',
    "proton": "On Monday, January 5th, 2015 at 3:04 PM, Ann Lee <ann@example.com> wrote:",
    "k9": "On 5 January 2015 15:04:05 GMT+00:00, Ann Lee <ann@example.com> wrote:",
    "k9 de": "Am 5. Januar 2015 15:04:05 MEZ schrieb Ann Lee <ann@example.com>:",
    "de 2 lines": "Am 05.01.2015 um 10:15 Uhr schrieb\nAnn Lee <ann@example.com>:",
    "de 3 lines": "Am Montag, 5. Januar 2015\num 10:15 Uhr schrieb Ann Lee\n<ann@example.com>:",
    "aol": "In a message dated 1/5/2015 3:04:05 P.M. Central Standard Time, ann@example.com writes:",
}
WITHOUT_COLON = {"gmail 2010"}  # certain only above marked lines


@pytest.mark.parametrize("gap", ["\n", "\n\n"], ids=["directly below", "below an empty line"])
@pytest.mark.parametrize("attribution", ATTRIBUTIONS.values(), ids=ATTRIBUTIONS.keys())
def test_an_attribution_goes_with_the_marked_lines_it_announces(attribution: str, gap: str) -> None:
    cut = own_words(f"Tuesday suits me.\n\nBob{gap}{attribution}\n\n> Shall we have lunch?\n> Ann\n")
    assert cut.kept == "Tuesday suits me.\n\nBob"
    assert cut.quoted == "Shall we have lunch?\nAnn"
    assert cut.quoted_from in ("Ann Lee", "Lee, Ann", "")


@pytest.mark.parametrize("name", [name for name in ATTRIBUTIONS if name not in WITHOUT_COLON])
def test_with_a_date_or_an_address_it_announces_unmarked_lines_too(name: str) -> None:
    cut = own_words(f"Tuesday suits me.\n\nBob\n\n{ATTRIBUTIONS[name]}\n\nShall we have lunch?\n\nAnn\n")
    assert cut.kept == "Tuesday suits me.\n\nBob"
    assert cut.quoted == "Shall we have lunch?\n\nAnn"


@pytest.mark.parametrize(
    "own",
    [
        "On time as always.",
        "See you on 5/1/2015, then.",
        "Thanks! Mail me at bob@example.com",
        "Am Montag also, wie 2014.",
        "On we go!",
        "5 of them are ready.",
    ],
)
def test_the_own_line_right_above_an_attribution_is_kept(own: str) -> None:
    cut = own_words(f"{own}\nOn Mon, Jan 5, 2015 at 3:04 PM Ann Lee <ann@example.com> wrote:\n> Lunch?")
    assert cut.kept == own


@pytest.mark.parametrize(
    "line",
    [
        "On Friday we send the 3.5.2024 batch to ann@example.com, and please check what Bob wrote:",
        "As Smith wrote in 1998:",
        "At 10:30 we should know what the others wrote:",
        "2024-05-01: the day on which the shop opens",
        "Am Sonntag schrieb mir Tante Hilde:",
        "Le maire a écrit :",
        "El martes escribió mi hermana:",
        "Here is the list that you asked for on 5/1/2015 at 10:30:",
        "Meeting on 5/1/2015 at 10:30 with those who want to come:",
    ],
)
def test_a_sentence_that_leads_to_own_words_is_kept(line: str) -> None:
    text = f"Hello Ann,\n\n{line}\n\nall of this is mine, and nobody else's.\n\nBob"
    assert own_words(text).kept == text


def test_an_attribution_quoted_by_the_phone_names_the_writer_and_is_not_part_of_the_message() -> None:
    cut = own_words("Yes.\n\n> On Jan 5, 2015, at 3:04 PM, Ann Lee <ann@example.com> wrote:\n> \n> Lunch?")
    assert (cut.kept, cut.quoted, cut.quoted_from) == ("Yes.", "Lunch?", "Ann Lee")


def test_a_line_without_colon_is_looked_at_no_further() -> None:
    assert attribution_ending_at(["On Mon, Jan 5, 2015 at 3:04 PM Ann Lee <ann@example.com> wrote"], 0) is None
