"""Write the sample's three CSV files: python sample/make.py makes them again, byte for byte."""

import csv
import random
import re
from pathlib import Path

from phrases import (
    CLOSERS,
    CONTEXTS,
    FEELINGS,
    NEUTRAL_TAGS,
    OPENERS,
    REACTIONS,
    SCENES,
    TAGS,
)

# Rows a class in train; a validation and a test split have an eighth of them each.
ROWS = {"sadness": 696, "joy": 808, "love": 192, "anger": 320, "fear": 288, "surprise": 96}
CONFUSED_WITH = {
    "sadness": "fear",
    "joy": "love",
    "love": "joy",
    "anger": "sadness",
    "fear": "surprise",
    "surprise": "fear",
}


def phrases(text):
    return [part.strip() for part in re.split(r"\||\n", text) if part.strip()]


FEELINGS, REACTIONS, SCENES = (
    {label: phrases(text) for label, text in table.items()}
    for table in (FEELINGS, REACTIONS, SCENES)
)
CONTEXTS, OPENERS, CLOSERS = phrases(CONTEXTS), phrases(OPENERS), phrases(CLOSERS)


def feeling(label, rng):
    """A clause that names the emotion."""
    adjective = rng.choice(FEELINGS[label])
    frame = rng.choices(
        ("i feel {}", "i am feeling {}", "im feeling {}", "i felt {}", "i still feel {}",
         "feeling {}", "i have been feeling {}", "i cant help feeling {}", "i started to feel {}",
         "it left me feeling {}", "why do i feel {}", "you make me feel {}"),
        (8, 4, 4, 4, 2, 4, 2, 2, 2, 2, 1, 2),
    )[0]  # fmt: skip
    return frame.format(adjective)


def compose(label, rng):
    """One text: a core that carries the emotion, and what people put around it."""
    other = CONFUSED_WITH[label]
    kind = rng.random()
    if kind < 0.34:
        core = f"{feeling(label, rng)} {rng.choice(CONTEXTS)}"
    elif kind < 0.48:
        core = f"{rng.choice(CONTEXTS)} {rng.choice(REACTIONS[label])}"
    elif kind < 0.62:
        core = f"{rng.choice(SCENES[label])} and {feeling(label, rng)}"
    elif kind < 0.74:
        core = f"{rng.choice(SCENES[label])}, {rng.choice(REACTIONS[label])}"
    elif kind < 0.86:
        link = rng.choice(("and", "because", "so"))
        core = f"{feeling(label, rng)} {rng.choice(CONTEXTS)} {link} {rng.choice(REACTIONS[label])}"
    elif kind < 0.92:
        denied = rng.choice(FEELINGS[other])
        core = f"i am not {denied}, {feeling(label, rng)} {rng.choice(CONTEXTS)}"
    elif kind < 0.97:
        core = (
            f"{rng.choice(CONTEXTS)} {rng.choice(REACTIONS[other])} but now {feeling(label, rng)}"
        )
    else:  # two emotions that a reader could not rank
        core = f"{rng.choice(CONTEXTS)} {feeling(label, rng)} and {rng.choice(FEELINGS[other])}"
    if rng.random() < 0.3:
        core = f"{rng.choice(OPENERS)}{rng.choice((', ', ' ', '... '))}{core}"
    if rng.random() < 0.35:
        core = f"{core}{rng.choice((', ', ' ', '. '))}{rng.choice(CLOSERS)}"
    return typed(core, label, rng)


def typed(text, label, rng):
    """The text as different people type it, a third of them as the real corpus has it."""
    if rng.random() < 0.35:
        return re.sub(r" +", " ", re.sub(r"[^a-z ]", "", text))
    text = re.sub(r"\bi\b", "I", text)
    text = re.sub(r"\bI am\b", lambda m: rng.choice(("I am", "I'm", "I’m")), text)
    text = re.sub(r"\bcannot\b", lambda m: rng.choice(("cannot", "can't")), text)
    text = re.sub(r"\b(did|do|does|will|would) not\b", contract(rng), text)
    text = re.sub(r"\bcant\b", "can’t", text)
    text = re.sub(r"\bim\b", "I'm", text)
    if rng.random() < 0.15:
        text = re.sub(r"\bso\b", "s" + "o" * rng.randint(3, 6), text, count=1)
    if rng.random() < 0.1:  # letters swapped inside one of the long words
        long_words = [word for word in text.split() if len(word) > 6 and word.isalpha()]
        if long_words:
            word = rng.choice(long_words)
            at = rng.randint(1, len(word) - 3)
            text = text.replace(word, word[:at] + word[at + 1] + word[at] + word[at + 2 :], 1)
    text = text[0].upper() + text[1:] + rng.choice((".", "!", "", "!!", "...", ".", "?!"))
    text = re.sub(r"(\. )([a-z])", lambda m: m[1] + m[2].upper(), text)
    if rng.random() < 0.06:
        text = text.upper()
    if rng.random() < 0.1:
        text = f"@{rng.choice(('sam_k', 'lena22', 'the_bakery', 'coachjo', 'mrsplum'))} {text}"
    if rng.random() < 0.22:
        tags = TAGS[label] if rng.random() < 0.6 else NEUTRAL_TAGS
        text = f"{text} {rng.choice(tags.split())}"
    if rng.random() < 0.05:
        text = f"{text} https://t.co/{''.join(rng.choices('abcdefghkmnpqrstuvwxyz23456789', k=8))}"
    return text


def contract(rng):
    return lambda match: rng.choice((match[0], {"will": "won't"}.get(match[1], f"{match[1]}n't")))


def letters(text):
    """What is left of a text when only its words count: no two rows share it."""
    words = re.sub(r"https?://\S+|@\w+|['’]", "", text.lower())
    return " ".join(re.findall(r"[a-z]+", re.sub(r"(.)\1{2,}", r"\1\1", words)))


def main():
    rng = random.Random(2026)
    seen = set()
    for split, share in (("train", 1), ("validation", 1 / 8), ("test", 1 / 8)):
        rows = []
        for label, count in ROWS.items():
            wanted = len(rows) + round(count * share)
            while len(rows) < wanted:
                text = compose(label, rng)
                if letters(text) not in seen:
                    seen.add(letters(text))
                    rows.append((text, label))
        rng.shuffle(rows)
        with open(
            Path(__file__).parent / f"{split}.csv", "w", newline="", encoding="utf-8"
        ) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("text", "label"))
            writer.writerows(rows)


if __name__ == "__main__":
    main()
