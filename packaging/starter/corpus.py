"""The written corpus: e-mails, replies, notes and short articles with their instructions, made by a grammar (CC0).

``conversations(seed)`` yields an endless, deterministic stream of chats, each a list of ``{"role", "content"}``. What is
said comes from the files in ``situations/``, how it is said from :mod:`manner`, the words from :mod:`lexicon`. No text of
a real person is in it. Run as a script it prints samples:

    python packaging/starter/corpus.py --seed 1 --count 5
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from grammar import Scene, tidy
from lexicon import first_name, last_name
from manner import (
    CLOSINGS,
    ENDINGS,
    GREETINGS,
    GREETINGS_OPEN,
    OPENINGS,
    POSTSCRIPTS,
    Manner,
    contract,
    draw_manner,
    restyle,
)

Message = dict[str, str]
SITUATIONS = Path(__file__).parent / "situations"
GROUPS = [
    "the team",
    "all",
    "everyone",
    "the board",
    "the group",
    "the parents",
    "the neighbours",
    "the committee",
]
ROLES = {
    "formal": [
        "the landlord",
        "the school",
        "customer service",
        "the shop",
        "the office",
        "the town hall",
        "the manager",
    ],
    "work": ["my boss", "the team", "a customer", "a colleague", "our supplier", "the whole department"],
    "casual": [
        "a friend",
        "my neighbour",
        "my friends",
        "a colleague",
        "my family",
        "my sister",
        "my brother",
    ],
}
FREE_FORMS = [
    "Write an e-mail to {to} {brief}.",
    "Write an email to {to} {brief}.",
    "write an email to {to} {brief}",
    "Write {to} an email {brief}.",
    "Please write a short email to {to} {brief}.",
    "Draft an e-mail to {to} {brief}.",
    "Draft a short note to {to} {brief}.",
    "Can you write an email to {to} {brief}?",
    "I need an e-mail to {to} {brief}.",
    "write a mail to {to} {brief}",
    "Write a note to {to} {brief}.",
    "email {to} {brief}",
    "Compose an email to {to} {brief}.",
    "Help me write an email to {to} {brief}.",
    "Write a message to {to} {brief}.",
]
WISHES = [
    ("", None),
    (" Keep it short.", "dry"),
    (", keep it short", "dry"),
    (" Make it brief.", "dry"),
    (" Be friendly.", "warm"),
    (" Make it formal.", "formal"),
    (" Keep it formal.", "formal"),
    (" Use bullet points.", "bullets"),
    (" Make it casual.", "casual"),
    (" Make it sound happy.", "exuberant"),
    (" Two sentences at most.", "dry"),
    (" in a friendly tone", "warm"),
]


@dataclass
class Situation:
    """One thing people write about: subjects, topic, brief, ordered moves, optional sentences and replies."""

    kind: str = "any"
    subjects: str = ""
    topic: str = "it"
    brief: str = ""
    moves: list[list[str]] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    replies: list[str] = field(default_factory=list)


def alternatives(line: str) -> list[str]:
    """The parts of a line that are parted by `` | `` outside of any bracket."""
    parts, depth, current = [], 0, ""
    for character in line:
        depth += (character == "[") - (character == "]")
        if character == "|" and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += character
    return [part for part in [*parts, current.strip()] if part]


def read_situations(name: str) -> list[Situation]:
    """The situations of one file; the format is described in the README."""
    found: list[Situation] = []
    for line in (SITUATIONS / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        key, _, rest = line.partition(":" if not line.startswith("=") else "=")
        if line.startswith("="):
            found.append(Situation(kind=rest.strip().removeprefix("k:")))
        elif not line or line.startswith("#"):
            continue
        elif key == "s":
            found[-1].subjects = rest.strip()
        elif key == "t":
            found[-1].topic = rest.strip()
        elif key == "b":
            found[-1].brief = rest.strip()
        elif key == "o":
            found[-1].options = alternatives(rest)
        elif key == "r":
            found[-1].replies = alternatives(rest)
        else:
            found[-1].moves.append(alternatives(rest))
    return found


def read_smalltalk() -> list[tuple[str, str]]:
    """Pairs of templates: what is said to the model, what it answers."""
    lines = (SITUATIONS / "smalltalk.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split(" => ") for line in lines if " => " in line]
    return [(said, answered) for said, answered in pairs]


def open_topic(scene: Scene) -> str:
    """A noun phrase without article for the situations that take any subject."""
    rng = scene.rng
    form = rng.choice(
        ["<adj> <thing>"] * 5
        + ["<thing>"] * 4
        + ["<thing> <abstract>"] * 3
        + [
            "<field> <doc>",
            "<field> <thing>",
            "<thing> in <city>",
            "<thing> and the <thing2>",
            "<thing> for <name>",
            "<word> <thing>",
        ]
        + [
            "<company> <thing>",
            "<project>",
            "<word> <doc>",
            "<adj> <field> <doc>",
            "<month> <thing>",
            "<thing> at <place>",
            "<word>",
        ]
        + [
            "<day8> <thing>",
            "<city> <thing>",
            "<word> <abstract>",
            "<adj> <product>",
            "<course> <thing>",
            "<event>",
            "<adj> <doc>",
        ]
    )
    return scene.expand(form)


@dataclass
class Person:
    """Someone with a first name and, as prompts show them, a longer form."""

    first: str
    full: str

    def shown(self, rng: random.Random) -> str:
        """The form in a prompt: first name, full name or the local part of an address."""
        given, _, family = self.full.lower().replace("'", "").partition(" ")
        local = rng.choice(
            (f"{given}.{family}", f"{given}_{family}", f"{given[0]}{family}", given, f"{given}{family[0]}")
        )
        if given[0] + family == local:  # the first name cannot be guessed from it
            local = f"{given}.{family}"
        return rng.choices((self.first, self.full, local), (5, 3, 2))[0]


def draw_person(rng: random.Random) -> Person:
    """A person with an everyday or invented name."""
    first = first_name(rng)
    return Person(first, f"{first} {last_name(rng)}")


def body_sentences(scene: Scene, situation: Situation, manner: Manner) -> list[str]:
    """The message itself: the moves in order, shortened in short manners."""
    kept = [move for i, move in enumerate(situation.moves) if i == 0 or scene.rng.random() < (0.96 if i == 1 else 0.85)]
    said = [scene.sentence(scene.rng.choice(move)) for move in kept]
    if manner.voice in ("dry", "telegraphic"):
        return said[: 1 if said[0].endswith("?") and scene.rng.random() < 0.5 else scene.rng.choice((2, 2, 3))]
    return said


def fill_phrase(scene: Scene, phrase: str, topic: str) -> str:
    """A greeting-card phrase of :mod:`manner` with its braces filled from the scene."""
    slots = {
        "t": topic,
        "other": "<name8>",
        "day8": "<weekend8>",
        "day9": "<day9>",
        "city9": "<city9>",
        "month9": "<month9>",
    }
    slots |= {
        "me": scene.facts["me"],
        "mood9": "[sunny|raining|quiet|very hot|grey and wet]",
        "full": "",
        "first": "",
    }
    return scene.sentence(phrase.format(**slots))


def greeting_line(rng: random.Random, manner: Manner, person: Person | None, group: str = "") -> str:
    """The first line; without a known person an open greeting."""
    if person is not None:
        return rng.choice(GREETINGS[manner.register]).format(first=person.first, full=person.full)
    if group in ("the team", "all", "everyone") and rng.random() < 0.6:
        word = group.removeprefix("the ")
        return rng.choice((f"Hi {word},", f"Dear {word},", f"Hello {word},"))
    return rng.choice(GREETINGS_OPEN[manner.register])


def layout(scene: Scene, manner: Manner, greeting: str, message: list[str], rest: list[str], me: Person) -> str:
    """Greeting, paragraphs, closing and signature put together."""
    rng = scene.rng
    if manner.voice == "bullets" and len(message) >= 3:
        text = message[0] + "\n\n" + "\n".join("- " + s for s in message[1:])
    elif len(message) >= 4 and rng.random() < 0.5:
        text = " ".join(message[:2]) + "\n\n" + " ".join(message[2:])
    else:
        text = " ".join(message)
    if rest:
        text += (
            rng.choice(("\n\n", "\n\n", " ")) + " ".join(rest) if manner.voice != "bullets" else "\n\n" + " ".join(rest)
        )
    parts = [greeting] if manner.greeting else []
    joined = "\n\n".join([*parts, text]) if rng.random() < 0.93 else "\n".join([*parts, text])
    joined += closing_lines(rng, manner, me)
    if manner.postscript:
        joined += "\n\n" + fill_phrase(scene, rng.choice(POSTSCRIPTS), "it")
    return joined.lower() if manner.voice == "lower" else joined


def closing_lines(rng: random.Random, manner: Manner, me: Person) -> str:
    """The closing phrase and the signature, each of which may be left out."""
    name = me.full if manner.register == "formal" and rng.random() < 0.6 else me.first
    if manner.register != "formal" and rng.random() < 0.06:
        name = me.first[0]
    if manner.closing:
        phrase = rng.choice(CLOSINGS[manner.register])
        return f"\n\n{phrase}\n{name}" if manner.signed else f"\n\n{phrase.rstrip(',')}"
    return f"\n\n{name}" if manner.signed else ""


def write_mail(
    scene: Scene,
    situation: Situation,
    manner: Manner,
    to: Person | None,
    me: Person,
    group: str = "",
    aside: str = "",
) -> str:
    """A whole mail about the situation."""
    rng = scene.rng
    scene.facts["me"] = me.first
    topic = scene.expand(situation.topic)
    message = body_sentences(scene, situation, manner)
    opening = []
    if manner.voice not in ("dry", "telegraphic") and rng.random() < 0.4:
        opening = [fill_phrase(scene, rng.choice(OPENINGS[manner.register]), topic)]
    extras = rng.sample(situation.options, min(len(situation.options), max(0, manner.length - 1)))
    rest = [scene.sentence(option) for option in extras]
    if aside and manner.length >= 3:
        rest.append(aside)
    if manner.length and rng.random() < 0.45:
        rest.append(fill_phrase(scene, rng.choice(ENDINGS[manner.register]), topic))
    message = restyle(rng, manner, message)
    if opening and opening[0].endswith(":"):
        message[0] = opening.pop() + " " + message[0]
    greeting = greeting_line(rng, manner, to, group)
    if manner.voice == "bullets" and opening:
        message[0] = opening.pop() + " " + message[0]
    return layout(scene, manner, greeting, opening + message, restyle(rng, manner, rest), me)


def write_reply(scene: Scene, situation: Situation, manner: Manner, to: Person, me: Person, aside: str = "") -> str:
    """The answer to a mail about the situation; it uses the same facts."""
    rng = scene.rng
    text = scene.sentence(rng.choice(situation.replies))
    sentences = re.split(r"(?<=[.!?]) (?=[A-Z])", text)
    rest = []
    if manner.length >= 2 and rng.random() < 0.6:
        rest.append(fill_phrase(scene, rng.choice(ENDINGS[manner.register]), scene.expand(situation.topic)))
    if aside and manner.length >= 3:
        rest.insert(0, aside)
    greeting = greeting_line(rng, manner, to)
    return layout(scene, manner, greeting, restyle(rng, manner, sentences), restyle(rng, manner, rest), me)


def show_subject(rng: random.Random, subject: str) -> str:
    """The subject as people type it: capital first, lower case, or in title case; sometimes with a prefix."""
    subject = tidy(subject)
    draw = rng.random()
    if draw < 0.3:
        subject = subject[:1].lower() + subject[1:]
    elif draw < 0.38:
        subject = subject.lower()
    elif draw < 0.46:
        subject = " ".join(w[:1].upper() + w[1:] if len(w) > 3 else w for w in subject.split())
    return rng.choice(("Re: ", "RE: ", "Fwd: ")) + subject if rng.random() < 0.04 else subject


class Corpus:
    """The grammar with its situations read; every method takes its own random source."""

    def __init__(self) -> None:
        self.specific = [s for name in ("work", "home", "town") for s in read_situations(name)]
        self.open = read_situations("open")
        self.articles = read_situations("articles")
        self.smalltalk = read_smalltalk()

    def draw_scene(self, rng: random.Random) -> tuple[Scene, Situation, Person, Person]:
        """A situation with its scene and the two people in it: the writer and the other one."""
        situation = rng.choice(self.open if rng.random() < 0.45 else self.specific)
        me, other = draw_person(rng), draw_person(rng)
        scene = Scene(rng, {"me": me.first, "name90": me.first, "name91": other.first})
        if situation.kind == "any":
            scene.facts["topic"] = open_topic(scene)
        return scene, situation, me, other

    def aside(self, rng: random.Random) -> str:
        """A second matter, as people add it at the end of a longer mail; mostly there is none."""
        if rng.random() < 0.8:
            return ""
        scene = Scene(rng)
        scene.facts["topic"] = open_topic(scene)
        said = [scene.sentence(rng.choice(move)) for move in rng.choice(self.open).moves[:2]]
        return rng.choice(("One more thing. ", "By the way: ", "And another thing. ", "", "Also: ")) + " ".join(said)

    def new_mail(self, rng: random.Random) -> list[Message]:
        """A request for a mail in the product's words, and the mail."""
        scene, situation, me, other = self.draw_scene(rng)
        manner = draw_manner(rng, situation.kind)
        subject = show_subject(rng, scene.expand(situation.subjects))
        form = rng.choices(("both", "subject", "person", "group"), (70, 14, 8, 8))[0]
        to: Person | None = other if form in ("both", "person") else None
        group = rng.choice(GROUPS) if form == "group" else ""
        name = other.shown(rng) if to else group
        request = {
            "both": f'Write an e-mail to {name} about "{subject}".',
            "group": f'Write an e-mail to {name} about "{subject}".',
            "subject": f'Write an e-mail about "{subject}".',
            "person": f"Write an e-mail to {name}.",
        }[form]
        return self.chat(rng, request, write_mail(scene, situation, manner, to, me, group, self.aside(rng)), me)

    def free_mail(self, rng: random.Random) -> list[Message]:
        """A request in free words, sometimes with a wish for the manner, and the mail."""
        scene, situation, me, other = self.draw_scene(rng)
        manner = draw_manner(rng, situation.kind)
        known = rng.random() < 0.75
        wish, asked = rng.choice(WISHES) if rng.random() < 0.35 else ("", None)
        if asked:
            manner = wished_manner(rng, manner, asked)
        name = rng.choice((other.first, other.first, other.full)) if known else rng.choice(ROLES[manner.register])
        brief = scene.expand(situation.brief)
        request = tidy(rng.choice(FREE_FORMS).format(to=name, brief=brief))
        request = request.rstrip(".") + wish if wish.startswith((",", " in")) else request + wish
        if rng.random() < 0.15:
            request = request.lower()
        group = name if name in GROUPS else ""
        return self.chat(rng, request, write_mail(scene, situation, manner, other if known else None, me, group), me)

    def reply(self, rng: random.Random) -> list[Message]:
        """A received mail and the answer to it."""
        scene, situation, me, other = self.draw_scene(rng)
        theirs = write_mail(scene, situation, draw_manner(rng, situation.kind), me, other)
        subject = show_subject(rng, scene.expand(situation.subjects))
        about = f' about "{subject}"' if rng.random() < 0.5 else ""
        request = f"Write a reply to this e-mail from {other.shown(rng)}{about}:\n\n{theirs}"
        if rng.random() < 0.06:
            request = rng.choice(
                (f"Reply to this email:\n\n{theirs}", f"Answer this mail from {other.first}:\n\n{theirs}")
            )
        manner = draw_manner(rng, situation.kind)
        answer = write_reply(scene, situation, manner, other, me, self.aside(rng))
        return self.chat(rng, request, answer, me)

    def article(self, rng: random.Random) -> list[Message]:
        """A request for a text by its title or its first words, and the text."""
        scene = Scene(rng)
        situation = rng.choice(self.articles)
        title = tidy(scene.expand(situation.subjects))
        sentences = [scene.sentence(rng.choice(move)) for move in situation.moves if rng.random() < 0.9] or [
            title + "."
        ]
        if rng.random() < 0.4:
            sentences = [contract(s) for s in sentences]
        split = rng.randint(1, len(sentences))
        text = "\n\n".join(p for p in (" ".join(sentences[:split]), " ".join(sentences[split:])) if p)
        first = " ".join(text.split()[: rng.randint(4, 14)])
        request = rng.choices(
            (
                f'Write a text titled "{title}".',
                f'Write a text that begins with: "{first}".',
                f"Write a short article: {title}",
            ),
            (5, 3, 1),
        )[0]
        return self.chat(rng, request, text, None)

    def talk(self, rng: random.Random) -> list[Message]:
        """A little conversation of one or two turns."""
        messages: list[Message] = []
        for said, answered in rng.sample(self.smalltalk, rng.choice((1, 1, 2))):
            scene = Scene(rng)
            messages.append({"role": "user", "content": scene.expand(said)})
            messages.append({"role": "assistant", "content": scene.expand(answered).strip()})
        return messages

    def chat(self, rng: random.Random, request: str, answer: str, me: Person | None) -> list[Message]:
        """Request and answer as messages, now and then under a system prompt."""
        messages = [{"role": "user", "content": request}, {"role": "assistant", "content": answer}]
        if rng.random() < 0.06:
            prompts = [
                "You are a helpful assistant.",
                "You write short e-mails.",
                "You are a writing assistant.",
            ]
            if me is not None:
                prompts += [
                    f"You write e-mails for {me.full}.",
                    f"You are {me.full}.",
                    f"You write as {me.first}.",
                ]
            messages.insert(0, {"role": "system", "content": rng.choice(prompts)})
        return messages

    def draw(self, rng: random.Random) -> list[Message]:
        """One chat of any kind."""
        kinds = (self.new_mail, self.reply, self.free_mail, self.article, self.talk)
        return rng.choices(kinds, (46, 28, 14, 8, 4))[0](rng)


def wished_manner(rng: random.Random, manner: Manner, asked: str) -> Manner:
    """The manner changed as the request asks."""
    if asked in ("formal", "casual"):
        return Manner(asked, "plain", manner.length, asked == "casual", True, True, True, False)
    register = "casual" if asked in ("exuberant", "warm") else manner.register
    length = 0 if asked == "dry" else max(2, manner.length)
    return Manner(register, asked, length, manner.contracts, rng.random() < 0.9, rng.random() < 0.8, True, False)


def conversations(seed: int) -> Iterator[list[Message]]:
    """An endless stream of chats; the same seed gives the same stream."""
    corpus, rng = Corpus(), random.Random(seed)
    while True:
        yield corpus.draw(rng)


def main() -> None:
    """Print some chats."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=5)
    arguments = parser.parse_args()
    for number, chat in zip(range(arguments.count), conversations(arguments.seed), strict=False):
        print(f"----- {number}")
        for message in chat:
            print(f"[{message['role']}] {message['content']}")


if __name__ == "__main__":
    main()
