"""How a mail is written: register, length, greeting, closing and small habits.

A :class:`Manner` is drawn for every mail and applied to its finished sentences. It keeps the written corpus from having
one voice, so that the model learns that voices differ. It does not know what a mail says.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

GREETINGS = {
    "formal": [
        "Dear {full},",
        "Dear {first},",
        "Good morning {first},",
        "Dear {first},",
        "Good afternoon {first},",
        "Dear {full}:",
    ],
    "work": [
        "Hi {first},",
        "Hello {first},",
        "Dear {first},",
        "{first},",
        "Good morning {first},",
        "Hi {first},",
        "Hello {first}",
    ],
    "casual": [
        "Hi {first},",
        "Hey {first},",
        "Hi {first}!",
        "Hello {first}!",
        "{first},",
        "Hey {first}!",
        "Dear {first},",
        "Hi {first} -",
    ],
}
GREETINGS_OPEN = {
    "formal": ["Dear Sir or Madam,", "To whom it may concern,", "Good day,", "Dear all,", "Good morning,"],
    "work": ["Hello,", "Hi all,", "Hi,", "Dear all,", "Hello everyone,", "Good morning,"],
    "casual": ["Hi,", "Hey,", "Hi there,", "Hello!", "Hi everyone,", "Hey all,"],
}
CLOSINGS = {
    "formal": [
        "Kind regards,",
        "Best regards,",
        "Yours sincerely,",
        "With kind regards,",
        "Sincerely,",
        "Regards,",
        "Respectfully,",
    ],
    "work": [
        "Best,",
        "Thanks,",
        "Best regards,",
        "Regards,",
        "Kind regards,",
        "Many thanks,",
        "Cheers,",
        "All the best,",
    ],
    "casual": [
        "Cheers,",
        "See you,",
        "Take care,",
        "Love,",
        "Thanks!",
        "Bye,",
        "All the best,",
        "Hugs,",
        "Yours,",
        "Talk soon,",
        "x",
    ],
}
OPENINGS = {
    "formal": [
        "I hope this message finds you well.",
        "I hope you are well.",
        "I am writing about {t}.",
        "I am contacting you about {t}.",
        "Thank you for your time.",
        "My name is {me}, and I am writing about {t}.",
        "Please allow me a word about {t}.",
        "This is about {t}.",
        "Thank you for your last mail.",
    ],
    "work": [
        "I hope you are well.",
        "A quick note about {t}.",
        "I hope your week is going well.",
        "This is about {t}.",
        "A short note on {t}.",
        "I hope you had a good weekend.",
        "Just a word about {t}.",
        "It is about {t}.",
        "I am writing about {t}.",
        "One thing about {t}:",
        "Thanks for your time on {day9}.",
        "About {t}:",
    ],
    "casual": [
        "How are you?",
        "I hope all is well.",
        "How are things?",
        "Long time no see!",
        "I hope you are well.",
        "How was your weekend?",
        "Just a quick one.",
        "Remember {t}? Well.",
        "A quick word about {t}.",
        "It was good to see you on {day9}.",
        "Here it is {mood9} today.",
        "So, {t}.",
        "I hope you had a good week.",
    ],
}
ENDINGS = {
    "formal": [
        "Thank you in advance.",
        "I look forward to your answer.",
        "Please contact me if you have any questions.",
        "Thank you for your help.",
        "Thank you for your attention.",
        "I would be grateful for a short answer.",
        "Please let me know if you need anything else.",
    ],
    "work": [
        "Let me know what you think.",
        "Thanks in advance.",
        "Please let me know.",
        "Let me know if you have any questions.",
        "Thank you!",
        "Call me if something is unclear.",
        "Thanks for your help.",
        "Looking forward to hearing from you.",
    ],
    "casual": [
        "Let me know!",
        "Tell me what you think.",
        "See you soon.",
        "Say hello to {other}.",
        "Write soon.",
        "Hope to see you soon.",
        "Give my love to everyone.",
        "Have a nice {day8}.",
    ],
}
POSTSCRIPTS = [
    "P.S. {other} says hello.",
    "P.S. I still have your umbrella.",
    "PS: {other} asked about you.",
    "P.S. Do you have the new number of {other}?",
    "P.S. Thank you for the photos.",
    "PS: The coffee is on me.",
    "P.S. My new address follows.",
    "P.S. {other} will be in {city9} in {month9}.",
]
_CONTRACTIONS = [
    (r"\bI am\b", "I'm"),
    (r"\bI will\b", "I'll"),
    (r"\bI would\b", "I'd"),
    (r"\bI have (?=not|had|been|read|heard|just|already|never)", "I've "),
    (r"\bdo not\b", "don't"),
    (r"\bdoes not\b", "doesn't"),
    (r"\bdid not\b", "didn't"),
    (r"\bcannot\b", "can't"),
    (r"\bcould not\b", "couldn't"),
    (r"\bwill not\b", "won't"),
    (r"\bwould not\b", "wouldn't"),
    (r"\bshould not\b", "shouldn't"),
    (r"\bis not\b", "isn't"),
    (r"\bhas not\b", "hasn't"),
    (r"\bhave not\b", "haven't"),
    (r"\bwas not\b", "wasn't"),
    (r"\bare not\b", "aren't"),
    (r"\bWe are\b", "We're"),
    (r"\bwe are\b", "we're"),
    (r"\bIt is\b", "It's"),
    (r"\bit is\b", "it's"),
    (r"\bThat is\b", "That's"),
    (r"\bthat is\b", "that's"),
    (r"\bYou are\b", "You're"),
    (r"\byou are\b", "you're"),
    (r"\bWe will\b", "We'll"),
    (r"\bwe will\b", "we'll"),
    (r"\bThere is\b", "There's"),
    (r"\bthere is\b", "there's"),
    (r"\bLet us\b", "Let's"),
    (r"\blet us\b", "let's"),
    (r"\bHere is\b", "Here's"),
    (r"\bWhat is\b", "What's"),
    (r"\bYou will\b", "You'll"),
    (r"\byou will\b", "you'll"),
    (r"\bIt will\b", "It'll"),
]


@dataclass(frozen=True)
class Manner:
    """One way of writing; ``length`` is the number of sentences that a mail may add to its bare message."""

    register: str
    voice: str  # plain, dry, warm, exuberant, lower, telegraphic, bullets
    length: int
    contracts: bool
    greeting: bool
    closing: bool
    signed: bool
    postscript: bool


def draw_manner(rng: random.Random, kind: str) -> Manner:
    """A manner that suits a kind of situation (work, formal, friend, family or any)."""
    shares = {
        "work": (("work", 6), ("formal", 2), ("casual", 2)),
        "formal": (("formal", 6), ("work", 4)),
        "friend": (("casual", 7), ("work", 3)),
        "family": (("casual", 9), ("work", 1)),
    }.get(kind, (("work", 4), ("formal", 2), ("casual", 4)))
    register = rng.choices([s[0] for s in shares], [s[1] for s in shares])[0]
    voices = {
        "formal": ["plain"] * 6 + ["dry"] * 2 + ["bullets"],
        "work": ["plain"] * 6 + ["dry"] * 4 + ["telegraphic", "bullets", "warm", "lower"],
        "casual": ["plain"] * 5 + ["warm"] * 3 + ["exuberant"] * 3 + ["lower"] * 2 + ["dry"] * 2 + ["telegraphic"],
    }
    voice = rng.choice(voices[register])
    short = voice in ("dry", "telegraphic")
    return Manner(
        register=register,
        voice=voice,
        length=0 if short else rng.choice((0, 1, 1, 2, 2, 3, 3, 4, 5)),
        contracts=rng.random() < {"formal": 0.1, "work": 0.5, "casual": 0.85}[register],
        greeting=rng.random() < (0.6 if short else 0.93),
        closing=rng.random() < (0.5 if short else 0.88),
        signed=rng.random() < (0.6 if short else 0.9),
        postscript=not short and rng.random() < 0.05,
    )


def restyle(rng: random.Random, manner: Manner, sentences: list[str]) -> list[str]:
    """The sentences in this manner: contracted, shortened or made livelier."""
    done = [contract(s) if manner.contracts else s for s in sentences]
    if manner.voice == "telegraphic":
        done = [telegraphic(s) for s in done]
    if manner.voice == "exuberant":
        done = [exuberant(rng, s) for s in done]
    return done


def contract(text: str) -> str:
    """Common contractions, but not at the end of a clause (*as it is*)."""
    for pattern, short in _CONTRACTIONS:
        text = re.sub(pattern + r"(?![.,;:!?])", short, text)
    return text


def telegraphic(text: str) -> str:
    """Pronouns and politeness dropped, as in a hurried note."""
    for pattern, short in (
        (r"^I(?: am|'m) ", ""),
        (r"^(?:I|We) (?=will |have |need |would |can |cannot )", ""),
        (r"^(?:I|We)'ll ", "Will "),
        (r"^(?:Could|Can|Would) you (?:please )?", "Please "),
        (r"^(?:It is|It's) ", ""),
        (r"^Thank you (?:very much |so much )?for", "Thanks for"),
        (r"^There(?: is|'s) ", ""),
    ):
        changed = re.sub(pattern, short, text)
        if changed != text:
            if text.startswith(("Could you", "Can you", "Would you")):
                changed = changed.replace("?", ".", 1)
            return changed[:1].upper() + changed[1:]
    return text


def exuberant(rng: random.Random, text: str) -> str:
    """Exclamation marks and small cries of joy."""
    if text.endswith(".") and rng.random() < 0.6:
        text = text[:-1] + rng.choice(("!", "!", "!!"))
    if rng.random() < 0.12:
        text = rng.choice(("Wow! ", "Oh, ", "Yay! ", "Guess what: ", "Ha! ")) + text
    return text
