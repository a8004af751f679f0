"""Lines below which another message stands: "-----Original Message-----" and header blocks. Pure.

Knows Outlook's, Apple's, Gmail's and Lotus Notes' forms in many languages. Does not decide what is cut.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from dittod.ingest.attribution import Marker

_ORIGINAL = re.compile(
    r"[\s>*]*(?:\[[^\]]{1,60}\]\s*)?-{2,}\s*(?:"
    r"Original[ -]?(?:Message|Appointment|meddelelse|besked|Nachricht)|Urspr.{1,4}ngliche (?:Nachricht|E?-?Mail)"
    r"|Urspr.{1,4}ngligt? meddelande|Oprindelig meddelelse|Opprinnelig melding|Alkuperäinen viesti"
    r"|Message d['’]origine|Message original|Mensaje original|Messaggio originale|Mensagem original"
    r"|Oorspronkelijk bericht|Origineel bericht|Wiadomo.{1,3} oryginalna|Исходное сообщение"
    r"|原始邮件|邮件原件|原始郵件|元のメッセージ|Message from\b.*\bon\b)",
    re.IGNORECASE,
)
_FORWARD = re.compile(
    r"[\s>*]*(?:-{2,}\s*(?:Forwarded (?:message|by|mail)|Weitergeleitet|Message transf|Mensaje reenviado"
    r"|Mensagem (?:re)?encaminhada|Messaggio inoltrato|Doorgestuurd bericht|Przekazana|Vidarebefordrat"
    r"|Videresendt|Пересылаемое|转发|轉寄|転送)"
    r"|(?:Begin forwarded message|Anfang der weitergeleiteten Nachricht|Inicio del mensaje reenviado"
    r"|Début du message (?:réexpédié|transféré)|Inizio messaggio inoltrato|Begin doorgestuurd bericht"
    r"|Início da mensagem reencaminhada)\s*:\s*$"
    r"|by \S.{2,60} on \d{1,2}/\d{1,2}/\d{2,4}.{0,12}-{3,}\s*$)",  # what is left of a broken 'Forwarded by'
    re.IGNORECASE,
)

_KEYS = {
    "from": "From Von De Da Van Od От Från Fra Lähettäjä Kimden 发件人 寄件者 差出人",
    "date": "Sent Date Gesendet Datum Envoyé Fecha Data Inviato Verzonden Wysłano Skickat Sendt Dato"
    " Enviado Enviada Lähetetty Отправлено Дата 发送时间 日期 送信日時 日付",
    "to": "To An À A Para Aan Do Til Till Per Vastaanottaja Кому 收件人 宛先",
    "cc": "Cc Kopie Copia Copie Kopia Bcc Копия 抄送",
    "subject": "Subject Betreff Objet Asunto Oggetto Assunto Onderwerp Temat Ämne Emne Aihe Тема 主题 主題 件名",
    "other": "Importance Reply-To Attachments Priority Sensitivity Organization",
}
_KIND_OF_KEY = {key.lower(): kind for kind, keys in _KEYS.items() for key in keys.split()}
_HEADER = re.compile(r"[\s*|]*([^\W\d_][\w-]{0,14})\*?(?: el| em)?\s?[:：]\*?(.*)")
_ADDITION = re.compile(r"\s*(?:Sent by|Please respond to)\b", re.IGNORECASE)
_STAMP = r"\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4},? +\d{1,2}:\d{2}(?::\d{2})?(?: ?[AP]M)?(?: [A-Z]{2,4})?"
_STAMP_LINE = re.compile(rf"\s*{_STAMP}\s*$")  # '    01/02/2001 03:04 PM'
_STAMPED_NAME = re.compile(rf"\s*\S.{{0,110}}?(?: on|\s\s|>|@\S+)\s*{_STAMP}\s*$")  # '"Ann" <a@b> on 01/02/2001 …'
_REST_OF_STAMP = re.compile(r"\s*(?:[\d/.-]{6,10},? +)?\d{1,2}:\d{2}(?::\d{2})?(?: ?[AP]M)?\s*$")
_ONE_LINE = re.compile(rf"\s*(\S.{{0,110}}?) *{_STAMP}\s+To: .*\bcc: .*\bSubject:")  # a table squeezed into a line
_EMPTY = re.compile(r"[\s|+=_*-]*$")  # also the drawn lines of tables
_LONGEST_BLOCK_LINES = 150  # some mails go to everybody
_MOST_EMPTY_IN_BLOCK = 8
_LONGEST_NAME = 80  # characters


def separator_at(lines: Sequence[str], start: int) -> Marker | None:
    """The separator or header block that begins at this line, with all its header lines."""
    kind: Literal["separator", "forward"] = "forward" if _FORWARD.match(lines[start]) else "separator"
    if kind == "forward" or _ORIGINAL.match(lines[start]):
        stop = min(len(lines), start + 8)
        blocks = (header_block_at(lines, i) for i in range(start + 1, stop))
        block = next((block for block in blocks if block), None)
        return Marker(start, block.end if block else start + 1, kind, True, block.name if block else "")
    return header_block_at(lines, start)


def header_block_at(lines: Sequence[str], start: int) -> Marker | None:
    """From/Sent/To/Subject as Outlook writes them, or Lotus Notes' name, date and To/cc/Subject."""
    if squeezed := _ONE_LINE.match(lines[start]):
        return Marker(start, start + 1, "separator", True, squeezed.group(1))
    head = _head(lines, start)
    if head is None:
        return None
    name, seen, below = head
    end = _scan_headers(lines, below, seen)
    is_block = ("to" in seen and ("cc" in seen or "subject" in seen)) or {"date", "subject"} <= seen
    is_headed = seen & {"from", "date"} or {"to", "cc", "subject"} <= seen
    return Marker(start, end, "separator", True, name) if is_block and is_headed and len(seen) > 2 else None


def _head(lines: Sequence[str], start: int) -> tuple[str, set[str], int] | None:
    """Sender's name, kinds of header and next line, when a header block may begin here."""
    line = lines[start]
    if header := _header(line):
        kind, value = header
        starts = kind in ("from", "date") or (kind == "to" and (start == 0 or _EMPTY.match(lines[start - 1])))
        return (_name_in(value) if kind == "from" else "", set(), start) if starts else None
    if _EMPTY.match(line) or len(line.strip()) > 2 * _LONGEST_NAME:
        return None
    return _stamped_head(lines, start) or _name_and_stamp(lines, start)


def _stamped_head(lines: Sequence[str], start: int) -> tuple[str, set[str], int] | None:
    """Name and date on one line, perhaps broken within the date."""
    below = lines[start + 1] if start + 1 < len(lines) else ""
    if _STAMPED_NAME.match(lines[start]):
        return _name_in(lines[start]), {"from", "date"}, start + 1 + (below.strip() in ("AM", "PM"))
    joined = f"{lines[start]} {below.lstrip()}"
    if _REST_OF_STAMP.match(below) and _STAMPED_NAME.match(joined) and re.search(r" on [\d/ ]*$", lines[start]):
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
        return (_name_in(name), {"from", "date"}, new[0]) if new and _kinds(lines[new[0]]) else None
    if below[0] <= start + 4 and _STAMP_LINE.match(lines[below[0]]) and _is_name(line) and _kinds(lines[below[1]]):
        return _name_in(line), {"from", "date"}, below[1]
    return None


def _is_name(line: str) -> bool:
    """Capitalised words, or an address; a sentence is neither."""
    words = re.findall(r"[^\W\d_]\w*", line)
    small = sum(word[0].islower() for word in words)
    return len(line.strip()) <= _LONGEST_NAME and bool(words) and (small == 0 or "@" in line or small * 3 < len(words))


def _name_in(words: str) -> str:
    """A sender as written in a block, without the date behind it."""
    return re.sub(rf"(?: on)?\s*{_STAMP}\s*$", "", words).strip(" *\t")


def _header(line: str) -> tuple[str, str] | None:
    match = _HEADER.match(line)
    kind = _KIND_OF_KEY.get(match.group(1).lower()) if match else None
    return (kind, match.group(2)) if match and kind else None


def _scan_headers(lines: Sequence[str], start: int, seen: set[str]) -> int:
    """Adds the kinds of header found from here on to `seen`; returns the line after the last of them."""
    end, empty = start, 0
    for i in range(start, min(len(lines), start + _LONGEST_BLOCK_LINES)):
        kinds = _kinds(lines[i])
        if _EMPTY.match(lines[i]):
            empty += 1
            if empty > _MOST_EMPTY_IN_BLOCK or "subject" in seen:
                break
            continue
        begins_another = not {"cc", "other"}.issuperset(kinds) and not seen.isdisjoint(kinds)
        if begins_another or (not kinds and not _continues(lines[i], seen, empty)):
            break
        seen.update(kinds)
        end, empty = i + 1, 0
    return end


def _kinds(line: str) -> tuple[str, ...]:
    if header := _header(line):
        return (header[0], "date") if re.search(_STAMP, header[1]) else (header[0],)
    if _STAMP_LINE.match(line):
        return ("date",)
    return ("other",) if _ADDITION.match(line) else ()


def _continues(line: str, seen: set[str], empty: int) -> bool:
    """A wrapped list of recipients: addresses, Notes names or commas, or the rest of a name."""
    if empty or "subject" in seen or not seen & {"to", "cc"}:
        return False
    return bool(re.search(r"[@/,;>]", line)) or line[:1] in " \t" or len(line.split()) <= 3
