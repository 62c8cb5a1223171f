"""The cards of demo.py's page, as HTML. Whatever comes from outside is escaped here."""

from html import escape

from attribution import WORDS

SHOWN_POINTS = 2  # of probability, from which on a word is marked


def percent(share):
    return f"{100 * share:.1f} %"


def bars_card(classes, probabilities):
    """A bar a class, the longest marked."""
    rows = []
    for name, share in zip(classes, probabilities, strict=True):
        best = " best" if share and share == max(probabilities) else ""
        fill = f'<span class="fill" style="width:{100 * share:.2f}%"></span>'
        rows.append(
            f'<div class="bar{best}"><span class="name">{escape(name)}</span>'
            f'<span class="track">{fill}</span><span class="share">{percent(share)}</span></div>'
        )
    return f'<div class="card">{"".join(rows)}</div>'


def words_card(text, shares, answer):
    """The text as typed, with the points of probability that each word moved the answer by.

    Args:
        text: str.
        shares: what `attribution.word_attributions` returns.
        answer: the class that the shares are about.
    """
    parts, done = [], 0
    for start, end, share in shares:
        parts.append(escape(text[done:start]))
        word, points = escape(text[start:end]), round(100 * share)
        if abs(points) >= SHOWN_POINTS:
            side = "for" if points > 0 else "against"
            number = f"{points:+d}".replace("-", "−")
            strength = f"--strength:{min(1, 0.15 + abs(share)):.2f}"
            word = f'<span class="{side}" style="{strength}">{word}<small>{number}</small></span>'
        parts.append(word)
        done = end
    parts.append(escape(text[done:]))
    which = f" of the first {WORDS}" if len(shares) == WORDS else ""
    return (
        f'<div class="card words"><p class="text">{"".join(parts)}</p><p class="legend">'
        f"Points of probability that a word{which} gave to <b>{escape(answer)}</b> "
        '(<span class="for">+</span>) or took from it (<span class="against">−</span>)</p></div>'
    )


def note_card(sentence):
    """A sentence in the place of the words."""
    return f'<div class="card words">{note(sentence)}</div>'


def note(sentence):
    return f'<p class="note">{escape(sentence)}</p>'


def models_card(models, answers=None):
    """A table with a row a model.

    Args:
        models: list of demo.Model.
        answers: list of (probabilities, milliseconds), one a model; None if there is no text.
    """
    rows = []
    for model, answer in zip(models, answers or [None] * len(models), strict=True):
        cells = [escape(model.name), "–", "–", "–", f"{model.megabytes:.2f} MB"]
        if answer:
            probabilities, milliseconds = answer
            best = probabilities.argmax()
            cells[1] = escape(model.classify.classes[best])
            cells[2:4] = percent(probabilities[best]), f"{milliseconds:.2f} ms"
        rows.append("<tr><td>" + "</td><td>".join(cells) + "</td></tr>")
    head = "<th>model</th><th>answer</th><th>probability</th><th>time</th><th>weights</th>"
    return f'<div class="card"><table><tr>{head}</tr>{"".join(rows)}</table></div>'
