"""Main text of web pages beside trafilatura, in quality and in processor time.

Quality is the score of the article-extraction benchmark (Scrapinghub 2019): each page's runs of
four words are compared with the gold body's as bags; precision and recall are means over pages,
and F1 is theirs. Rules were tuned on the pages whose hash is even, and never on the others.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import fmean

from benchmarks._figures import interleaved, print_figure

DATA = Path(__file__).parents[2] / "shared" / "data" / "article_extraction"
_WORD = re.compile(r"\w+")
_SHINGLE_WORDS = 4
Shares = tuple[float, float]  # precision, recall


def main(*, full: bool = False) -> None:
    from trafilatura import extract

    from workbench.data.pages.main_text import main_text

    pages, gold = load(DATA)
    systems: dict[str, Callable[[bytes], str | None]] = {
        "ours": main_text,
        "trafilatura": extract,
        "trafilatura without comments": partial(extract, include_comments=False),
    }
    f1 = {
        name: report(name, {key: system(page) or "" for key, page in pages.items()}, gold)
        for name, system in systems.items()
    }
    best = max(value for name, value in f1.items() if name != "ours")
    print_figure("html", "trafilatura-f1", f1["ours"], best, "trafilatura", "F1",
                 more_is_better=True)  # fmt: skip
    ours, peer = interleaved(
        lambda: [main_text(page) for page in pages.values()],
        lambda: [extract(page) for page in pages.values()],
        25 if full else 7,
    )
    megabytes = sum(map(len, pages.values())) / 1e6
    print_figure("html", "trafilatura-speed", megabytes / ours, megabytes / peer, "trafilatura",
                 "MB per CPU-second", more_is_better=True)  # fmt: skip


def load(folder: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return the pages and their gold bodies, both by the hash that names them."""
    gold = json.loads((folder / "ground-truth.json").read_text())
    pages = {
        key: gzip.decompress((folder / "html" / f"{key}.html.gz").read_bytes())
        for key in sorted(gold)
    }
    return pages, {key: gold[key]["articleBody"] for key in pages}


def report(name: str, texts: Mapping[str, str], gold: Mapping[str, str]) -> float:
    """Say F1 on all pages and on both halves on stderr; return that on all."""
    shares = {key: shares_right(gold[key], text) for key, text in texts.items()}
    halves = {
        "all": list(shares),
        "tuned on": [key for key in shares if is_tuned_on(key)],
        "held out": [key for key in shares if not is_tuned_on(key)],
    }
    for half, keys in halves.items():
        f1, precision, recall = mean_f1([shares[key] for key in keys])
        print(f"{name}, {half} ({len(keys)} pages): F1 {f1:.4f}, precision {precision:.4f}, "
              f"recall {recall:.4f}", file=sys.stderr)  # fmt: skip
    return mean_f1(list(shares.values()))[0]


def is_tuned_on(key: str) -> bool:
    return int(key[:8], 16) % 2 == 0


def shares_right(gold: str, text: str) -> Shares:
    """Return precision and recall of a text's runs of four words, as bags."""
    expected, found = _shingles(gold), _shingles(text)
    hits = (expected & found).total()
    if expected == found:
        return 1.0, 1.0
    return (hits / found.total() if found else 0.0, hits / expected.total() if expected else 0.0)


def mean_f1(shares: list[Shares]) -> tuple[float, float, float]:
    """Return F1 of the mean precision and recall, and these."""
    precision, recall = (fmean(column) for column in zip(*shares, strict=True))
    return 2 * precision * recall / (precision + recall), precision, recall


def _shingles(text: str) -> Counter[tuple[str, ...]]:
    words = _WORD.findall(text)
    last = max(1, len(words) - _SHINGLE_WORDS + 1) if words else 0
    return Counter(tuple(words[start : start + _SHINGLE_WORDS]) for start in range(last))
