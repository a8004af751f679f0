"""Header blocks and separators of mail programs in many languages. Every mail here is invented."""

# ruff: noqa: E501
from __future__ import annotations

import pytest

from dittod.ingest.mail import own_words
from dittod.ingest.separators import separator_at

SEPARATORS = {
    "de": "Von: Ann Lee <ann@example.com>\nGesendet: Montag, 5. Januar 2015 15:04\nAn: Bob\nCc: Cy\nBetreff: Essen",
    "de mac": "Von: Ann Lee <ann@example.com>\nDatum: Montag, 5. Januar 2015 um 15:04\nAn: Bob\nBetreff: Essen",
    "fr": "De : Ann Lee <ann@example.com>\nEnvoyé : lundi 5 janvier 2015 15:04\nÀ : Bob\nCc : Cy\nObjet : Déjeuner",
    "fr le": "De : Ann Lee <ann@example.com>\nEnvoyé le : lundi 5 janvier 2015 15:04\nÀ : Bob\nObjet : Déjeuner",
    "es": "De: Ann Lee <ann@example.com>\nEnviado: lunes, 5 de enero de 2015\nPara: Bob\nCC: Cy\nAsunto: Comida",
    "es el": "De: Ann Lee <ann@example.com>\nEnviado el: lunes, 5 de enero de 2015\nPara: Bob\nAsunto: Comida",
    "it": "Da: Ann Lee <ann@example.com>\nInviato: lunedì 5 gennaio 2015\nA: Bob\nCc: Cy\nOggetto: Pranzo",
    "pt": "De: Ann Lee <ann@example.com>\nEnviada em: segunda-feira\nPara: Bob\nAssunto: Almoço",
    "nl": "Van: Ann Lee <ann@example.com>\nVerzonden: maandag 5 januari 2015\nAan: Bob\nCC: Cy\nOnderwerp: Lunch",
    "pl": "Od: Ann Lee <ann@example.com>\nWysłano: poniedziałek, 5 stycznia 2015 15:04\nDo: Bob\nDW: Cy\nTemat: Obiad",
    "pl mix": "From: Ann Lee <ann@example.com>\nSent: Monday, January 5, 2015\nTo: Bob\nSubject: Obiad",
    "ru": "От: Ann Lee <ann@example.com>\nОтправлено: 5 января 2015 г. 15:04\nКому: Bob\nКопия: Cy\nТема: Обед",
    "zh": "发件人: Ann Lee <ann@example.com>\n发送时间: 2015年1月5日 15:04\n收件人: Bob\n抄送: Cy\n主题: 午饭",
    "zh foxmail": "发件人： Ann Lee <ann@example.com>\n发送时间： 2015-01-05 15:04\n收件人： bob\n主题： 午饭",
    "zh qq": '------------------ 原始邮件 ------------------\n发件人: "Ann"<ann@example.com>;\n发送时间: 2015年1月5日(星期一) 下午3:04\n收件人: "bob"<b@x.com>;\n主题: 午饭',
    "qq en": '------------------ Original ------------------\nFrom:  "Ann"<ann@example.com>;\nDate:  Mon, Jan 5, 2015 03:04 PM\nTo:  "bob"<b@x.com>;\nSubject:  Lunch',
    "zhtw": "寄件者: Ann Lee <ann@example.com>\n寄件日期: 2015年1月5日\n收件者: Bob\n副本: Cy\n主旨: 午餐",
    "ja": "差出人: Ann Lee <ann@example.com>\n送信日時: 2015年1月5日 15:04\n宛先: Bob\nCC: Cy\n件名: 昼食",
    "ja wide": "差出人：Ann Lee <ann@example.com>\n送信日時：2015年1月5日 15:04\n宛先：Bob\n件名：昼食",
    "ko": "보낸 사람: Ann Lee <ann@example.com>\n보낸 날짜: 2015년 1월 5일\n받는 사람: Bob\n참조: Cy\n제목: 점심",
    "sv": "Från: Ann Lee <ann@example.com>\nSkickat: den 5 januari 2015 15:04\nTill: Bob\nKopia: Cy\nÄmne: Lunch",
    "da": "Fra: Ann Lee <ann@example.com>\nSendt: 5. januar 2015 15:04\nTil: Bob\nCc: Cy\nEmne: Frokost",
    "no": "Fra: Ann Lee <ann@example.com>\nSendt: mandag 5. januar 2015 15:04\nTil: Bob\nKopi: Cy\nEmne: Lunsj",
    "cs": "Od: Ann Lee <ann@example.com>\nOdesláno: pondělí 5. ledna 2015 15:04\nKomu: Bob\nKopie: Cy\nPředmět: Oběd",
    "fi": "Lähettäjä: Ann Lee <ann@example.com>\nLähetetty: maanantai 5. tammikuuta 2015\nVastaanottaja: Bob\nKopio: Cy\nAihe: Lounas",
    "tr": "Kimden: Ann Lee <ann@example.com>\nGönderildi: 5 Ocak 2015\nKime: Bob\nKonu: Yemek",
    "hu": "Feladó: Ann Lee <ann@example.com>\nElküldve: 2015. január 5.\nCímzett: Bob\nTárgy: Ebéd",
    "samsung de": "-------- Ursprüngliche Nachricht --------\nVon: Ann Lee <ann@example.com>\nDatum: 05.01.15 15:04 (GMT+01:00)\nAn: Bob\nBetreff: Essen",
    "samsung es": "-------- Mensaje original --------\nDe: Ann Lee <ann@example.com>\nFecha: 5/1/15\nPara: Bob\nAsunto: Comida",
    "samsung pl": "-------- Oryginalna wiadomość --------\nOd: Ann Lee <ann@example.com>\nData: 5.1.15\nDo: Bob\nTemat: Obiad",
    "samsung unknown": "-------- Kas nors ----------\nОт: Ann Lee <ann@example.com>\nДата: 5.1.15\nКому: Bob\nТема: Obiad",
    "oe": "----- Original Message ----- \nFrom: Ann Lee\nTo: Bob\nSent: Monday, January 05, 2015 3:04 PM\nSubject: Lunch",
    "oe link": '----- Original Message ----- \nFrom: "Ann Lee" <ann@example.com>\nTo: <bob@x.com>; <cy@x.com>\nCc: <di@x.com>\nSent: Monday, January 05, 2015 3:04 PM\nSubject: Lunch',
    "proton": "------- Original Message -------\nOn Monday, January 5th, 2015 at 3:04 PM, Ann Lee <ann@example.com> wrote:",
    "proton old": "‐‐‐‐‐‐‐ Original Message ‐‐‐‐‐‐‐\nOn Monday, January 5, 2015 3:04 PM, Ann Lee <ann@example.com> wrote:",
    "proton older": "-------- Original Message --------\nSubject: Lunch\nLocal Time: January 5, 2015 3:04 PM\nUTC Time: January 5, 2015 9:04 PM\nFrom: ann@example.com\nTo: bob@x.com",
    "tb fwd": "-------- Forwarded Message --------\nSubject: \tLunch\nDate: \tMon, 5 Jan 2015 15:04:05 -0600\nFrom: \tAnn Lee <ann@example.com>\nTo: \tbob@x.com",
    "tb fwd de": "-------- Weitergeleitete Nachricht --------\nBetreff: \tEssen\nDatum: \tMon, 5 Jan 2015 15:04:05\nVon: \tAnn Lee <ann@example.com>\nAn: \tbob@x.com",
    "tb fwd fr": "-------- Message transféré --------\nSujet : \tx\nDate : \tMon, 5 Jan 2015\nDe : \tAnn Lee <ann@example.com>\nPour : \tbob@x.com",
    "tb fwd it": "-------- Messaggio inoltrato --------\nOggetto: \tx\nData: \tMon, 5 Jan 2015\nMittente: \tAnn Lee <ann@example.com>\nA: \tbob@x.com",
    "gmail fwd pl": "---------- Wiadomość przekazana dalej ---------\nOd: Ann Lee <ann@example.com>\nDate: pon., 5 sty 2015\nSubject: x\nTo: b@x.com",
    "gmail fwd de": "---------- Forwarded message ---------\nVon: Ann Lee <ann@example.com>\nDate: Mo., 5. Jan. 2015\nSubject: x\nTo: b@x.com",
    "apple fwd de": "Anfang der weitergeleiteten Nachricht:\n\nVon: Ann Lee <ann@example.com>\nBetreff: Essen\nDatum: 5. Januar 2015\nAn: Bob",
    "apple fwd fr": "Début du message réexpédié :\n\nDe: Ann Lee <ann@example.com>\nObjet: x\nDate: 5 janvier 2015\nÀ: Bob",
    "apple fwd zh": "下面是被转发的邮件：\n\n发件人: Ann Lee <ann@example.com>\n主题: x\n日期: 2015年1月5日\n收件人: Bob",
    "notes de": "Ann Lee/BER/ACME\n05.01.2015 15:04\n\nAn\nBob Ray/BER/ACME@ACME\nKopie\n\nThema\nEssen",
    "notes en table": "Ann Lee/LON/ACME\n01/05/2015 03:04 PM\n\nTo\nBob Ray/LON/ACME@ACME\ncc\nCy\nSubject\nRe: Lunch",
    "notes preview": "Ann Lee ---01/05/2015 03:04:05 PM---Dear Bob, shall we\n\nFrom:\tAnn Lee/LON/ACME\nTo:\tBob Ray/LON/ACME@ACME\nDate:\t01/05/2015 03:04 PM\nSubject:\tLunch",
    "inotes": "-----Ann Lee/LON/ACME wrote: -----\n\n=======================\nTo: Bob\nFrom: Ann Lee/LON/ACME\nDate: 01/05/2015 03:04PM\nSubject: Lunch",
    "yahoo old": "--- On Mon, 1/5/09, Ann Lee <ann@example.com> wrote:\n\nFrom: Ann Lee <ann@example.com>\nSubject: Lunch\nTo: bob@x.com\nDate: Monday, January 5, 2009, 3:04 PM",
    "hr bold": "________________________________\n**From:** Ann Lee <ann@example.com>\n**Sent:** Monday\n**To:** Bob\n**Subject:** Lunch",
    "notes slashdate": "Frances.Lee@example.com                           16/07/99 \n17:19\nTo: bob@x.com\ncc: cy@x.com\nSubject: x",
    "notes from broken": "From:  Frances.Lee@example.com                           16/07/99 \n17:19\nTo: bob@x.com\ncc: cy@x.com\nSubject: x",
    "notes without time": "\tAnn Lee\n\t01/05/2015\n\t\t\n\t\t To: Bob Ray/LON/ACME@ACME\n\t\t cc: \n\t\t Subject: Lunch",
    "squeezed": '\t"Ann Lee" <ann@example.com> 06/07/2001 09:55 AM Please respond to ann \t   To: "Bob" <bob@x.com>  cc:   Subject: lunch',
}


@pytest.mark.parametrize("gap", ["\n", "\n\n"], ids=["directly below", "below an empty line"])
@pytest.mark.parametrize("separator", SEPARATORS.values(), ids=SEPARATORS.keys())
def test_below_a_separator_everything_is_somebody_elses(separator: str, gap: str) -> None:
    cut = own_words(f"Tuesday suits me.\n\nBob{gap}{separator}\n\nShall we have lunch?\n\nAnn\n")
    assert cut.kept == "Tuesday suits me.\n\nBob"
    assert cut.quoted == "Shall we have lunch?\n\nAnn"


@pytest.mark.parametrize("name", [name for name in SEPARATORS if "fwd" in name])
def test_a_forward_is_told_from_a_reply(name: str) -> None:
    assert own_words(f"Please see below.\n\n{SEPARATORS[name]}\n\nShall we have lunch?").is_forward


@pytest.mark.parametrize(
    "lines",
    [
        "Von: Bremen\nNach: Hamburg\nDatum: 3. Mai\nZug: ICE 5",
        "From: Lisbon\nTo: Porto\nDate: May 5\nCost: 30",
        "Date: Monday\nTime: 3 pm\nSubject: budget\nRoom: 5",
        "Name: Ann\nPhone: later\nTo: do",
        "Da: Rom\nA: Mailand",
        "Thema: Budget\nDatum: Montag\nOrt: Raum 5",
        "To\nbe or not",
        "An\nalle",
        "An: alle\nBetreff: Ordnung im Büro, so geht es nicht weiter",
        "--- Original ---\nthis is how it was",
        "=== Plan ===\n- one\n- two",
        "-- Part 1 --\nthe first",
        "Ann Lee\n01/05/2015 03:04 PM\nwas the last time I called",
        "To:\tEverybody\nFrom:\tBob\nSubject:\tFire drill\nWe go down by the north stairs.",
        "发件人：不用填写\n收件人：写自己的房间号\n主题：写两个字就可以",
        "From: the heart\nTo: the point\nRe: nothing",
    ],
)
def test_own_lines_of_names_and_values_are_kept(lines: str) -> None:
    text = f"Hello,\n\n{lines}\n\nall of it is mine.\n\nBob"
    assert own_words(text).kept == text


def test_a_separator_takes_all_its_header_lines() -> None:
    lines = ["-----Original Message-----", "From: Ann", "Sent: Monday", "To: Bob;", " Cy", "Subject: Lunch", "", "Hi"]
    marker = separator_at(lines, 0)
    assert marker is not None and (marker.start, marker.end, marker.name) == (0, 6, "Ann")
