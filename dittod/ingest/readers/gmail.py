"""What Gmail's labels, as its Takeout writes them into each mail, say of that mail. Pure.

Knows the labels of Gmail itself in the languages that Takeout is written in most. A label in another language says
nothing. Does not know mails.
"""

from __future__ import annotations


def _labels(text: str) -> frozenset[str]:
    return frozenset(text.split("|"))


_SENT = _labels(
    "sent|gesendet|messages envoyés|envoyés|enviados|enviado|posta inviata|inviati|verzonden|wysłane|отправленные"
    "|已发邮件|已发送邮件|寄件備份|送信済み|送信済みメール|skickat|sendt"
)
_RECEIVED = _labels(
    "inbox|posteingang|boîte de réception|recibidos|bandeja de entrada|posta in arrivo|inkomend|postvak in|odebrane"
    "|входящие|收件箱|收件匣|受信トレイ|caixa de entrada|inkorgen|indbakke|innboks|archived|archiviert|archivés"
    "|archivados|archiviati|gearchiveerd|zarchiwizowane|arquivados"
)
_DRAFTS = _labels(
    "draft|drafts|entwurf|entwürfe|brouillons|borradores|bozze|concepten|rascunhos|wersje robocze|черновики|草稿|下書き"
)
_THROWN_AWAY = _labels(
    "spam|trash|papierkorb|corbeille|papelera|cestino|prullenbak|lixeira|kosz|корзина|спам|垃圾邮件|已删除邮件"
    "|ゴミ箱|迷惑メール"
)
_CHATS = _labels("chat|chats")


def why_not_sent(labels: str) -> str | None:
    """The reason why a mail with these labels (a comma between them) is none the user sent; None when it may be."""
    found = {label.strip(' "').lower() for label in labels.split(",")}
    if not found.isdisjoint(_DRAFTS):
        return "a draft in Gmail"
    if not found.isdisjoint(_THROWN_AWAY):
        return "spam or deleted in Gmail"
    if not found.isdisjoint(_CHATS):
        return "a chat in Gmail"
    is_received = found.isdisjoint(_SENT) and not found.isdisjoint(_RECEIVED)
    return "received, not sent, in Gmail" if is_received else None
