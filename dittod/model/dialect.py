"""What a chat template tells of its model's habits: how it reasons, how it calls tools, which switches it has.

Reads the template's text and nothing else, so it only knows the families named here. A model of another family is
shown its tools in plain words, and asked to call them as `PLAIN` says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import jinja2
import jinja2.meta


@dataclass(frozen=True, slots=True)
class CallSyntax:
    """How a model writes that it calls a tool.

    tagged: opening, {"name": …, "arguments": {…}}, closing · listed: opening, a list of such objects
    named: opening, the name, '[ARGS]', {…} · bare: the object is the answer, with or without the opening
    """

    form: Literal["tagged", "listed", "named", "bare"]
    opening: str
    closing: str = ""
    arguments: str = "arguments"  # the key they stand under
    gap: str = ""  # what the model writes between tag and object, and between calls

    @property
    def markers(self) -> tuple[str, ...]:
        """Texts that are no content, and may be tokens of their own."""
        others = (CALL_ID, ARGUMENTS) if self.form == "named" else ()
        return tuple(each for each in (self.opening, self.closing, *others) if each)


CALL_ID, ARGUMENTS = "[CALL_ID]", "[ARGS]"
PLAIN = CallSyntax("tagged", "<tool_call>", "</tool_call>")
_TAGGED = CallSyntax("tagged", "<tool_call>", "</tool_call>", gap="\n")
_LISTED = CallSyntax("listed", "[TOOL_CALLS]")
_NAMED = CallSyntax("named", "[TOOL_CALLS]")
_BARE = CallSyntax("bare", "<|python_tag|>", arguments="parameters")

_HERMES = re.compile(r"""<tool_call>[\s"'\\n{}-]{0,20}\{\\?["'](?:name|arguments)""")  # Qwen 3 Coder writes XML there
_LLAMA = re.compile(r'"parameters\\?": ')
_REASONING = (("<think>", "</think>"), ("[THINK]", "[/THINK]"), ("<|channel>thought", "<channel|>"))


@dataclass(frozen=True, slots=True)
class Dialect:
    """The habits of one chat template."""

    calls: CallSyntax = PLAIN
    takes_tools: bool = False  # the template itself tells the model about tools, their calls and results
    reasoning: tuple[str, str] | None = None  # opening and closing of what the model thinks before it answers
    switches: frozenset[str] = frozenset()  # of enable_thinking and reasoning_effort, those that the template reads

    @property
    def reasons(self) -> bool:
        """Whether there is a place for reasoning."""
        return self.reasoning is not None or bool(self.switches)


@lru_cache(maxsize=8)
def dialect_of(template: str | None) -> Dialect:
    """The dialect of a chat template; of a model without one, the plain one."""
    if not template:
        return Dialect()
    variables = jinja2.meta.find_undeclared_variables(_parsed(template))
    calls = _calls(template) if "tools" in variables else None
    reasoning = next((pair for pair in _REASONING if pair[1] in template), None)
    return Dialect(
        calls or PLAIN, calls is not None, reasoning, frozenset({"enable_thinking", "reasoning_effort"} & variables)
    )


def _parsed(template: str) -> jinja2.nodes.Template:
    """With the extension that transformers' own templates use; blocks for training only are read as comments."""
    environment = jinja2.Environment(extensions=["jinja2.ext.loopcontrols"])  # parsed, never rendered
    return environment.parse(re.sub(r"\{%-?\s*(?:end)?generation\s*-?%\}", "", template))


def _calls(template: str) -> CallSyntax | None:
    if _HERMES.search(template):
        return _TAGGED
    if "[TOOL_CALLS]" in template:
        return _NAMED if ARGUMENTS in template else _LISTED
    if "ipython" in template and _LLAMA.search(template):
        return _BARE
    return None
