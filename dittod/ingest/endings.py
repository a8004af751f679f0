"""What programs add at the end of a mail: device lines, disclaimers, footers, traces of attachments. Pure.

Knows their first words in many languages, and that each of them stands at the end of what somebody wrote. Does not know
quotations or signatures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice

_LONGEST_LINE = 2000  # characters of a line that are looked at
_FEWEST_DISCLAIMER_CHARACTERS = 120
LONGEST_ENDING_LINES = 40  # below it more than small print stands
_LONGEST_ASIDE_WORDS = 12  # of a paragraph of a disclaimer that says nothing legal
_MOST_BEGINNINGS = 4  # lines that are tried as the first of a disclaimer
_LONGEST_LABEL = 200  # characters of a device line or a drawn rule
_LONGEST_FOOTER_LINES = 9
_LONGEST_ADVERTISEMENT_LINES = 4

_THINGS = (
    r"iPhon\w+|iPad|iPod|Android|BlackBerry|Samsung|Galaxy|Outlook|Mail\b|Nokia|Lumia|Handheld|mobile|phone\b"
    r"|device\b|Treo"
    r"|Pixel|Proton|Wireless|Huawei|Xiaomi|Windows|K-9|Fairphone|Thunderbird|Smartphone|Handy|Gerät|Tablet|GMX|WEB\.DE"
    r"|Spark|Superhuman|Motorola|HTC|OnePlus|Sony|Xperia|Moto|appareil|dispositivo|móvil|celular|téléphone|portable"
    r"|telefon|Yahoo|AOL|Gmail|tablet|cellulare"
)
_SENT = (
    r"Sent (?:from|via|by|using|with)|Gesendet (?:von|mit|über|aus)|Von .{0,40} gesendet"
    r"|Envoyé (?:de|depuis|à partir|avec)"
    r"|Enviado (?:desde|do|da|de|a partir|por|vía|pelo|con|com)|Enviada (?:desde|do|da|de)|Inviat[oa] (?:da|dal|con"
    r"|tramite|dallo)"
    r"|Verzonden (?:vanaf|met|van|vanuit|via)|Verstuurd (?:vanaf|met|van|vanuit|via)|Wysłan[eoy] (?:z|za|przy)"
    r"|Skickat från|Skickad från|Sendt fra|Sendt via|Odesláno z|Poslané z|Lähetetty|Отправлено (?:с|из|через)"
    r"|Trimis de pe|Küldve|Στάλθηκε από|Відправлено з|Получено|Отправлен[ао] с"
)
_DEVICE = re.compile(
    rf"\s*\W{{0,3}}(?:(?:{_SENT})\b.{{0,40}}(?:{_THINGS}).{{0,60}}|Sent from my .{{2,40}}"
    r"|Envoyé de(?:puis)? mon .{2,40}|Enviado desde mi .{2,40}|Enviado do meu .{2,40}|Inviato dal mio .{2,40}"
    r"|(?:Verzonden|Verstuurd) vanaf mijn .{2,40}|Skickat från min .{2,40}|Sendt fra min .{2,40}"
    r"|Wysłane z mojego .{2,40}"
    r"|Vo[nm] mein.{1,40} (?:gesendet|geschickt|versendet)\.?"
    r"|Diese (?:Nachricht|E-Mail|Mail) wurde von mein.{1,60} (?:gesendet|geschickt)\.?"
    r"|Get \w{2,20}(?: Mail)? for (?:Android|iOS|iPhone|iPad|Desktop|Mac|Windows)\W*"
    r"|(?:Get|Download|Scarica|Télécharge[rz]|Obtene[rt]|Obtenga|Descargar|Baixar|Ottieni|Pobierz|Download de) "
    r"Outlook (?:for|pour|para|per|voor|dla) .{2,20}|Outlook für .{2,20} (?:beziehen|herunterladen)"
    r"|(?:Holen Sie sich|Obter o|Hämta|Hent|Pobierz|Skaffa) Outlook \w+ .{2,20}|Outlook voor .{2,20} downloaden"
    r"|发自我的.{1,30}|發自我的.{1,30}|从我的.{1,20}发送|從我的.{1,20}傳送|.{1,20}から送信|나의 .{1,20}에서 보냄"
    r"|iPhone'?umdan gönderildi|Sent with .{0,3}Proton ?Mail.{0,60}"
    r"|(?:Please |Kindly )?(?:excuse|pardon|forgive) (?:my |any |the |all )?(?:brevity|typos?|spelling|errors?"
    r"|mistakes).{0,40}"
    r"|Veuillez excuser ma brièveté\.?|Bitte entschuldigen Sie die Kürze\.?)\s*$",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(  # where an attachment or a picture stood
    r"\s*(?:<<\s*(?:File|OLE Object)[^>]{0,200}>>|<<[^<>]{1,100}\.\w{2,4}>>"
    r"|\[(?:image|cid|inline image|Bild|Imagen?)\b[^]]*\]|\(See attached file:[^)]*\)|<Embedded [^>]{1,60}>"
    r"|note: forwarded message attached\.?)(?:\s*<<\s*File:[^>]{0,200}>>)*\s*$",
    re.IGNORECASE,
)
_FILE_NAME = re.compile(  # the same below the whole mail; within it, it is a point of a list
    r"\s*- [^<>]{1,200}\.(?:docx?|xlsx?|ppt|pps|pptx|pdf|jpe?g|gif|png|bmp|tif|zip|exe|avi|mpe?g|mp3|wav|html?|txt"
    r"|eml|rtf|vcf|dat)(?:\s*<<\s*File:[^>]{0,200}>>)*\s*$",
    re.IGNORECASE,
)
_DISCLAIMER = re.compile(
    r"[\s*_<>(\[\"]*(?:(?:CONFIDENTIALITY|DISCLAIMER|NOTICE|IMPORTANT|LEGAL NOTICE|WARNING"
    r"|Internet Email Confidential\w+"
    r"|This (?:e-?mail|electronic|message|communication|transmission|transmittal|mail)"
    r"|The information (?:contained |transmitted )?(?:in|with|by) this|The contents? of this|Any (?:review|use) of this"
    r"|Privileged/Confidential|If you (?:are not|have received|received)|Unless you are|E-?mails? (?:is|are) not"
    r"|Diese (?:E-?Mail|Nachricht|Mail|elektronische)|Der Inhalt dieser|Die (?:Informationen|in dieser)"
    r"|Wichtiger Hinweis"
    r"|Haftungsausschluss|Vertraulichkeit|Avertissement|Ce (?:message|courriel|mail|courrier)|Le contenu de ce"
    r"|Le présent (?:message|courriel|e-?mail)|Cet? e-?mail|Les? informations? contenues?"
    r"|Este (?:mensaje|correo|e-?mail)|El contenido de este|La información contenida|Aviso|Advertencia"
    r"|Esta (?:mensagem|comunicación|e-?mail)|As informações contidas|O conteúdo d"
    r"|Quest[ao] (?:messaggio|e-?mail|comunicazione)|Il (?:presente messaggio|contenuto d)|La presente (?:e-?mail"
    r"|comunicazione)"
    r"|Le informazioni contenute|Avvertenz[ae]|Riservatezza|Dit (?:bericht|e-?mail)|Deze e-?mail"
    r"|De (?:informatie|inhoud)|Ta wiadomość|Niniejsz[ay]|Treść tej|Informacje zawarte|Настоящее|Это (?:сообщение"
    r"|письмо)"
    r"|Данное|Denna? e-?post|Detta (?:meddelande|e-?post)|Denne (?:e-?mail|e-?post))\b"
    r"|本邮件|此邮件|本メール|このメール|本電子メール)",
    re.IGNORECASE,
)
_LEGAL = re.compile(  # a disclaimer has at least three of these, or two and some length
    r"(?i)(?<!\w)(intended (?:recipient|only|solely|for)|addressee|privileged|confidential|disclos\w{1,6}"
    r"|unauthori[sz]ed"
    r"|notify (?:the|us|me)|in error|property of|strictly prohibited|disseminat\w{1,5}|delete|viruses|liab(?:le|ility)"
    r"|registered (?:in|office|number)|open to inspection|Geschäftsführer|Amtsgericht|Sitz der Gesellschaft"
    r"|vertraulich|unbefugt|irrtümlich|vernichten|rechtlich geschützt|(?:nur|ausschließlich) für"
    r"|confidentiel|destinataire|par erreur|strictement|détrui\w{1,5}|divulg|exclusivement"
    r"|confidencial|destinatari[oa]|por error|prohibid|privilegiad|elimin|exclusiv|por engano|apag(?:ar|ue)"
    r"|riservat|per errore|vietat|distrugg|esclusiv|vertrouwelijk|geadresseerde|ten onrechte|verwijder|bestemd"
    r"|poufn|adresat|omyłkow|usuni|конфиденциальн|получател|по ошибке|удалит|konfidentiell|fortrolig|mottagare)"
    r"|(机密|保密|收件人|误收|删除|機密|秘密|受信者|誤送信|削除)"
)
_SIGNED = re.compile(r"\n\n[^\W\d_a-z][\w'’-]{0,20}(?: [^\W\d_a-z][\w'’.-]{0,20})?$")  # a name as its last paragraph
_FOOTER = re.compile(  # how the footers of lists and virus scanners begin
    r"\s*\W{0,4}(?:You received this (?:message|e-?mail) because you"
    r"|To (?:un)?subscribe\b.{0,40}(?:from this|visit|click|send an|https?:)|(?:Un)?subscribe: https?://"
    r"|To (?:post|stop receiving|view this discussion|be removed from)\b.{0,60}(?:group|list|e-?mails|on the web)"
    r"|(?:Um sich|Wenn Sie sich) .{0,60}abmelden|Pour (?:vous désabonner|se désinscrire)"
    r"|Para (?:cancelar|anular|darse de baja|sair).{0,60}(?:suscripción|inscrição|lista|grupo)"
    r"|Per (?:annullare|cancellar).{0,60}(?:iscrizione|lista|gruppo)|Sie erhalten diese (?:Nachricht|E-Mail), weil Sie"
    r"|Vous recevez ce (?:message|courriel) car|Has recibido este mensaje porque|U ontvangt dit bericht omdat"
    r"|Hai ricevuto questo messaggio perch|Você recebeu essa mensagem porque|Вы получили это сообщение, поскольку"
    r"|This message was sent using \w{2,20}, the"
    r"|<?https?://www\.avast\.com/sig-email"
    r"|No virus found in this|This (?:e-?mail|message) has been (?:checked|scanned) (?:for|by)|Checked by AVG"
    r"|(?:Diese|Ta|Cet) e-?mail (?:wurde|została|a été) .{0,40}(?:Viren|wirus|virus)|Virus-?free\.|Virenfrei\."
    r"|Garanti sans virus"
    r"|Ce(?:t e-?mail|t email| courriel) a été vérifié|Libre de virus|Este correo .{0,60}virus"
    r"|.{0,60}(?:environment|Umwelt|environnement|medio ?ambiente|ambiente|milieu)\b.{0,40}(?:print|druck|imprim"
    r"|stampa|afdruk)"
    r"|.{0,60}(?:before printing|vor dem (?:Aus)?[Dd]rucken|avant d['’]imprimer|antes de imprimir|prima di stampare)"
    r"|[-*\s]{0,40}End of forwarded message|-{10,} Yahoo! Groups Sponsor -)",
    re.IGNORECASE,
)
_ADVERTISEMENT = re.compile(  # web mail's own; certain only below a rule or beside a link
    r"[\s*>]{0,8}(?:Do You Yahoo!\?|Yahoo! \w+|Get (?:Your|a) (?:Private, )?FREE?\b|Get your FREE|MSN \w+"
    r"|Find out why more people use"
    r"|(?:Join|Chat with|Send and receive) .{0,60}(?:Hotmail|MSN)|Share information about yourself, create"
    r"|FREE pop-?up blocking"
    r"|.{0,60}\bfree (?:e-?mail|download|web-?based)|(?:Gratis|Kostenlos)\w* .{0,40}(?:Mail|GMX|WEB\.DE))",
    re.IGNORECASE,
)
_LIST = re.compile(r".{0,60}\b(?:mailing list|mailing-list|Mailingliste|liste de diffusion|lista de correo)\b")
_LONG_RULE = re.compile(r"\s*[_*=-]{20,}\s*$")
_RULE = re.compile(r"\s*[-_=*~]{3,}\s*-?$")
_LINKED = re.compile(  # where a link led, in plain text
    r"\s*<https?://[^<>\s]{1,200}>\s*$|\]\(https?://[^()\s]{1,200}\)|\["
)
_UNSEEN = re.compile(r"[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")
_LINK = re.compile(r"https?://|www\.")


def _as_shown(line: str) -> str:
    """The line as a reader saw it: without where its links led and characters that have no width."""
    return _LINKED.sub("", _UNSEEN.sub("", line))


def is_placeholder(line: str) -> bool:
    """True where an attachment or a picture stood."""
    return len(line) <= _LONGEST_LINE and _PLACEHOLDER.match(line) is not None


def is_rule(line: str) -> bool:
    """A drawn line."""
    return len(line) <= _LONGEST_LABEL and _RULE.match(line) is not None


def ending_of(lines: Sequence[str], *, is_all: bool) -> tuple[int, str] | None:
    """How many of the last lines a program added, and what they are. `is_all`: nothing stands above these lines."""
    if not lines:
        return None
    if len(lines[-1]) <= _LONGEST_LABEL and _DEVICE.match(_as_shown(lines[-1])):
        start, reason = len(lines) - 1, "device"
    elif (files := _file_names_start(lines)) is not None:
        return len(lines) - files, "attachment"
    elif (footer := _footer_start(lines)) is not None:
        start, reason = footer, "footer"
    elif (disclaimer := _disclaimer_start(lines, is_all)) is not None:
        start, reason = disclaimer, "disclaimer"
    else:
        return None
    return len(lines) - _with_rules(lines, start), reason


def _file_names_start(lines: Sequence[str]) -> int | None:
    """Where the names of files begin that end the mail; below a colon or another point they are a list."""
    start = len(lines)
    while start and (_FILE_NAME.match(lines[start - 1][:_LONGEST_LINE])):
        start -= 1
    is_list = start and lines[start - 1].strip() and re.search(r"[:：]\s*$|^\s*[-*•]", lines[start - 1][:_LONGEST_LINE])
    return start if start < len(lines) and not is_list else None


def _disclaimer_start(lines: Sequence[str], is_all: bool) -> int | None:
    """Where a disclaimer begins that goes on to the end; never with the first line of a mail."""
    begins = (i for i in range(len(lines)) if (i or not is_all) and _DISCLAIMER.match(lines[i][:_LONGEST_LINE]))
    for i in islice(begins, _MOST_BEGINNINGS):
        is_set_off = i == 0 or not re.search(r"\w", lines[i - 1][:_LONGEST_LINE])
        if _is_legal([line[:_LONGEST_LINE] for line in lines[i:]], is_set_off):
            return i
    return None


def _is_legal(lines: Sequence[str], is_set_off: bool) -> bool:
    """Enough of the terms, no longer paragraph without one, and no name at the end: these would be somebody's own."""
    text = "\n".join(line.strip() for line in lines)
    terms = {found[0].lower() for found in _LEGAL.finditer(text)}
    is_long = len(text) >= _FEWEST_DISCLAIMER_CHARACTERS
    own = [part for part in text.split("\n\n") if len(part.split()) > _LONGEST_ASIDE_WORDS and not _LEGAL.search(part)]
    return len(terms) >= (2 if is_set_off and is_long else 3) and not own and not _SIGNED.search(text)


def _footer_start(lines: Sequence[str]) -> int | None:
    """Where a list, a virus scanner or web mail begins to speak."""
    written = [i for i in range(len(lines)) if lines[i].strip()]
    for position in range(max(0, len(written) - _LONGEST_FOOTER_LINES), len(written)):
        texts = [lines[i][:_LONGEST_LINE] for i in written[position:]]
        above = lines[written[position - 1]] if position else ""
        if _FOOTER.match(texts[0]) or _is_list_footer(texts) or _is_advertisement(texts, above):
            return written[position]
    return None


def _is_list_footer(texts: Sequence[str]) -> bool:
    """A long rule, and a mailing list's name below it."""
    return _LONG_RULE.match(texts[0]) is not None and any(_LIST.match(text) for text in texts[1:3])


def _is_advertisement(texts: Sequence[str], above: str) -> bool:
    """An offer of web mail below a rule or beside a link; or any lines with a link below a long rule of underscores."""
    has_link = any(_LINK.search(text) for text in texts)
    if _ADVERTISEMENT.match(texts[0]):
        return has_link or is_rule(above)
    return has_link and len(texts) <= _LONGEST_ADVERTISEMENT_LINES and re.match(r"\s*_{30,}\s*$", texts[0]) is not None


def _with_rules(lines: Sequence[str], start: int) -> int:
    """Takes in the rules above a line, over empty lines."""
    above = start
    while above and (not lines[above - 1].strip() or is_rule(lines[above - 1])):
        above -= 1
        if lines[above].strip():
            start = above
    return start
