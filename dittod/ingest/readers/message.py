"""A MIME message whose damaged parameters do no harm: those of Content-Type (`charset`, `boundary`) and the like.

Knows what the standard library raises for parameters (RFC 2231) that contradict each other and for charsets that are
none. Does not know other headers, nor what a body is made of (`body`).
"""

from __future__ import annotations

import re
from email.message import Message
from email.utils import collapse_rfc2231_value
from typing import Any

from dittod.ingest.readers.decode import codec_of

_SECTION = re.compile(r"\*\d*")  # of a parameter in several: 'name*0*='


class Mail(Message):
    """What the library itself asks of a mail while it is parsed and its payload is taken goes through here too."""

    def get_param(
        self, param: str, failobj: Any = None, header: str = "content-type", unquote: bool = True
    ) -> Any:  # the library's own is no narrower
        """One string, never RFC 2231's three. A charset that is none is as if it were not there."""
        try:
            value = super().get_param(param, failobj, header, unquote)
        except (TypeError, ValueError):  # 'name*=' beside 'name*0*=', a number of thousands of digits
            value = self._without_sections(header).get_param(param, failobj, header, unquote)
        if isinstance(value, tuple):
            value = _collapsed(value)
        if param == "charset" and isinstance(value, str) and codec_of(value) is None:
            return failobj
        return value

    def _without_sections(self, header: str) -> Message:
        plain: Message = Message()
        plain[header] = _SECTION.sub("", str(self[header]))
        return plain


def _collapsed(value: tuple[str | None, str | None, str]) -> str:
    try:
        return collapse_rfc2231_value(value)
    except ValueError:  # its charset is none
        return value[2]
