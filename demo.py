"""A web page to try the models in.

python demo.py                                   # http://127.0.0.1:7860
python demo.py --checkpoint checkpoints/mine     # another model, and its int8
python demo.py --host 0.0.0.0 --port 8000        # for everybody on the network

Needs requirements-demo.txt. Works without a network, and tells nobody anything: what is typed
stays in memory, and files are deleted after an hour, or when the page is stopped.
"""

import argparse
import json
import os
import socket
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

try:
    import gradio as gr
except ImportError:
    gr = None

from attribution import word_attributions
from cards import bars_card, models_card, note, note_card, words_card
from checkpoint import ONNX, SHIPPED, WEIGHTS, find_checkpoint, read_config, read_weights
from classifier import MAX_CHARACTERS, Classifier, load_classifier
from engine import OnnxModel, to_onnx
from errors import InputError, one_line_errors
from labelling import label_file

FILE_TYPES = [".csv", ".tsv", ".jsonl", ".txt"]  # none that could be larger than it looks
FILE_MEGABYTES = 5
WAITING = 200  # requests in the queue, each worked off in some 25 ms
RUNS = 5  # of each model on a text, whose median time is shown
KEEP_SECONDS = 3600  # an uploaded file and its labels
EXAMPLES = {
    "joy": "I was afraid of flying, but the view is so beautiful 😀",
    "sadness": "I feel so lonely since you left, nobody calls anymore",
    "love": "I adore you, you make me feel so loved ❤️",
    "anger": "They cancelled my train AGAIN. I'm furious!",
    "fear": "I'm terrified of tomorrow, my hands are shaking",
    "surprise": "Wow, I did not see that coming, I'm amazed!!",
}


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
    parser.add_argument(
        "--port", type=int, default=7860, help="to listen on (default: %(default)s)"
    )
    return parser.parse_args()


def load_models(checkpoint, tiny):
    """Return the list of Model: the checkpoint in fp32 and in int8, and the tiny one.

    A thread each: a tweet is too short to share out, and other visitors are waiting.
    """
    models = []
    for name in (checkpoint, tiny):
        folder = find_checkpoint(name, wanted=(ONNX, WEIGHTS))
        classify = load_classifier(folder, threads=1)
        file = folder / (ONNX if (folder / ONNX).exists() else WEIGHTS)
        row = f"{Path(name).absolute().name}, {classify.model.precision}"
        models.append(Model(row, classify, file.stat().st_size / 1e6))

    folder = find_checkpoint(checkpoint)
    config = read_config(folder)
    graph = to_onnx(config, read_weights(folder / WEIGHTS), int8=True).SerializeToString()
    engine = OnnxModel(graph, config["classes"], threads=1)
    classify = Classifier(engine, models[0].classify.encode.tokenizer, config["classes"])
    row = f"{Path(checkpoint).absolute().name}, int8"
    models.insert(1, Model(row, classify, len(graph) / 1e6))
    return models


def timed(classify, text):
    """Return (probabilities of the classes, median milliseconds with tokenization)."""
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        probabilities = classify.probabilities([text])[0]
        seconds.append(time.perf_counter() - start)
    return probabilities, 1000 * statistics.median(seconds)


def make_answer(models):
    """Return the function of a text that makes the right half of the page."""
    classify = models[0].classify

    def nothing(sentence):
        zeros = np.zeros(len(classify.classes))
        return bars_card(classify.classes, zeros), note_card(sentence), models_card(models)

    def answer(text):
        text = text.encode(errors="replace").decode()  # as the classifier does: half an emoji
        if len(text) > MAX_CHARACTERS:
            return nothing(
                f"This text has {len(text):,} characters, the limit is {MAX_CHARACTERS:,}. "
                "Many texts can be labelled as a file."
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
            bars_card(classify.classes, probabilities),
            words_card(text, shares, best),
            models_card(models, answers),
        )

    return answer


def make_label(classify):
    """Return the function of an uploaded file that makes the labelled one."""

    def label(upload, column):
        if upload is None:
            return "", gr.DownloadButton(visible=False)
        source = Path(upload)
        # Beside the upload, where Gradio deletes both.
        kind = ".csv" if source.suffix.lower() == ".txt" else source.suffix
        target = source.with_name(f"{source.stem}-labelled{kind}")
        try:
            done = label_file(
                classify,
                source,
                target,
                text_column=column,
                prefix="predicted_",  # the file may well have labels already
                overwrite=True,
                workers=1,
            )
        except (InputError, OSError) as error:
            sentence = str(error).replace(f"{source.parent}{os.sep}", "")
            return note(f"Not labelled. {sentence}"), gr.DownloadButton(visible=False)
        sentence = f"{done.rows - done.unlabelled:,} texts labelled in {done.seconds:.1f} s."
        if done.unlabelled:
            sentence += f" Rows without text: {done.unlabelled:,}."
        button = gr.DownloadButton(f"Download {target.name}", value=target, visible=True)
        return note(sentence), button

    return label


def make_page(models):
    """Lay the page out, and say what calls what."""
    classify, answer = models[0].classify, make_answer(models)
    first = EXAMPLES["joy"]
    with gr.Blocks(
        title="Emotions", analytics_enabled=False, delete_cache=(60, KEEP_SECONDS)
    ) as page:
        gr.HTML(
            f"<h1>Emotions</h1><p>Which of {len(classify.classes)} emotions is in a tweet? "
            "Small LSTMs answer as you type, on this machine's CPU.</p>",
            elem_id="head",
            apply_default_css=False,
        )
        with gr.Row(elem_id="halves"):
            with gr.Column(scale=5, min_width=320):
                text = gr.Textbox(
                    first,
                    label="A tweet, or any short text in English",
                    lines=4,
                    max_lines=8,
                    autofocus=True,
                    elem_id="text",
                )
                with gr.Row(elem_id="examples"):
                    examples = [gr.Button(example, size="sm") for example in EXAMPLES.values()]
                with gr.Column(elem_id="files"):
                    with gr.Row():
                        upload = gr.File(
                            label=f"Or a file, up to {FILE_MEGABYTES} MB, to label it all",
                            file_types=FILE_TYPES,
                            height=110,
                            scale=2,
                            min_width=200,
                            elem_id="upload",
                        )
                        column = gr.Textbox("text", label="Text column", min_width=140)
                    status = gr.HTML(elem_id="status", apply_default_css=False)
                    download = gr.DownloadButton(visible=False, variant="primary", size="md")
            with gr.Column(scale=6, min_width=320):
                cards = [gr.HTML(card, apply_default_css=False) for card in answer(first)]

        text.change(
            answer,
            text,
            cards,
            trigger_mode="always_last",  # what was typed while an answer was on its way
            show_progress="hidden",
            concurrency_limit=1,  # so that the times shown are those of one text alone
            api_name="answer",
        )
        for button in examples:
            fill_in = f"() => {json.dumps(button.value)}"
            button.click(None, None, text, js=fill_in, api_visibility="private")
        gr.on(
            [upload.change, column.change],
            make_label(classify),
            [upload, column],
            [status, download],
            trigger_mode="always_last",
            concurrency_limit=1,
            api_name="label",
        )
    return page.queue(max_size=WAITING)


def main():
    args = parse_arguments()
    if gr is None:
        raise InputError("Gradio is not installed: pip install -r requirements-demo.txt")
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
        max_file_size=FILE_MEGABYTES * 2**20,
        theme=gr.themes.Base(
            primary_hue="blue",
            neutral_hue="slate",
            text_size="lg",
            radius_size="lg",
            font=["system-ui", "sans-serif"],  # the visitor's own: no fonts from elsewhere
            font_mono=["ui-monospace", "monospace"],
        ),
        css_paths=Path(__file__).with_name("demo.css"),
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
    )


if __name__ == "__main__":
    with one_line_errors():
        main()
