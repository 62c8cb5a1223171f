"""The page in a real browser, and under load."""

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from conftest import ROOT

from checkpoint import SHIPPED
from classifier import load_classifier

pytest.importorskip("gradio")
sync_api = pytest.importorskip("playwright.sync_api")
from demo import EXAMPLES  # noqa: E402 (it imports gradio)

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_browser = pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed")

# Notes every connection that the page's process makes to another machine.
WATCH = """
import os, socket
def watched(call):
    def wrapper(*arguments, **options):
        if not any(str(name) in str(arguments) for name in ("127.0.0.1", "localhost")):
            with open(os.environ["CONNECTIONS"], "a") as file:
                print(arguments, file=file)
        return call(*arguments, **options)
    return wrapper
socket.socket.connect = watched(socket.socket.connect)
socket.getaddrinfo = watched(socket.getaddrinfo)
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """The page, as its users start it. When it is stopped, it must leave nothing behind."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "sitecustomize.py").write_text(WATCH)
    uploads = folder / "uploads"
    uploads.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "CONNECTIONS": str(folder / "connections"),
        "GRADIO_TEMP_DIR": str(uploads),
    }
    with open(folder / "stderr", "w") as stderr:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "demo.py"), "--port", str(port)],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        url = process.stdout.readline().split(" ")[0]
        assert url == f"http://127.0.0.1:{port}", (folder / "stderr").read_text()
        wait_for(url)
        yield url
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
    assert "Traceback" not in (folder / "stderr").read_text()
    assert not (folder / "connections").exists()
    # Gradio leaves some empty files.
    assert not [path for path in uploads.rglob("*") if path.is_file() and path.stat().st_size]


def wait_for(url):
    for _ in range(300):
        try:
            urllib.request.urlopen(url).close()
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(url)


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        sync_api.expect.set_options(timeout=20_000)  # milliseconds, of a busy machine
        yield browser
        browser.close()


@pytest.fixture
def page(browser, url):
    """The page as it is once it is open. It must ask nobody else for anything, nor say alert."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    dialogs, elsewhere = [], []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: elsewhere.append(request.url))
    page.goto(url)
    page.locator(".bar.best").wait_for()
    yield page
    context.close()
    assert not dialogs
    assert {request for request in elsewhere if not request.startswith((url, "data:"))} == set()


def bars(page):
    """{class: percent} of what the page shows."""
    rows = page.locator(".bar").all_inner_texts()
    return {
        name: float(share.removesuffix(" %")) for name, share in (row.split("\n") for row in rows)
    }


def fill_in(page, text):
    page.locator("#text textarea").fill(text)
    wait_for_answer(page, text)


def wait_for_answer(page, text):
    """Wait until the page shows the text with its words marked."""
    page.wait_for_function(
        """text => {
            const shown = document.querySelector('.text')?.cloneNode(true);
            shown?.querySelectorAll('small').forEach(points => points.remove());
            return shown?.textContent === text;
        }""",
        arg=text,
    )


@needs_browser
def test_bars_and_words_change_while_typing(page):
    classify = load_classifier(SHIPPED)
    box = page.locator("#text textarea")
    box.fill("")
    typed = ""
    for piece, label in (("I was afraid", "fear"), (" but I feel so happy and proud", "joy")):
        box.press_sequentially(piece)
        typed += piece
        wait_for_answer(page, typed)
        expected = dict(
            zip(classify.classes, 100 * classify.probabilities([typed])[0], strict=True)
        )
        assert bars(page) == pytest.approx(expected, abs=0.06)
        assert max(bars(page), key=bars(page).get) == label
        assert page.locator(".legend b").inner_text() == label
    helped = [word.split("\n")[0] for word in page.locator(".text .for").all_inner_texts()]
    hindered = [word.split("\n")[0] for word in page.locator(".text .against").all_inner_texts()]
    assert {"happy", "proud"} <= set(helped) and "afraid" in hindered


@needs_browser
def test_three_models_answer_each_with_its_time(page):
    fill_in(page, "I feel so lonely")
    rows = [row.split("\t") for row in page.locator(".card tr").all_inner_texts()]
    assert [row[0] for row in rows[1:]] == ["lstm, fp32", "lstm, int8", "lstm-tiny, int8"]
    for row in rows[1:]:
        assert row[1] in bars(page) and float(row[3].removesuffix(" ms")) > 0
    assert rows[1][1] == rows[2][1] == "sadness"


@needs_browser
def test_a_click_on_an_example_shows_its_class(page):
    for label, example in EXAMPLES.items():
        page.get_by_role("button", name=example).click()
        sync_api.expect(page.locator("#text textarea")).to_have_value(example)
        sync_api.expect(page.locator(".bar.best .name")).to_have_text(label)
    assert set(EXAMPLES) == set(bars(page))


@needs_browser
@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script> I am so happy",
        "<img src=x onerror=alert(1)> &lt;b&gt; happy </p></div>",
        "${alert(1)} {{value}} `${alert(1)}` @children so happy",
        "so happy \\u003cscript>alert(1)</script>",
        "'\"></span><svg onload=alert(1)> sad",
        "I'm   SO\nhappy 😀 👨‍👩‍👧 café",
    ],
)
def test_text_is_shown_as_typed_and_never_as_html(page, text):
    fill_in(page, text)
    tags = page.evaluate("[...document.querySelectorAll('.text *')].map(tag => tag.tagName)")
    assert set(tags) == {"SPAN", "SMALL"}


@needs_browser
@pytest.mark.parametrize(
    "text, sentence",
    [
        ("", "Type a text"),
        ("  \n ", "Type a text"),
        ("😀", "no word"),
        ("@user https://t.co/x 你好", "no word"),
        (100_000 * "a", "100,000 characters, the limit is 10,000"),
    ],
    ids=["empty", "blank", "emoji", "no-letters", "long"],
)
def test_what_cannot_be_answered_gets_a_sentence(page, text, sentence):
    page.locator("#text textarea").fill(text)
    sync_api.expect(page.locator(".words .note")).to_contain_text(sentence)
    assert set(bars(page).values()) == {0}
    fill_in(page, "and then I was happy")


@needs_browser
def test_half_an_emoji_is_no_error(page):
    page.evaluate(
        """() => {
            const box = document.querySelector('#text textarea');
            box.value = 'so glad \\ud83d';
            box.dispatchEvent(new Event('input', {bubbles: true}));
        }"""
    )
    sync_api.expect(page.locator(".text .for", has_text="glad")).to_be_visible()


def upload(page, path):
    page.set_input_files("#upload input[type=file]", path)


@needs_browser
def test_a_csv_comes_back_labelled(page, tmp_path):
    texts = ["I am so happy", 'they are "mad", <b>really</b>', "", "I feel lonely"]
    path = tmp_path / "my tweets.csv"
    with open(path, "w", newline="") as file:
        rows = [(number, text, "mine") for number, text in enumerate(texts)]
        csv.writer(file).writerows([("id", "text", "label"), *rows])
    upload(page, path)
    sync_api.expect(page.locator("#status")).to_contain_text("3 texts labelled")
    sync_api.expect(page.locator("#status")).to_contain_text("Rows without text: 1")
    with page.expect_download() as download:
        page.get_by_text("Download my tweets-labelled.csv").click()
    with open(download.value.path(), newline="") as file:
        found = list(csv.DictReader(file))
    labels, _ = load_classifier(SHIPPED)(texts)
    labels[2] = ""
    assert [row["predicted_label"] for row in found] == labels
    assert [(row["text"], row["label"]) for row in found] == [(text, "mine") for text in texts]


@needs_browser
def test_a_column_of_another_name(page, tmp_path):
    path = tmp_path / "tweets.tsv"
    path.write_text("id\ttweet\n1\tI am so happy\n")
    upload(page, path)
    status = page.locator("#status")
    sync_api.expect(status).to_contain_text("tweets.tsv: no column 'text', it has id, tweet")
    page.get_by_label("Text column").fill("tweet")
    sync_api.expect(status).to_contain_text("1 texts labelled")
    page.get_by_label("Clear").click()
    sync_api.expect(status).to_be_empty()


@needs_browser
@pytest.mark.parametrize(
    "name, content, sentence",
    [
        ("open.csv", b'text\n"never closed\n', "open.csv: line"),
        ("empty.csv", b"", "empty.csv: empty file"),
        ("latin.csv", b"text\ncaf\xe9\n", "latin.csv: line 2 is not UTF-8"),
        ("<img src=x onerror=alert(1)>.csv", b"a,a\n1,2\n", "two columns are called 'a'"),
    ],
)
def test_a_broken_file_gets_a_sentence(page, tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    upload(page, tmp_path / name)
    status = page.locator("#status")
    sync_api.expect(status).to_contain_text(sentence)
    assert "/" not in status.inner_text()  # where the server keeps it is nobody's business
    assert status.locator("img").count() == 0
    assert page.get_by_text("Download").count() == 0


@needs_browser
@pytest.mark.parametrize(
    "name, size, sentence",
    [("large.csv", 6 * 2**20, "exceed the maximum allowed size"), ("tweets.pdf", 9, "file type")],
)
def test_a_file_that_is_too_large_or_of_another_type(page, tmp_path, name, size, sentence):
    (tmp_path / name).write_bytes(b"text\nsad\n".ljust(size, b"\n"))
    upload(page, tmp_path / name)
    sync_api.expect(page.locator(".toast-wrap")).to_contain_text(sentence)


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_is_on_one_screen_and_readable(page, scheme):
    page.emulate_media(color_scheme=scheme)
    page.reload()
    page.locator(".bar.best").wait_for()
    height, ink, paper = page.evaluate(
        """() => {
            const light = color => color.match(/[0-9.]+/g).slice(0, 3).reduce((a, b) => a + +b, 0);
            const card = getComputedStyle(document.querySelector('.card'));
            return [document.documentElement.scrollHeight, light(card.color),
                    light(card.backgroundColor)];
        }"""
    )
    assert height <= 800
    assert (ink - paper if scheme == "dark" else paper - ink) > 300  # of 765
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_twenty_visitors_at_once_are_all_answered(run, url, tmp_path):
    output = tmp_path / "demo.json"
    code, printed, stderr = run("benchmark_demo.py", "--url", url, "--texts", 3, "--output", output)
    assert code == 0, stderr
    assert "20 visitors" in printed and "60 of 60 texts answered" in printed
    result = json.loads(output.read_text())
    assert result["answers"] == 60 and 0 < result["median_ms"] <= result["p95_ms"]


def test_a_page_that_is_not_there(fails):
    assert "127.0.0.1:9" in fails("benchmark_demo.py", "--url", "http://127.0.0.1:9")


def test_a_port_that_is_taken(fails):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"--port {port}" in fails("demo.py", "--port", port)


def test_without_gradio(fails, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert "requirements-demo.txt" in fails("demo.py")


def test_a_checkpoint_that_is_not_there(fails):
    assert "nowhere" in fails("demo.py", "--port", 0, "--checkpoint", "nowhere")
