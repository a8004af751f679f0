"""Masks what must not be learnt: card numbers, IBANs, social security numbers, keys, tokens, passwords, and what the
user lists. Pure.

Knows checksums and the shapes of common credentials, and masks rather than drops. Does not know names, addresses or
anything secret only by its meaning, unless the user lists it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

_KEY_BLOCK = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY(?: BLOCK)?)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)
_TOKEN = re.compile(
    r"(?<![\w-])(?:sk-(?:[a-z]+-)*[A-Za-z0-9_-]{20,}|(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{16,}|gh[oprsu]_[A-Za-z0-9]{30,}"
    r"|github_pat_[A-Za-z0-9_]{30,}|glpat-[A-Za-z0-9_-]{20,}|xox[abeoprs]-[A-Za-z0-9-]{10,}|A(?:KIA|SIA)[0-9A-Z]{16}"
    r"|AIza[A-Za-z0-9_-]{35}|hf_[A-Za-z0-9]{30,}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{40,}"
    r"|dop_v1_[a-f0-9]{64}|shp(?:at|ss|ca|pa)_[a-fA-F0-9]{32}|whsec_[A-Za-z0-9+/]{24,}|ya29\.[A-Za-z0-9_-]{20,}"
    r"|dapi[a-f0-9]{32}|key-[a-f0-9]{32}|\d{8,10}:AA[A-Za-z0-9_-]{33}|hooks\.slack\.com/services/[A-Za-z0-9/_-]{20,}"
    r"|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*)"
)
_LABELLED_TOKEN = re.compile(
    r"(?i)\b((?:api|access|secret|auth|client)[ _-]?(?:key|token|secret)(?: is)?\s*[:=]?\s*[\"'`]?|bearer )"
    r"(?=[A-Za-z_+/.-]*\d)([A-Za-z0-9_+/.-]{12,}=*)"
)
_URL_SECRET = re.compile(
    r"(?i)([?&](?:access_|auth_|api_?)?(?:token|key|secret|password|pwd|sig|signature)=)([^\s&#\"'<>]{6,})"
)
_URL_PASSWORD = re.compile(r"(?<=://)([^\s/:@]+):([^\s/@]+)@")
_PASSWORD_WORD = (
    r"pass ?words?|passwd|pass ?phrase|pass ?code|pwd|pw|passwort|kennwort|mot de passe|contraseña|senha|wachtwoord"
    r"|parola d'ordine|hasło|пароль|lösenord|adgangskode|密码|密碼|パスワード"
)
_IS = r"(?:is|ist|lautet|est|es|è|é|to|är|er|will be)"
_PASSWORD = re.compile(
    rf"(?i)(?<!\w)((?:{_PASSWORD_WORD})(?:\s+{_IS})?\s*[:=：]\s*[\"'`]?)(?!\[masked)([^\s\"'`]{{3,}})"
)
_SAID_PASSWORD = re.compile(  # 'the password is hunter2': only what looks like one, 'the password is wrong' stays
    rf"(?i)(?<!\w)((?:{_PASSWORD_WORD})\s+{_IS}\s+(?:now )?[\"'`]?)"
    r"(?!\[masked)(?=[^\s\"'`]*[\d!#$%&*@^])([^\s\"'`]{4,}?)(?=[.,;!?]?(?:[\s\"'`]|\Z))"
)
_QUOTED_PASSWORD = re.compile(  # 'the password is "swordfish"'
    rf"(?i)(?<!\w)((?:{_PASSWORD_WORD})\s+{_IS}\s+(?:now )?[\"“„«'`])"
    r"(?!\[masked)([^\n\"”“»'`]{3,40})(?=[\"”“»'`])"
)
_UNSPACED_PASSWORD = re.compile(r"((?:密码|密碼|パスワード)\s?[是为為はが]\s?[「“]?)([A-Za-z0-9!-/:-@\[-`{-~]{4,})")
_PIN = re.compile(  # also the codes that are sent for one sign-in, and the one on the back of a card
    r"(?i)\b((?:PIN|CVV2?|CVC2?|(?:verification|security|access|one[- ]time|login) code)(?: (?:code|number|no\.?))?"
    r"(?: is|:|=|\s)\s*)(\d{3,8})\b(?![.,]\d)"
)
_SOCIAL_SECURITY = re.compile(r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])")
_CARD = re.compile(r"(?<![\w.])[2-6]\d(?:[ -]?\d){11,17}(?![\w])")
_IBAN = re.compile(r"(?<!\w)([A-Z]{2}\d{2})((?: ?[A-Z0-9]){11,30})(?!\w)")
_IBAN_REGISTRY = (  # characters in all, by country: ISO 13616
    "AD=24 AE=23 AL=28 AT=20 AZ=28 BA=20 BE=16 BG=22 BH=22 BR=29 CH=21 CR=22 CY=28 CZ=24 DE=22 DK=18 "
    "DO=28 EE=20 ES=24 FI=18 FO=18 FR=27 GB=22 GE=22 GI=23 GL=18 GR=27 GT=28 HR=21 HU=28 IE=22 IL=23 "
    "IS=26 IT=27 JO=30 KW=30 KZ=20 LB=28 LI=21 LT=20 LU=20 LV=21 MC=27 MD=24 ME=22 MK=19 MR=27 MT=31 "
    "MU=30 NL=18 NO=15 PK=24 PL=28 PS=29 PT=25 QA=29 RO=24 RS=22 SA=24 SE=24 SI=19 SK=24 SM=27 TN=24 "
    "TR=26 UA=29 VG=24 XK=20"
)
_IBAN_LENGTHS = dict(entry.split("=") for entry in _IBAN_REGISTRY.split())


@dataclass(frozen=True, slots=True)
class Masked:
    """A text without its secrets, and how many of each kind were masked."""

    text: str
    counts: Mapping[str, int]


def mask(text: str, listed: Sequence[str] = ()) -> Masked:
    """Puts '[masked card]', '[masked iban]', '[masked number]', '[masked key]', '[masked token]', '[masked password]'
    for secrets, and '[masked]' for what is `listed` by the user, in any case and however it is spaced."""
    counts: Counter[str] = Counter()

    def replace(pattern: re.Pattern[str], kind: str, rewrite: Callable[[re.Match[str]], str]) -> None:
        def one(match: re.Match[str]) -> str:
            new = rewrite(match)
            counts[kind] += new != match.group()
            return new

        nonlocal text
        text = pattern.sub(one, text)

    for secret in (each for each in listed if each.strip("- \t\n")):
        replace(_listed(secret), "listed", lambda match: "[masked]")
    replace(_KEY_BLOCK, "key", lambda match: "[masked key]")
    replace(_TOKEN, "token", lambda match: "[masked token]")
    replace(_LABELLED_TOKEN, "token", lambda match: f"{match.group(1)}[masked token]")
    replace(_URL_PASSWORD, "password", lambda match: f"{match.group(1)}:[masked password]@")
    replace(_URL_SECRET, "token", lambda match: f"{match.group(1)}[masked token]")
    for pattern in (_PASSWORD, _QUOTED_PASSWORD, _SAID_PASSWORD, _UNSPACED_PASSWORD, _PIN):
        replace(pattern, "password", lambda match: f"{match.group(1)}[masked password]")
    replace(_IBAN, "iban", _without_iban)
    replace(_CARD, "card", lambda match: "[masked card]" if is_card_number(match.group()) else match.group())
    replace(_SOCIAL_SECURITY, "number", lambda match: "[masked number]")
    return Masked(text, {kind: count for kind, count in counts.items() if count})


def is_card_number(text: str) -> bool:
    """Luhn: from the right, every second digit doubled (minus 9 above 9); the sum is a multiple of 10."""
    digits = [int(character) for character in reversed(text) if character.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[1::2]]
    return len(digits) in range(13, 20) and len(set(digits)) > 1 and (sum(digits[::2]) + sum(doubled)) % 10 == 0


def is_iban(text: str) -> bool:
    """ISO 7064: country and check digits moved to the end, letters as 10 to 35, the number is 1 modulo 97."""
    compact = text.replace(" ", "")
    if _IBAN_LENGTHS.get(compact[:2]) != str(len(compact)):
        return False
    return int("".join(str(int(character, 36)) for character in compact[4:] + compact[:4])) % 97 == 1


def _listed(secret: str) -> re.Pattern[str]:
    """The user's own words for it: spaces and dashes between them may differ, a longer word around it is another."""
    words = r"[\s-]*".join(re.escape(word) for word in re.split(r"[\s-]+", secret) if word)
    return re.compile(rf"(?i)(?<!\w){words}(?!\w)")


def _without_iban(match: re.Match[str]) -> str:
    """Masks the IBAN at the start of a match that may run on into capital letters behind it."""
    found = match.group()
    length = int(_IBAN_LENGTHS.get(found[:2], 0))
    end, characters = 0, 0
    while characters < length and end < len(found):
        characters += found[end] != " "
        end += 1
    return f"[masked iban]{found[end:]}" if length and is_iban(found[:end]) else found
