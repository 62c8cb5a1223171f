"""How long visitors of the demo wait for an answer when many of them type at once.

python demo.py                           # in one terminal
python benchmark_demo.py                 # in another: 20 visitors, 25 texts each
python benchmark_demo.py --visitors 50

Each types the texts of the sample one after the other, the next as soon as one is answered, so
that the page never rests. Needs requirements-demo.txt.
"""

import argparse
import csv
import json
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path

import httpx
import numpy as np
from tqdm import tqdm

from errors import InputError, one_line_errors, replacing

ROOT = Path(__file__).parent


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--url", default="http://127.0.0.1:7860", help="of the page (default: %(default)s)"
    )
    parser.add_argument(
        "--visitors", type=int, default=20, help="at the same time (default: %(default)s)"
    )
    parser.add_argument(
        "--texts", type=int, default=25, help="that each of them types (default: %(default)s)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=ROOT / "results" / "demo" / "load.json",
        help="file of the result (default: results/demo/load.json)",
    )
    args = parser.parse_args()
    for flag in ("visitors", "texts"):
        if getattr(args, flag) < 1:
            raise InputError(f"--{flag}: must be at least 1")
    return args


def visit(url, texts, bar):
    """Type the texts; return the seconds until each was answered."""
    seconds = []
    with httpx.Client(base_url=url, timeout=60) as client:
        for text in texts:
            start = time.perf_counter()
            asked = client.post("/gradio_api/call/answer", json={"data": [text]})
            event = asked.raise_for_status().json()["event_id"]
            answer = client.get(f"/gradio_api/call/answer/{event}").raise_for_status().text
            seconds.append(time.perf_counter() - start)
            check(text, answer)
            bar.update()
    return seconds


def check(text, answer):
    """Raise InputError unless what the page sent, server-sent events, is the answer to the text."""
    *_, last = answer.strip().split("\n\n")
    name, data = (line.partition(": ")[2] for line in last.split("\n"))
    if name != "complete":
        raise InputError(f"no answer to '{text}', but {name}: {data}")
    _, words, _ = json.loads(data)
    shown = unescape(re.sub(r"<small>.*?</small>|<[^>]+>", "", words))
    if not shown.startswith(text):
        raise InputError(f"the answer to '{text}' is about '{shown}'")


def main():
    args = parse_arguments()
    with open(ROOT / "sample" / "test.csv", encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    parts = [
        [texts[(visitor * args.texts + i) % len(texts)] for i in range(args.texts)]
        for visitor in range(args.visitors)
    ]
    total = args.visitors * args.texts
    with (
        tqdm(total=total, desc="texts", disable=None, leave=False) as bar,
        ThreadPoolExecutor(args.visitors) as pool,
    ):
        start = time.perf_counter()
        try:
            visits = list(pool.map(visit, [args.url] * len(parts), parts, [bar] * len(parts)))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error).partition("\n")[0]
            raise InputError(f"--url {args.url}: {reason}; is demo.py there, and idle?") from None
        duration = time.perf_counter() - start
    milliseconds = 1000 * np.concatenate(visits)
    result = {
        "visitors": args.visitors,
        "answers": len(milliseconds),
        "median_ms": float(np.median(milliseconds)),
        "p95_ms": float(np.quantile(milliseconds, 0.95)),
        "answers_per_second": total / duration,
        "cores": len(os.sched_getaffinity(0)),
    }
    with replacing(args.output) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(
        f"{args.visitors} visitors at once on {result['cores']} cores: {len(milliseconds):,} of "
        f"{total:,} texts answered, median {result['median_ms']:.0f} ms, 95th percentile "
        f"{result['p95_ms']:.0f} ms, {result['answers_per_second']:.0f} answers/s"
    )


if __name__ == "__main__":
    with one_line_errors():
        main()
