"""Mail that nobody typed, and mail that only looks like it. Every mail here is invented."""

from __future__ import annotations

import pytest

from dittod.ingest.automatic import why_not_by_hand
from dittod.types import Document


def mail(subject: str = "Lunch", text: str = "See you at noon.", sender: str = "Ann <ann@example.com>") -> Document:
    return Document(kind="mail", text=text, sha256="0" * 64, sender=sender, subject=subject)


@pytest.mark.parametrize(
    "subject",
    [
        "Automatic reply: Lunch",
        "Auto-Reply: Lunch",
        "Out of Office: Lunch",
        "Out of Office AutoReply: Lunch",
        "Automatische Antwort: Essen",
        "Abwesend: Essen",
        "Abwesenheitsnotiz: Essen",
        "Réponse automatique : Déjeuner",
        "Respuesta automática: Comida",
        "Risposta automatica: Pranzo",
        "Resposta automática: Almoço",
        "Automatisch antwoord: Lunch",
        "Autosvar: Lunch",
        "Automatiskt svar: Lunch",
        "Odpowiedź automatyczna: Obiad",
        "Automatická odpověď: Oběd",
        "Автоматический ответ: Обед",
        "自动回复: 午饭",
        "自動応答: 昼食",
    ],
)
def test_an_automatic_reply_is_known_by_its_subject(subject: str) -> None:
    assert why_not_by_hand(mail(subject)) == "an automatic reply"


@pytest.mark.parametrize(
    "subject",
    [
        "Accepted: Lunch",
        "Declined: Lunch",
        "Canceled: Lunch",
        "Updated invitation: Lunch @ Mon Jan 5, 2015 12pm - 1pm",
        "Einladung: Essen @ Mo. 5. Jan. 2015 12:00 - 13:00",
        "Zugesagt: Essen",
        "Accepté : Déjeuner",
        "Aceptado: Comida",
        "Accettato: Pranzo",
        "Aceite: Almoço",
        "Geaccepteerd: Lunch",
        "Zaakceptowano: Obiad",
        "Принято: Обед",
        "已接受: 午饭",
    ],
)
def test_a_calendar_answer_is_known_by_its_subject(subject: str) -> None:
    assert why_not_by_hand(mail(subject)) == "a calendar message"


@pytest.mark.parametrize(
    "text",
    [
        "When: Monday, 5 January 2015 12:00-13:00.\nWhere: Canteen\n\n*~*~*~*~*~*~*~*~*~*\n\nbring cake",
        "CALENDAR ENTRY:\tREMINDER\n\nDescription:\n\tLunch",
        "Wann: Montag, 5. Januar 2015 12:00-13:00.\nWo: Kantine\n\n*~*~*~*~*~*~*~*~*~*",
    ],
)
def test_an_invitation_is_known_by_how_its_body_begins(text: str) -> None:
    assert why_not_by_hand(mail(text=text)) == "a calendar message"


@pytest.mark.parametrize(
    "subject",
    [
        "Undeliverable: Lunch",
        "Delivery Status Notification (Failure)",
        "Mail delivery failed: returning message to sender",
        "failure notice",
        "Unzustellbar: Essen",
        "Gelesen: Essen",
        "Non remis : Déjeuner",
        "Lu : Déjeuner",
        "Leído: Comida",
        "Letto: Pranzo",
        "Gelezen: Lunch",
        "Прочитано: Обед",
        "已读: 午饭",
    ],
)
def test_a_delivery_notice_or_receipt_is_known_by_its_subject(subject: str) -> None:
    assert why_not_by_hand(mail(subject)) == "a delivery notice"


@pytest.mark.parametrize(
    "text",
    [
        "Your message did not reach some or all of the intended recipients.\n\n  Subject: Lunch",
        "This message was created automatically by mail delivery software.",
        "Your message\n\n  To: bob@example.com\n  Subject: Lunch\n  Sent: Monday\n\nwas read on Tuesday.",
    ],
)
def test_a_delivery_notice_is_known_by_how_its_body_begins(text: str) -> None:
    assert why_not_by_hand(mail(text=text)) == "a delivery notice"


def test_a_mail_program_that_answers_is_known_by_its_address() -> None:
    assert why_not_by_hand(mail(sender="MAILER-DAEMON@example.com")) == "a delivery notice"


@pytest.mark.parametrize(
    "subject",
    [
        "Out of the office on Thursday",
        "Re: Out of the office",
        "Abwesenheit am Freitag",
        "Automated tests",
        "Invitation: our party on Saturday",
        "Einladung: Grillfest am Samstag",
        "Reading list",
        "Read this",
        "Accepted papers",
        "Delivery of the boxes",
        "Autos verkaufen",
        "Lunch: where?",
    ],
)
def test_a_subject_that_people_type_is_no_programs(subject: str) -> None:
    assert why_not_by_hand(mail(subject, "I will be out of the office until Monday, call Cy.")) is None
