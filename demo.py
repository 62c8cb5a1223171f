"""A web page to try the models in.

python demo.py                                   # http://127.0.0.1:7860
python demo.py --checkpoint checkpoints/mine     # another model, and its int8
python demo.py --host 0.0.0.0 --port 8000        # for everybody on the network

Needs requirements-demo.txt. Works without a network, and tells nobody anything: what is typed
stays in memory, and files are deleted after an hour, or when the page is stopped.
"""

import argparse
import os
import socket
import statistics
import time
from html import escape
from pathlib import Path
from typing import NamedTuple

import gradio as gr
import numpy as np

from attribution import word_attributions
from checkpoint import ONNX, SHIPPED, WEIGHTS, find_checkpoint, read_config, read_weights
from classifier import Classifier, load_classifier
from engine import OnnxModel, to_onnx
from errors import InputError, one_line_errors
from labelling import label_file

CHARACTERS = 10_000  # in a text
FILE_MEGABYTES = 5
WAITING = 200  # requests in the queue, each worked off in some 50 ms
RUNS = 5  # of each model on a text, whose median time is shown
KEEP_SECONDS = 3600  # an uploaded file and its labels
EXAMPLES = (
    "I can't stop smiling!!! 😀 Best day ever",
    "I feel so lonely since you left, nobody calls anymore",
    "I adore you, you make me feel so cherished ❤️",
    "They cancelled my train AGAIN. I'm furious!",
    "I'm terrified of tomorrow, my hands are shaking",
    "Wow, I did not see that coming, I'm amazed!!",
)
THEME = gr.themes.Base(
    primary_hue="blue",
    neutral_hue="slate",
    text_size="lg",
    radius_size="lg",
    font=["system-ui", "sans-serif"],  # the visitor's own: no fonts from elsewhere
    font_mono=["ui-monospace", "monospace"],
)


class Model(NamedTuple):
    """One row of the comparison."""

    name: str
    classify: Classifier
    megabytes: float  # of weights


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--checkpoint",
        default=SHIPPED,
        help="the model, shown as it is and in int8: folder or Hub id (default: checkpoints/lstm)",
    )
    parser.add_argument(
        "--tiny",
        default=SHIPPED.with_name("lstm-tiny"),
        help="the one beside it: folder or Hub id (default: checkpoints/lstm-tiny)",
    )
    parser.add_argument(
        "--host",
        # Set where the page runs as a Space, which is reached from outside.
        default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
        help="address to listen on; 0.0.0.0: reachable from the network (default: %(default)s)",
    )
    parser.add_argument("--port", type=int, default=7860, help="(default: %(default)s)")
    return parser.parse_args()


def load_models(checkpoint, tiny):
    """Return the list of Model: the checkpoint in fp32 and in int8, and the tiny one.

    A thread each: a tweet is too short to share out, and other visitors are waiting.
    """
    folder = find_checkpoint(checkpoint)
    config = read_config(folder)
    plain = load_classifier(folder, threads=1)
    graph = to_onnx(config, read_weights(folder / WEIGHTS), int8=True).SerializeToString()
    engine = OnnxModel(graph, config["classes"], threads=1)
    rounded = Classifier(engine, plain.encode.tokenizer, config["classes"])
    models = [
        Model(f"{folder.name}, fp32", plain, (folder / WEIGHTS).stat().st_size / 1e6),
        Model(f"{folder.name}, int8", rounded, len(graph) / 1e6),
    ]
    folder = find_checkpoint(tiny, wanted=(ONNX, WEIGHTS))
    file = folder / (ONNX if (folder / ONNX).exists() else WEIGHTS)
    small = load_classifier(folder, threads=1)
    name = f"{folder.name}, {small.model.precision}"
    return [*models, Model(name, small, file.stat().st_size / 1e6)]


def timed(classify, text):
    """Return (probabilities of the classes, median milliseconds with tokenization)."""
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        probabilities = classify.probabilities([text])[0]
        seconds.append(time.perf_counter() - start)
    return probabilities, 1000 * statistics.median(seconds)


def percent(share):
    return f"{100 * share:.1f} %"


def bars_html(classes, probabilities):
    """A bar a class, the longest marked. All text is escaped, here and below."""
    rows = []
    for name, share in zip(classes, probabilities, strict=True):
        best = " best" if share and share == max(probabilities) else ""
        fill = f'<span class="fill" style="width:{100 * share:.2f}%"></span>'
        rows.append(
            f'<div class="bar{best}"><span class="name">{escape(name)}</span>'
            f'<span class="track">{fill}</span><span class="share">{percent(share)}</span></div>'
        )
    return f'<div class="card">{"".join(rows)}</div>'


def words_html(text, shares, answer):
    """The text as typed; under each word that counts, by how many points it moved the answer."""
    parts, done = [], 0
    for start, end, share in shares:
        parts.append(escape(text[done:start]))
        word, points = escape(text[start:end]), round(100 * share)
        if abs(points) < 2:
            parts.append(word)
        else:
            side = "for" if points > 0 else "against"
            strength = min(1, 0.15 + abs(share))
            number = f"{points:+d}".replace("-", "\N{MINUS SIGN}")
            parts.append(
                f'<span class="{side}" style="--strength:{strength:.2f}">{word}'
                f"<small>{number}</small></span>"
            )
        done = end
    parts.append(escape(text[done:]))
    return (
        f'<div class="card words"><p class="text">{"".join(parts)}</p><p class="legend">'
        f"Points of probability that a word gave to <b>{escape(answer)}</b> "
        f'(<span class="for">+</span>) or took from it (<span class="against">−</span>)</p></div>'
    )


def note_html(sentence):
    return f'<div class="card words"><p class="note">{escape(sentence)}</p></div>'


def models_html(models, answers=None):
    """A row a model; `answers`: list of (probabilities, milliseconds), None if there are none."""
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


def make_answer(models):
    """Return the function of a text that makes the right half of the page."""
    classify = models[0].classify

    def nothing(sentence):
        zeros = np.zeros(len(classify.classes))
        return bars_html(classify.classes, zeros), note_html(sentence), models_html(models)

    def answer(text):
        if len(text) > CHARACTERS:
            return nothing(
                f"This text has {len(text):,} characters; at most {CHARACTERS:,} are read. "
                "To label a long list of texts, upload it as a file."
            )
        if not text.strip():
            return nothing("Type a text, or click an example.")
        shares = word_attributions(classify, text)
        if not shares:
            return nothing(
                "There is no word in this that the model could read: it knows the letters a to z."
            )
        answers = [timed(model.classify, text) for model in models]
        probabilities = answers[0][0]
        best = classify.classes[probabilities.argmax()]
        return (
            bars_html(classify.classes, probabilities),
            words_html(text, shares, best),
            models_html(models, answers),
        )

    return answer


def make_label(classify):
    """Return the function of an uploaded file that makes the labelled one."""

    def label(upload, column):
        source = Path(upload)
        # Beside the upload, where Gradio deletes both.
        target = source.with_name(f"{source.stem}-labelled{source.suffix}")
        if source.suffix == ".txt":
            target = target.with_suffix(".csv")
        try:
            done = label_file(
                classify, source, target, text_column=column, overwrite=True, workers=1
            )
        except (InputError, OSError) as error:
            sentence = str(error).replace(f"{source.parent}{os.sep}", "")
            return file_note(f"Not labelled. {sentence}"), gr.DownloadButton(visible=False)
        sentence = f"{done.rows:,} rows labelled in {done.seconds:.1f} s"
        if done.unlabelled:
            sentence += f", but for {done.unlabelled:,} without text"
        return file_note(sentence + "."), gr.DownloadButton(
            f"Download {target.name}", value=target, visible=True
        )

    return label


def file_note(sentence):
    return f'<p class="note">{escape(sentence)}</p>'


def make_page(models):
    """Lay the page out, and say what calls what."""
    plain = models[0].classify
    # Files are labelled beside typing, and an encoder is not made for two threads.
    for_files = Classifier(plain.model, plain.encode.tokenizer, plain.classes)

    with gr.Blocks(
        title="Emotions", analytics_enabled=False, delete_cache=(60, KEEP_SECONDS)
    ) as page:
        gr.HTML(
            f"<h1>Emotions</h1><p>Which of {len(plain.classes)} emotions is in a tweet? "
            "Small LSTMs answer as you type, on this machine's CPU.</p>",
            elem_id="head",
            apply_default_css=False,
        )
        with gr.Row(elem_id="halves"):
            with gr.Column(scale=5, min_width=320):
                text = gr.Textbox(
                    EXAMPLES[0],
                    label="A tweet, or any short text in English",
                    lines=4,
                    max_lines=8,
                    autofocus=True,
                    elem_id="text",
                )
                with gr.Row(elem_id="examples"):
                    examples = [gr.Button(example, size="sm") for example in EXAMPLES]
                with gr.Column(elem_id="files"):
                    with gr.Row():
                        upload = gr.File(
                            label=f"Or a file, up to {FILE_MEGABYTES} MB, to label it all",
                            file_types=[".csv", ".tsv", ".jsonl", ".parquet", ".txt"],
                            height=110,
                            scale=2,
                            min_width=200,
                            elem_id="upload",
                        )
                        column = gr.Textbox("text", label="Its column of texts", min_width=140)
                    status = gr.HTML(elem_id="status", apply_default_css=False)
                    download = gr.DownloadButton(visible=False, variant="primary")
            with gr.Column(scale=6, min_width=320):
                bars = gr.HTML(elem_id="bars", apply_default_css=False)
                words = gr.HTML(elem_id="words", apply_default_css=False)
                table = gr.HTML(elem_id="models", apply_default_css=False)

        gr.on(
            [page.load, text.change],
            make_answer(models),
            text,
            [bars, words, table],
            trigger_mode="always_last",  # what was typed while an answer was on its way
            show_progress="hidden",
            concurrency_limit=1,  # so that the times shown are those of one text alone
            api_name="answer",
        )
        for button, example in zip(examples, EXAMPLES, strict=True):
            button.click(None, None, text, js=f"() => {example!r}", api_visibility="private")
        upload.upload(
            make_label(for_files),
            [upload, column],
            [status, download],
            concurrency_limit=1,
            api_name="label",
        )
        upload.clear(
            lambda: ("", gr.DownloadButton(visible=False)), None, [status, download], queue=False
        )
    return page.queue(max_size=WAITING)


def main():
    args = parse_arguments()
    try:
        socket.create_server((args.host, args.port)).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"--host {args.host} --port {args.port}: {error}") from None
    page = make_page(load_models(args.checkpoint, args.tiny))
    print(f"http://{args.host}:{args.port} is the page; Ctrl-C stops it", flush=True)
    page.launch(
        server_name=args.host,
        server_port=args.port,
        share=False,
        quiet=True,
        max_file_size=FILE_MEGABYTES * 10**6,
        theme=THEME,
        css_paths=Path(__file__).with_name("demo.css"),
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
    )


if __name__ == "__main__":
    with one_line_errors():
        main()
