"""Blocks of contact data at the end of a mail. Every name and number here is invented."""

from __future__ import annotations

import pytest

from dittod.ingest.contact import is_contact, is_full_name, is_numbered_name
from dittod.ingest.mail import own_words

BLOCKS = {
    "company": "Ann Lee\nHead of Sales\nAcme Ltd\n12 Quay Street\nOslo\nPhone: (555) 010-7731\nann@example.com",
    "two lines": "Ann Lee\n555-010-7731",
    "one line": "Ann Lee 555-010-7731",
    "extension": "Ann Lee\nx35559",
    "rule above": "--------------------------\nAnn Lee\nAcme",
    "gap": "Ann Lee\nManager\nAcme Corp.\n\nPhone: (555) 010 3848\nann@example.com",
    "small words": "Ann Lee\nChoir librarian, St Brannock\nPhone: (555) 010-7731",
    "side by side": "Ann Lee | Acme Ltd\nT +44 7700 900123 | ann@example.com | www.example.com",
    "German": "Anna Lehmann\nLeiterin der Abteilung\nMuster GmbH\nHauptstraße 5\n10115 Berlin\nTel.: +49 30 1234567",
    "French": "Anne PERROT\nService des associations\n2, place du Marché\nTél. : 05 55 50 01 42",
    "Spanish": "Ana Ruiz\nDirectora\nCalle Mayor 5\n28013 Madrid\nMóvil: +34 600 123 456",
    "Italian": "Anna Rossi\nVia Roma 5\n20121 Milano\nTel. 02 1234567",
    "Dutch": "Anna de Vries\nKerkstraat 5\n1017 GA Amsterdam\nMob. 06 12345678",
    "Chinese": "陈静\n图书馆二楼服务台  电话：555-0133\nchenjing@example.com",
    "Taiwan": "許雅婷 Hsu Ya-Ting\n海濱博物館 服務組\n電話：(02) 5555-0147\n信箱：yating@example.org",
    "Japanese, framed": "==========\n株式会社アクメ\n営業部 渡辺直子\nTEL: 03-1234-5678\nnaoko@example.jp\n==========",
    "Chinese, rule": "---------------------------------\n李明\n销售经理 | 阿克米公司\n手机：13800138000\nli@example.cn",
    "German, by law": "Anna Lehmann\nVertrieb\n\nMuster GmbH\nTelefon 030 / 12 34 56\nSitz der Gesellschaft: Berlin\n"
    "Geschäftsführung: Dr. Max Muster (Vorsitz), Erika Beispiel | Amtsgericht Rosenau HRB 12345 | USt-IdNr. DE123",
    "Polish": "Anna Nowak\nKierownik sprzedaży\nul. Długa 5\n00-238 Warszawa\ntel. +48 22 123 45 67",
    "Swedish": "Anna Berg\nSäljchef\nStorgatan 5\n111 51 Stockholm\nTel: 08-123 456 78",
    "Russian": "Анна Петрова\nМенеджер по продажам\nтел. +7 495 123-45-67",
    "Portuguese": "Ana Silva\nGestora de vendas\nRua Direita 5\nTelemóvel: 912 345 678",
    "Japanese": "--------------------------\n渡辺 直子 <naoko@example.org>\nみなと大学 山歩きの会",
}


@pytest.mark.parametrize(
    "below", ["", "\n\nOn 5 Jan 2015 at 15:04 Ann wrote:\n> Hello"], ids=["end", "above a quotation"]
)
@pytest.mark.parametrize(
    "above",
    ["I shall be there at ten.", "Thanks", "It is without VAT.", "Thank you,\n", "Viele Grüße", "Any questions?\n"],
)
@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS.keys())
def test_a_block_with_a_name_at_its_head_is_a_signature(block: str, above: str, below: str) -> None:
    own = f"Dear Bob,\n\n{above}"
    cut = own_words(f"{own}\n{block}{below}")
    assert cut.kept == own.strip()
    assert cut.signature == block


@pytest.mark.parametrize("name", ["Ann", "AL", "Ann Lee"])
@pytest.mark.parametrize("data", ["555-010-7731", "3-7998", "x35559", "555 010 7731 (work)\n555 010 7732 (home)"])
def test_the_name_that_stands_alone_above_a_number_is_kept(name: str, data: str) -> None:
    gap = "\n\n" if " " in name else "\n"
    cut = own_words(f"I shall be there at ten.\n\n{name}{gap}{data}")
    assert cut.kept == f"I shall be there at ten.\n\n{name}"


def test_a_typed_name_above_the_block_is_kept() -> None:
    cut = own_words(f"I shall be there at ten.\n\nRegards,\nAnn\n\n{BLOCKS['company']}")
    assert cut.kept == "I shall be there at ten.\n\nRegards,\nAnn"


def test_a_postscript_below_the_block_is_kept() -> None:
    cut = own_words(f"I shall be there at ten.\n\n{BLOCKS['company']}\n\nP.S. Bring the key.")
    assert cut.kept.startswith("I shall be there at ten.") and cut.kept.endswith("P.S. Bring the key.")
    assert cut.signature == BLOCKS["company"]


def test_below_a_forward_without_own_words_the_block_is_a_signature() -> None:
    cut = own_words(
        f"{BLOCKS['company']}\n\n---------- Forwarded message ---------\nFrom: Cy <cy@example.com>\n\nHello"
    )
    assert (cut.kept, cut.signature) == ("", BLOCKS["company"])


@pytest.mark.parametrize(
    "text",
    [
        "You can reach me here:\nAnn Lee\n555-010-7731",
        "Please call my sister at\nAnn Lee\n555-010-7731",
        "Ann Lee\n555-010-7731",
        "The list:\n\nAnn Lee 555-0101\nBob Ray 555-0102\nCy Poe 555-0103",
        "These two can help.\n\nAnn Lee\nAcme\n555-010-7731\n\nBob Ray\nAcme\n555-010-7732",
        "Here is who to ask.\n\nVal\n\nDr. Di Moss\nRiver School\n555-010-7731",
        "Two of my deals are wrong.\n\nAnn\n\n114998\n578961",
        "So it is.\n\nAnn\n\njoe@example.com\nmark@example.com",
        "If you have questions, call me at 555-010-7731.",
        "It is about the website.\n\nJoin Our Meeting\nhttps://example.com/j/123",
        "The ferry is on\n4/30/2019",
        "Wit makes its own welcome.\n-Waldo Emerson (1803-1882)",
        "Opening\t\t4/2/2019\nLast Season\t\t9/30/2018",
        "I moved to\n47 Willow Ave #318\nSpringfield, OH 45501",
        "Change\t(35)\t(118)\t(35)",
    ],
)
def test_numbers_and_addresses_that_the_mail_is_about_are_kept(text: str) -> None:
    mail = f"Dear Bob,\n\nas you asked.\n\n{text}" if not text.startswith("Ann Lee") else text
    assert own_words(mail).kept == mail


@pytest.mark.parametrize(
    "line", ["Thanks Ann", "Best Regards", "Merry Christmas", "Mit Freundlichen Grüßen", "Ann", "the end"]
)
def test_a_formula_or_a_single_word_is_no_full_name(line: str) -> None:
    assert not is_full_name(line)


@pytest.mark.parametrize(
    "line", ["Ann Lee", "Ann O'Neil", "J. R. Moss", "Dr. Ann van der Lee", "Phillip Love", "ANN LEE, Ph.D."]
)
def test_a_full_name_is_known(line: str) -> None:
    assert is_full_name(line)


@pytest.mark.parametrize("line", ["12.50", "100", "2015", "01.05.2015", "1803-1882", "114998", "a 555-0100 b c d e f"])
def test_other_figures_are_no_telephone_number(line: str) -> None:
    assert not is_contact(line) and not is_numbered_name(line)
