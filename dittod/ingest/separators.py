"""Lines below which another message stands: "-----Original Message-----" and header blocks. Pure.

Knows Outlook's, Apple's, Gmail's, Foxmail's and Lotus Notes' forms in many languages. Does not decide what is cut.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from dittod.ingest.attribution import Marker

_ORIGINAL = re.compile(
    r"[\s>*]*(?:\[[^\]]{1,60}\]\s*)?[-‐=]{2,}\s*(?:"
    r"Original[ -]?(?:e-?mail |SMS )?(?:Message|Appointment|meddelelse|besked|melding|meddelande|Nachricht)"
    r"|Original\s*-{8}|Urspr.{1,4}ngliche (?:Nachricht|E?-?Mail)"
    r"|Urspr.{1,4}ngligt? (?:meddelande|e-post)|Oprindelig meddelelse|Opprinnelig melding|Alkuperäinen viesti"
    r"|Message d['’]origine|Message original|Courriel original|Mensaje original|Missatge original|Messaggio originale"
    r"|Mensagem original|Oorspronkelijk bericht|Origineel bericht|Wiadomo.{1,3} oryginalna|Oryginalna wiadomo.{1,3}"
    r"|Původní (?:zpráva|e-mail)|Pôvodná správa|Eredeti üzenet|Исходное сообщение|Orijinal İleti"
    r"|Оригинальное сообщение|Αρχικό μήνυμα|Mesaj original"
    r"|原始邮件|邮件原件|原始郵件|元のメッセージ|원본 메시지|Message from\b.{1,100}\bon\b"
    r"|Inline attachment follows|Reply message\b)",
    re.IGNORECASE,
)
_FORWARD = re.compile(
    r"[\s>*]*(?:[-‐=]{2,}\s*(?:Forwarded (?:message|by|mail)|Weitergeleitet|Message (?:transf|réexp)|Mensaje reenviado"
    r"|Mensagem (?:re)?encaminhada|Messaggio inoltrato|Doorgestuurd bericht|(?:Wiadomość |Treść )?przekazan"
    r"|Vidarebefordra|Videresend|Přeposlan|Välitetty|Továbbított|Mesaj redirec|İletilen|Missatge reenviat"
    r"|Пересылаемое|Перенаправленное|Пересланное|转发|已转发|轉寄|転送|전달된)"
    r"|(?:Begin forwarded message|Anfang der weitergeleiteten (?:Nachricht|E-Mail)|Inicio del mensaje reenviado"
    r"|Début du (?:message|courriel) (?:réexpédié|transféré)|Inizio (?:del )?messaggio inoltrato"
    r"|Begin doorgestuurd bericht|Início da mensagem (?:re)?encaminhada|Początek (?:przekazywanej"
    r"|przekazanej) wiadomości"
    r"|Vidarebefordrat (?:brev|mejl|meddelande)|Start på videresendt besked|Videresendt melding"
    r"|Začátek přeposílané zprávy|Välitetty viesti alkaa|Начало переадресованного (?:сообщения|письма)"
    r"|下面是被转发的邮件|开始转发的邮件|以下是轉寄的郵件|転送されたメッセージ)\s*[:：]\s*$"
    r"|by \S.{2,60} on \d{1,2}/\d{1,2}/\d{2,4}.{0,12}-{3,}\s*$)",  # what is left of a broken 'Forwarded by'
    re.IGNORECASE,
)
_NOTES_REPLY = re.compile(  # '-----Ann Lee/LON/ACME wrote: -----' and 'Ann Lee ---01/05/2015 03:04:05 PM---Dear Bob'
    r"\s*-{3,}[^-\n]{1,100}\b(?:wrote|schrieb|a écrit|escribió|ha scritto|escreveu|schreef)\s?:?\s?-{3,}\s*$"
    r"|>>> \S.{0,100}\d{1,2}[:.]\d{2}.{0,12}>>>\s*$"
    r"|\s*\S.{0,80}?---\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4},? \d{1,2}:\d{2}(?::\d{2})?(?: [AP]M)?---",
    re.IGNORECASE,
)

_KEYS = {
    "from": "From,Von,De,Da,Van,Od,От,Från,Fra,Lähettäjä,Kimden,Feladó,Από,De la,Expéditeur,Remitente,Mittente,Nadawca"
    ",Від,Odesílatel,发件人,寄件者,寄件人,差出人,送信者,보낸 사람,보낸사람",
    "date": "Sent,Date,Gesendet,Datum,Envoyé,Envoyé le,Fecha,Data,Inviato,Verzonden,Wysłano,Skickat,Sendt,Dato,Sent at"
    ",Enviado,Enviada,Enviado el,Enviada em,Enviado em,Lähetetty,Päivämäärä,Päiväys,Pvm,Отправлено,Дата,Odesláno"
    ",Poslané,Gesendet am,Gönderildi,Tarih,Elküldve,Dátum,Στάλθηκε,Ημερομηνία,Trimis,Local Time,Надіслано,Data wysłania"
    ",发送时间,发件时间,日期,寄件日期,传送日期,送信日時,日付,日時,보낸 날짜,날짜",
    "to": "To,An,À,A,Para,Aan,Do,Til,Till,Per,Pour,Vastaanottaja,Saaja,Кому,Komu,Kime,Címzett,Προς,Către,Adresat"
    ",Destinatario,Destinataire,Empfänger,收件人,收件者,宛先,받는 사람,받는사람",
    "cc": "Cc,Kopie,Copia,Copie,Kopia,Kopi,Kopio,Bcc,Копия,Копія,DW,Másolatot kap,Bilgi,Κοιν.,Κοινοποίηση"
    ",抄送,副本,참조",
    "subject": "Subject,Betreff,Objet,Sujet,Asunto,Oggetto,Assunto,Onderwerp,Temat,Ämne,Emne,Aihe,Тема,Předmět,Predmet"
    ",Konu,Tárgy,Θέμα,Subiect,Thema,主题,主題,主旨,件名,제목",
    "other": "UTC Time,Importance,Reply-To,Attachments,Priority,Sensitivity,Organization,Wichtigkeit,Anlagen"
    ",Priorität,Importancia,Importanza,Prioriteit"
    ",Antwort an,Répondre à,Responder a,Rispondi a,Prioridad,Priorité,重要性",
}
_KIND_OF_KEY = {key.lower(): kind for kind, keys in _KEYS.items() for key in keys.split(",")}
_LONGEST_KEY = 24  # characters before the colon
_ADDITION = re.compile(r"\s*(?:Sent by|Please respond to|Gesendet von|Bitte antworten an)\b", re.IGNORECASE)
_STAMP = r"\d{1,4}[/.-]\d{1,2}[/.-]\d{2,4},? {1,9}\d{1,2}:\d{2}(?::\d{2})?(?: ?[AP]M)?(?: [A-Z]{2,4})?"
_STAMP_LINE = re.compile(rf"\s*{_STAMP}\s*$")  # '    01/02/2001 03:04 PM'
_DAY_LINE = re.compile(rf"\s*(?:{_STAMP}|\d{{1,2}}[/.-]\d{{1,2}}[/.-]\d{{4}})\s*$")  # sometimes without the time
_STAMPED_NAME = re.compile(
    rf"\s*\S.{{0,110}}?(?: on|\s\s|>|@\S{{1,80}})\s*{_STAMP}\s*$"
)  # '"Ann" <a@b> on 01/02/2001 …'
_REST_OF_STAMP = re.compile(r"\s*(?:[\d/.-]{6,10},? +)?\d{1,2}:\d{2}(?::\d{2})?(?: ?[AP]M)?\s*$")
_BROKEN_STAMP = re.compile(r"(?: on [\d/ ]{0,20}|\s\s\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4} {0,3})$")
_SQUEEZED = re.compile(rf"\s*(\S.{{0,110}}?) {{0,40}}{_STAMP}\s{{1,40}}(?:(?:Please respond|Sent by).{{0,80}}?)?To: ")
_EMPTY = re.compile(r"[\s|+=_*-]*$")  # also the drawn lines of tables
_ADDRESS_LIKE = re.compile(r"[@<\[]|\w/\w")
_TITLED_RULE = re.compile(r"\s*[-_=*‐—]{2,}[^-_=*‐—].{0,60}[-_=*‐—]{2,}\s*$")  # '-------- in any language --------'
_SMALL_WORD = re.compile(r"(?<!\S)[a-zà-ÿа-я]{2,}(?:-\w+)*")
_COLUMN_INDENT = 10  # spaces before Notes' left column
_LONGEST_COLUMN_LINES = 20
_LONGEST_BLOCK_LINES = 150  # some mails go to everybody
_MOST_EMPTY_IN_BLOCK = 8
_LONGEST_NAME = 80  # characters
_LONGEST_LINE = 4000  # of a header block; lines beyond are looked at no further


def separator_at(lines: Sequence[str], start: int) -> Marker | None:
    """The separator or header block that begins at this line, with all its header lines."""
    line = lines[start][:_LONGEST_LINE]
    kind: Literal["separator", "forward"] = "forward" if _FORWARD.match(line) else "separator"
    if kind == "forward" or _ORIGINAL.match(line) or _NOTES_REPLY.match(line):
        stop = min(len(lines), start + 8)
        blocks = (header_block_at(lines, i, is_announced=True) for i in range(start + 1, stop))
        block = next((block for block in blocks if block), None)
        return Marker(start, block.end if block else start + 1, kind, True, block.name if block else "")
    return header_block_at(lines, start)


def is_titled_rule(line: str) -> bool:
    """Words between dashes, as programs draw above a header block."""
    return len(line) <= 2 * _LONGEST_NAME and _TITLED_RULE.match(line) is not None


def header_block_at(lines: Sequence[str], start: int, *, is_announced: bool = False) -> Marker | None:
    """From/Sent/To/Subject as Outlook writes them, or Lotus Notes' name, date and To/cc/Subject."""
    if name := _squeezed(lines[start]):
        return Marker(start, start + 1, "separator", True, name)
    if columns := _columns_at(lines, start):
        return columns
    head = _head(lines, start, is_announced)
    if head is None:
        return None
    name, seen, below = head
    end = _scan_headers(lines, below, seen, has_bare_keys=bool(seen))
    is_block = ("to" in seen and ("cc" in seen or "subject" in seen)) or {"date", "subject"} <= seen
    is_headed = seen & {"from", "date"} or {"to", "cc", "subject"} <= seen
    is_real = (
        "date" in seen or is_announced or any(_ADDRESS_LIKE.search(line[:_LONGEST_LINE]) for line in lines[start:end])
    )
    is_whole = is_block and is_headed and is_real and len(seen) > 2 and not _has_wordy_date(lines[start:end])
    return Marker(start, end, "separator", True, name) if is_whole else None


def _columns_at(lines: Sequence[str], start: int) -> Marker | None:
    """Notes' header in two columns: name, address and date at the left, the keys alone at the end of their lines."""
    if not lines[start].startswith(" " * _COLUMN_INDENT) or not lines[start].strip():
        return None
    ends = [_end_of_column(line) for line in lines[start : start + _LONGEST_COLUMN_LINES]]
    if "subject" not in ends or not {"to", "cc"} <= set(ends[: ends.index("subject")]):
        return None
    below = start + ends.index("subject") + 1
    value = next((i for i in range(below, min(len(lines), below + 3)) if lines[i].strip()), below - 1)
    return Marker(start, value + 1, "separator", True, lines[start].strip() if ends[0] is None else "")


def _end_of_column(line: str) -> str | None:
    """The kind of a key that ends a line, apart from what stands before it."""
    before, _, last = line[:_LONGEST_LINE].rstrip().rpartition(" ")
    is_apart = not before.strip() or before.endswith(" ") or before.rstrip().endswith(">")
    return _KIND_OF_KEY.get(last.lower()) if is_apart and len(before) > _COLUMN_INDENT else None


def _has_wordy_date(lines: Sequence[str]) -> bool:
    """A date without a figure, "not before Wednesday": somebody fills in a form of their own."""
    values = (header[1] for line in lines if (header := _header(line)) and header[0] == "date")
    return any(len(_SMALL_WORD.findall(value)) > 1 and not re.search(r"\d", value) for value in values)


def _squeezed(line: str) -> str:
    """The name in a Notes table that became one line: 'Ann 01/02/2001 03:04 PM To: Bob cc: Subject: x'."""
    match = _SQUEEZED.match(line) if len(line) <= _LONGEST_LINE else None
    copies = line.find("cc: ", match.end()) if match else -1
    return match.group(1) if match and 0 <= copies <= line.find("Subject:", copies) else ""


def _head(lines: Sequence[str], start: int, is_announced: bool) -> tuple[str, set[str], int] | None:
    """Sender's name, kinds of header and next line, when a header block may begin here."""
    line = lines[start]
    if header := _header(line):
        kind, value = header
        follows_space = is_announced or start == 0 or _EMPTY.match(lines[start - 1]) is not None
        starts = kind in ("from", "date") or (kind in ("to", "subject") and follows_space)
        return (_name_in(value) if kind == "from" else "", set(), start) if starts else None
    if _EMPTY.match(line) or len(line.strip()) > 2 * _LONGEST_NAME:
        return None
    return _stamped_head(lines, start) or _name_and_stamp(lines, start)


def _stamped_head(lines: Sequence[str], start: int) -> tuple[str, set[str], int] | None:
    """Name and date on one line, perhaps broken within the date."""
    below = lines[start + 1][:_LONGEST_NAME] if start + 1 < len(lines) else ""
    if _STAMPED_NAME.match(lines[start]):
        return _name_in(lines[start]), {"from", "date"}, start + 1 + (below.strip() in ("AM", "PM"))
    joined = f"{lines[start]} {below.lstrip()}"
    if _REST_OF_STAMP.match(below) and _STAMPED_NAME.match(joined) and _BROKEN_STAMP.search(lines[start]):
        return _name_in(joined), {"from", "date"}, start + 2
    return None


def _name_and_stamp(lines: Sequence[str], start: int) -> tuple[str, set[str], int] | None:
    """Name and date on lines of their own, in either order; tables repeat both."""
    line = lines[start]
    below = [i for i in range(start + 1, min(len(lines), start + 12)) if not _EMPTY.match(lines[i])]
    if len(below) < 2:
        return None
    if _STAMP_LINE.match(line):
        name = lines[below[0]].strip()
        new = [i for i in below if lines[i].strip() not in (name, line.strip())]
        return (_name_in(name), {"from", "date"}, new[0]) if new and _kinds(lines[new[0]], True) else None
    follows = below[0] <= start + 4 and _DAY_LINE.match(lines[below[0]]) and _is_name(line)
    return (_name_in(line), {"from", "date"}, below[1]) if follows and _kinds(lines[below[1]], True) else None


def _is_name(line: str) -> bool:
    """Capitalised words, or an address; a sentence is neither."""
    words = re.findall(r"[^\W\d_]\w*", line)
    small = sum(word[0].islower() for word in words)
    return len(line.strip()) <= _LONGEST_NAME and bool(words) and (small == 0 or "@" in line or small * 3 < len(words))


def _name_in(words: str) -> str:
    """A sender as written in a block, without the date behind it."""
    return re.sub(rf"(?: on)?\s{{0,40}}{_STAMP}\s*$", "", words[:_LONGEST_LINE]).strip(' *\t;"')


def _header(line: str) -> tuple[str, str] | None:
    """Kind and value of 'Key: value', also of '*Key:* value' and '| Key : value'."""
    key, colon, value = line[:_LONGEST_LINE].replace("：", ":", 1).lstrip(" \t*|>").partition(":")
    kind = (
        _KIND_OF_KEY.get(key.strip(" \t\xa0*").replace("\u3000", "").lower())
        if colon and len(key) <= _LONGEST_KEY
        else None
    )
    return (kind, value.removeprefix("*")) if kind else None


def _scan_headers(lines: Sequence[str], start: int, seen: set[str], *, has_bare_keys: bool) -> int:
    """Adds the kinds of header found from here on to `seen`; returns the line after the last of them."""
    end, empty, awaits_value = start, 0, False
    for i in range(start, min(len(lines), start + _LONGEST_BLOCK_LINES)):
        if _EMPTY.match(lines[i]):
            empty += 1
            if empty > _MOST_EMPTY_IN_BLOCK or ("subject" in seen and not awaits_value):
                break
            continue
        kinds = _kinds(lines[i], has_bare_keys)
        begins_another = not {"cc", "other"}.issuperset(kinds) and not seen.isdisjoint(kinds)
        if begins_another or not (kinds or awaits_value or _continues(lines[i], seen, empty)):
            break
        seen.update(kinds)
        awaits_value = bool(kinds) and _is_bare_key(lines[i])
        end, empty = i + 1, 0
    return end


def _is_bare_key(line: str) -> bool:
    """A key alone on its line, as Notes' tables become in plain text; its value stands below."""
    return _KIND_OF_KEY.get(line[: _LONGEST_KEY + 1].strip().lower(), "from") != "from"


def _kinds(line: str, has_bare_keys: bool = False) -> tuple[str, ...]:
    if header := _header(line):
        return (header[0], "date") if re.search(_STAMP, header[1]) else (header[0],)
    if _STAMP_LINE.match(line):
        return ("date",)
    if has_bare_keys and _is_bare_key(line):
        return (_KIND_OF_KEY[line.strip().lower()],)
    return ("other",) if _ADDITION.match(line) else ()


def _continues(line: str, seen: set[str], empty: int) -> bool:
    """A broken date, or a wrapped list of recipients: addresses, Notes names or commas, or the rest of a name."""
    if seen == {"from"}:
        return _REST_OF_STAMP.match(line[:_LONGEST_NAME]) is not None
    if empty or "subject" in seen or not seen & {"to", "cc"}:
        return False
    return bool(re.search(r"[@/,;>]", line)) or line[:1] in " \t" or len(line.split()) <= 3
