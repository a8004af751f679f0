"""HTML to text as a person sees it, and what mail programs mark in it. Every mail here is invented."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dittod.ingest.readers.eml import read_mail
from dittod.ingest.readers.html import page_of
from dittod.ingest.readers.html_tokens import Tag, tokens
from dittod.ingest.readers.mail_html import text_of_mail

ATTRIBUTION = "On Mon, Jan 5, 2015 at 3:04 PM Ann Lee &lt;ann@example.com&gt; wrote:"
SEEN_ATTRIBUTION = "On Mon, Jan 5, 2015 at 3:04 PM Ann Lee <ann@example.com> wrote:"
OUTLOOK_HEADER = (
    "<b>From:</b> Ann Lee &lt;ann@example.com&gt;<br><b>Sent:</b> Monday, January 5, 2015 3:04 PM<br>"
    "<b>To:</b> Bob Ray<br><b>Subject:</b> Lunch"
)
SEEN_HEADER = """From: Ann Lee <ann@example.com>
Sent: Monday, January 5, 2015 3:04 PM
To: Bob Ray
Subject: Lunch"""


def lines(html: str) -> list[str]:
    return page_of(html).lines


# --- a page


def test_html_only_mail_becomes_text_with_its_quotation_marked() -> None:
    html = (
        b"<html><head><title>t</title><style>p{}</style></head><body><p>Hello&nbsp;Ann,</p><div>one<br>two &amp; three"
        b"</div><blockquote type=cite><div>Lunch?<br><br>Ann</div></blockquote><script>x('<p>')</script></body></html>"
    )
    document = read_mail(b"Subject: x\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + html, 0.0)
    assert document.text == "Hello Ann,\n\none\ntwo & three\n> Lunch?\n>\n> Ann"


def test_comments_are_no_text_and_never_closed_ones_take_no_time() -> None:
    assert lines("a<!-- <p>x</p> -->b<!---->c<!>d<![if !vml]>e<![endif]><?xml x?>f") == ["abcdef"]
    assert lines("a" + "<!--" * 100_000) == ["a"]


@pytest.mark.parametrize(
    ("html", "seen"),
    [
        ("1 < 2 and <3 and a<b>c</b>", ["1 < 2 and <3 and ac"]),
        ('<a href="x>y" title=\'a"b>\'>link</a> after', ["link after"]),
        ('<a href="x>broken</a> after <b>text</b>', ["broken after text"]),
        ("<p class='a' class=b data-x>text", ["text"]),
        ("<P>Upper<BR/>case</P >", ["Upper", "case"]),
        ("<head><title>t</title><p>unclosed head", ["unclosed head"]),
        ("<title>never closed", []),
        ("x<textarea><p>form</textarea>y", ["xy"]),
        ("&lt;p&gt; &#8364; &nosuch; &copy", ["<p> € &nosuch; ©"]),
        ("text<", ["text<"]),
        ("text<a", ["text"]),
    ],
)
def test_tags_end_where_browsers_end_them(html: str, seen: list[str]) -> None:
    assert lines(html) == seen


def test_the_first_of_two_attributes_of_a_name_counts() -> None:
    [tag, _] = tokens("<P ID='a&amp;b' id=c x>")
    assert tag == Tag("p", attributes={"id": "a&b", "x": ""})


@pytest.mark.parametrize(
    "html",
    [
        '<div style="display:none">preview</div>Hi',
        '<span style="mso-hide:all;font-size:1px">preview</span>Hi',
        "<div hidden>preview</div>Hi",
        '<div style="max-height:0;overflow:hidden">preview</div>Hi',
        '<div style="display: none"><div>preview</div><p>more</div>Hi',
        'Hi<img src="http://t.example.com/1.gif" width=1 height=1 alt="tracker">',
        "Hi<div>&zwnj;&nbsp;&#847;&zwnj;&nbsp;</div>",
    ],
)
def test_what_nobody_sees_gives_nothing(html: str) -> None:
    assert text_of_mail(html) == "Hi"


def test_a_picture_that_stands_for_a_character_is_that_character() -> None:
    assert lines('Fine <img alt="😀" src=x><img alt="Logo" src=y>') == ["Fine 😀"]


def test_a_row_of_a_table_is_a_line() -> None:
    html = "<table><tr><th>Day<th>Time<tr><td><p>Tuesday</p><td><p>noon</p></table>"
    assert lines(html) == ["Day Time", "Tuesday noon"]


def test_cells_that_hold_paragraphs_keep_them() -> None:
    html = "<table><tr><td>Left<br>side</td><td>Right</td></tr></table>after"
    assert lines(html) == ["Left", "side", "Right", "after"]


def test_lists_keep_their_marks() -> None:
    html = "<p>See:</p><ol><li>one<li><p>two</p><ul><li>inner</ul></ol>end"
    assert lines(html) == ["See:", "", "1. one", "2. two", "- inner", "", "end"]


def test_preformatted_text_keeps_its_spaces() -> None:
    assert lines("<pre>a\n  b\n\nc</pre><div style='white-space:pre-wrap'>d\n  e</div>") == [
        "a",
        "  b",
        "",
        "c",
        "",
        "d",
        "  e",
    ]


def test_outlooks_paragraphs_are_lines() -> None:
    html = (
        "<p class=MsoNormal>Hi Ann,<o:p></o:p></p><p class=MsoNormal><o:p>&nbsp;</o:p></p><p class=MsoNormal>Fine.</p>"
    )
    assert lines(html) == ["Hi Ann,", "", "Fine."]


def test_end_tags_reach_neither_out_of_a_cell_nor_to_what_is_not_open() -> None:
    html = "<div style='display:none'>a<table><tr><td></div>b</td></tr></table></div>c</div></span></p>d"
    assert lines(html) == ["c", "", "d"]


# --- what mail programs mark

MARKED = {
    "Gmail": (
        '<div dir="ltr">Fine.<div><br></div><div dir="ltr" class="gmail_signature" data-smartmail="gmail_signature">Bob'
        ' Ray<br>Acme</div></div><br><div class="gmail_quote gmail_quote_container"><div dir="ltr" class="gmail_attr">'
        f'{ATTRIBUTION}<br></div><blockquote class="gmail_quote" style="margin:0px;border-left:1px solid">Lunch?'
        '<blockquote class="gmail_quote">Older</blockquote></blockquote></div>',
        f"Fine.\n\n-- \nBob Ray\nAcme\n\n{SEEN_ATTRIBUTION}\n> Lunch?\n>> Older",
    ),
    "Gmail, answers between": (
        f'<div class="gmail_quote"><div class="gmail_attr">{ATTRIBUTION}</div><blockquote class="gmail_quote">One?'
        '</blockquote><div>Yes.</div><blockquote class="gmail_quote">Two?</blockquote><div>No.</div></div>',
        f"{SEEN_ATTRIBUTION}\n> One?\nYes.\n> Two?\nNo.",
    ),
    "Apple Mail": (
        f'<body>Fine.<div><br><blockquote type="cite"><div>{ATTRIBUTION}</div><br class="Apple-interchange-newline">'
        "<div>Lunch?</div></blockquote></div><br></body>",
        f"Fine.\n\n{SEEN_ATTRIBUTION}\n>\n> Lunch?",
    ),
    "Thunderbird": (
        '<p>Fine.</p><pre class="moz-signature" cols="72">-- \nBob</pre><div class="moz-cite-prefix">'
        f'{ATTRIBUTION}<br></div><blockquote type="cite" cite="mid:1"><p>Lunch?</p></blockquote>',
        f"Fine.\n\n--\nBob\n\n{SEEN_ATTRIBUTION}\n\n> Lunch?",
    ),
    "Outlook for Windows": (
        '<div class=WordSection1><p class=MsoNormal>Fine.</p><div style="border:none;border-top:solid #E1E1E1 1.0pt">'
        f"<p class=MsoNormal>{OUTLOOK_HEADER}</p></div><p class=MsoNormal>Lunch?</p></div>",
        f"Fine.\n{SEEN_HEADER}\nLunch?",
    ),
    "Outlook on the web": (
        '<div class="elementToProof">Fine.</div><div id="x_Signature"><p>Bob Ray</p></div><div id="appendonsend"></div>'
        f'<hr style="width:98%"><div id="divRplyFwdMsg" dir="ltr">{OUTLOOK_HEADER}</div><div>Lunch?</div>',
        f"Fine.\n\n-- \nBob Ray\n\n-----Original Message-----\n{SEEN_HEADER}\nLunch?",
    ),
    "Outlook with a line to the left": (
        '<p class=MsoNormal>Fine.</p><div style="border:none;border-left:solid blue 1.5pt;padding:0in 0in 0in 4.0pt">'
        f"<p class=MsoNormal>{OUTLOOK_HEADER}</p><p class=MsoNormal>Lunch?</p></div><p class=MsoNormal>Mine below.</p>",
        f"Fine.\n{SEEN_HEADER}\n> Lunch?\nMine below.",
    ),
    "Outlook 2003": (
        f'<div>Fine.</div><div class="OutlookMessageHeader">{OUTLOOK_HEADER}</div><div>Lunch?</div>',
        f"Fine.\n-----Original Message-----\n{SEEN_HEADER}\nLunch?",
    ),
    "Yahoo": (
        f'<div>Fine.</div><div id="ydp1yahoo_quoted_2" class="yahoo_quoted"><div><div>{ATTRIBUTION}</div>'
        "<div><br></div><div>Lunch?</div></div></div>",
        f"Fine.\n{SEEN_ATTRIBUTION}\n>\n> Lunch?",
    ),
    "Proton": (
        '<div>Fine.</div><div class="protonmail_signature_block"><div class="protonmail_signature_block-user">Bob</div>'
        f'</div><div class="protonmail_quote">{ATTRIBUTION}<br><blockquote class="protonmail_quote" type="cite">Lunch?'
        "</blockquote></div>",
        f"Fine.\n-- \nBob\n{SEEN_ATTRIBUTION}\n> Lunch?",
    ),
    "GMX": (
        '<div>Passt.</div><div name="quote" style="margin:10px; border-left:2px solid #C3D9E5;"><div>'
        "<b>Gesendet:</b>&nbsp;Montag, 05. Januar 2015 um 15:04 Uhr<br><b>Von:</b>&nbsp;Ann<br><b>An:</b>&nbsp;Bob<br>"
        '<b>Betreff:</b>&nbsp;Essen</div><div name="quoted-content">Essen?</div></div>',
        "Passt.\nGesendet: Montag, 05. Januar 2015 um 15:04 Uhr\nVon: Ann\nAn: Bob\nBetreff: Essen\n> Essen?",
    ),
    "Zimbra": (
        f'<div>Fine.</div><hr id="zwchr"><div>{OUTLOOK_HEADER}</div><div>Lunch?</div>',
        f"Fine.\n-----Original Message-----\n{SEEN_HEADER}\nLunch?",
    ),
    "a bare block quotation below an attribution": (
        f"Fine.<br>{ATTRIBUTION}<br><br><blockquote>Lunch?</blockquote>",
        f"Fine.\n{SEEN_ATTRIBUTION}\n\n> Lunch?",
    ),
    "a bare block quotation of the writer's": (
        "My points are:<blockquote style='margin:0'>first</blockquote>",
        "My points are:\nfirst",
    ),
    "a signature above more own words": (
        '<div>Fine.</div><div class="gmail_signature">Bob</div><div>PS: Bring the plans.</div>',
        "Fine.\nBob\nPS: Bring the plans.",
    ),
    "an empty signature": (
        '<div>Fine.</div><div class="protonmail_signature_block"><div></div></div><div>Bob</div>',
        "Fine.\nBob",
    ),
}


@pytest.mark.parametrize("program", MARKED)
def test_the_marks_of_mail_programs_become_those_of_plain_text(program: str) -> None:
    html, seen = MARKED[program]
    assert text_of_mail(html) == seen


# --- hostile pages

HOSTILE = {
    "nested": "<div>",
    "nested quotations": "<blockquote type=cite>a",
    "nested signatures": "<div class=gmail_signature>a",
    "nested tables": "<table><tr><td>a",
    "lists": "<ul><li>",
    "formatting": "<b><i><p>",
    "ends": "</div></p></td>",
    "ends out of reach": "<b><div></span>",
    "open tags": "<a ",
    "open quotes": '<a x="',
    "quotes of two kinds": "<a x=\"'><a y='\">",
    "a closed value before an open one": '<a x=">" ',
    "open comments": "<!--",
    "open declarations": "<![CDATA[",
    "instructions": "<?",
    "open styles": "<style>",
    "titles": "<title>a</title",
    "brackets": "<",
    "equals": "<a = = ",
    "entities": "&amp&#",
    "attributions": "On 5 Jan 2015 at 3:04, Ann wrote:<blockquote>",
    "headers": "<div name=quote>Von: a<br>An: b<br>",
    "spaces": "<p>&nbsp;",
    "rows": "<tr><td>a<td>b",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_pages_take_linear_time(kind: str) -> None:
    """Half a second for what is linear; what is quadratic needs a minute."""
    page = HOSTILE[kind] * 15_000
    start = time.process_time()
    text_of_mail(page)
    assert time.process_time() - start < 6


@given(
    st.lists(st.sampled_from([*HOSTILE.values(), "text", "</div>", "</blockquote>", "</table>", '"', "'", ">", "\0"]))
)
@settings(max_examples=200)
def test_any_mixture_of_tags_gives_text(pieces: list[str]) -> None:
    text = text_of_mail("".join(pieces))
    assert "\n\n\n\n" not in text or "<p>&nbsp;" in pieces
