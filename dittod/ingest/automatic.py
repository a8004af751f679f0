"""Tells mail written by hand from auto-replies, calendar answers and delivery notices. Pure.

Knows subjects and senders that programs use, in many languages, and how invitations, delivery notices and receipts
begin; the headers that declare a mail automatic were read by the reader. Does not judge by words that people write too:
"I am out of the office" in a body is no auto-reply.
"""

from __future__ import annotations

import re

from dittod.types import Document

_AUTO_REPLY = re.compile(
    r"(?i)\W{0,3}(?:auto(?:matic)?[- ]?(?:reply|response|matische antwort)"
    r"|out of (?:the )?office(?: auto.{0,5}reply| assistant| notification)?\s*:|out of (?:the )?office auto"
    r"|automatische (?:antwort|reactie)|abwesen(?:d|heit)\s*:|abwesenheits(?:notiz|assistent|benachrichtigung)"
    r"|réponse automatique|absence du bureau\s*:|message d['’]absence|respuesta automática|fuera de (?:la )?oficina\s*:"
    r"|risposta automatica|fuori (?:sede|ufficio)\s*:|resposta automática|ausência temporária\s*:"
    r"|automatische? (?:antwoord|bericht)|automatisch antwoord|afwezig(?:heid)?\s*:|afwezigheidsassistent"
    r"|automatisk[t]? (?:svar|besked)|autosvar|frånvarande\s*:|automaattinen vastaus|autoodpowiedź"
    r"|odpowiedź automatyczna|automatyczna odpowiedź|automatická odpověď|otomatik yanıt|автоматический ответ|автоответ"
    r"|автоматична відповідь|自动(?:回复|答复)|自動(?:回覆|回复|応答|返信)|不在通知|자동 회신)"
)
_CALENDAR = re.compile(
    r"(?i)(?:accepted|declined|tentative(?:ly accepted)?|cancel+ed(?: event)?|new time proposed"
    r"|meeting (?:forward notification|cancel+ed)|zugesagt|abgesagt|mit vorbehalt(?: zugesagt)?|angenommen|abgelehnt"
    r"|acceptée?|refusée?|provisoire|annulée?|aceptad[oa]|rechazad[oa]|provisional|cancelad[oa]|accettat[oa]|rifiutat[oa]"
    r"|provvisorio|annullat[oa]|aceite|recusad[oa]|provisório|geaccepteerd|geweigerd|voorlopig|geannuleerd|zaakceptowano"
    r"|odrzucono|wstępnie|anulowano|accepterat|avböjt|preliminärt|accepteret|afvist|foreløbig|godtatt|avslått|přijato"
    r"|odmítnuto|hyväksytty|hylätty|принято|отклонено|под вопросом|отменено|已接受|已拒绝"
    r"|暂定|已取消|承諾済み|辞退|仮承諾"
    r")\s*[:：]"
    r"|(?:updated )?invitation(?: mise à jour)?\s?: .{1,200} @ |(?:aktualisierte )?einladung: .{1,200} @ "
    r"|(?:invitación|invito|convite|uitnodiging|zaproszenie|inbjudan|приглашение|邀请)\b.{0,30}[:：] ?.{1,200} @ "
)
_CALENDAR_BODY = re.compile(  # what Outlook, Notes and calendars write into the body of an invitation
    r"\s*(?:When: .{0,300}\n(?:\s{0,9}Where: .{0,300}\n)?\s{0,9}(?:\*~){3}"
    r"|(?:Wann|Quand|Cuándo|Quando|Wanneer)\s?: .{0,300}\n(?:\s{0,9}\w{2,8}\s?: .{0,300}\n)?\s{0,9}(?:\*~){3}"
    r"|(?:CALENDAR ENTRY|TASK ASSIGNMENT)\b.{0,200}\n\s*(?:Description|Status|Date):|BEGIN:VCALENDAR)",
    re.IGNORECASE,
)
_HEAD_CHARACTERS = 2000
_DELIVERY = re.compile(
    r"(?i)(?:undeliver(?:able|ed)(?: mail)?\b|delivery (?:status notification|failure|has failed|notification)"
    r"|returned mail:|mail delivery (?:failed|failure|system|subsystem)|failure notice$|message (?:delayed|recall)\b"
    r"|recall:|unzustellbar|nicht zustellbar|zustellung fehlgeschlagen|non remis\s*:|échec de (?:la )?remise"
    r"|no se puede entregar|no entregado|non recapitabile|mancato recapito|onbestelbaar|niet te bezorgen|não entregue"
    r"|nie można dostarczyć|kan inte levereras|недоставленное|не удалось доставить|无法(?:送达|投递)|退信|配信不能"
    r"|配信できません|(?:read|not read|read receipt|gelesen|ungelesen gelöscht|lu|non lu|leído|no leído|letto|non letto"
    r"|lida|não lida|gelezen|niet gelezen|przeczytano|läst|læst|lest|přečteno|прочитано|已读|開封済み"
    r"|return receipt \(displayed\))\s*[:：])"
)
_DELIVERY_BODY = re.compile(
    r"(?i)\s*(?:Your message did not reach some or all of the intended recipients|This is the mail system at host"
    r"|This message was created automatically by mail delivery software|Delivery has failed to these recipients"
    r"|Delivery to the following recipients? (?:has )?(?:failed|been delayed)"
    r"|The following addresses had permanent fatal"
    r"|Hi\. This is the qmail-send program|Ihre Nachricht (?:hat einige oder alle Empfänger nicht|wurde nicht)"
    r"|Fehler bei der Nachrichtenzustellung"
    r"|Your message\s{1,9}To: .{1,300}\s{1,9}Subject: .{0,300}\s{1,9}"
    r"(?:Sent: .{1,100}\s{1,9})?was\b"
    r"|This is a (?:Return Receipt|receipt) for the mail|Ce message a été créé automatiquement par le)"
)
_MACHINE = re.compile(r"(?i)(?:mailer-daemon|postmaster|no-?reply|do-?not-?reply)@")


def why_not_by_hand(document: Document) -> str | None:
    """The reason why nobody typed this mail; None when somebody did."""
    subject, head = document.subject.strip(), document.text[:_HEAD_CHARACTERS]
    if document.is_automatic:
        return "sent by a program, a mailing list or a calendar"
    if _AUTO_REPLY.match(subject):
        return "an automatic reply"
    if _CALENDAR.match(subject) or _CALENDAR_BODY.match(head):
        return "a calendar message"
    if _DELIVERY.match(subject) or _DELIVERY_BODY.match(head) or _MACHINE.search(document.sender):
        return "a delivery notice"
    return None
