"""English documents found on this machine, for measuring what works on text.

Docstrings and documentation of installed packages, and where ``../shared/data`` is there its
articles, abstracts and web pages (whole, with menus and footers, and their gold bodies).
"""

from __future__ import annotations

import ast
import json
import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

_PACKAGES = Path(sysconfig.get_path("purelib"))
_DATA = Path(__file__).parents[2] / "shared" / "data"
_FEWEST, _MOST = 200, 200_000  # characters in a document
_EVERY = 7  # of the source files: parsing all takes minutes


def local_texts(num_bytes: int) -> list[str]:
    """Return documents of about so many bytes, each kind its share; say on stderr what they are."""
    kinds: dict[str, Callable[[], Iterator[str]]] = {
        "docstrings": _docstrings,
        "package documentation": _documentation,
        "web pages": _pages,
        "article bodies": _bodies,
        "news articles": _articles,
        "abstracts": _abstracts,
    }
    texts: list[str] = []
    for number, (kind, read) in enumerate(kinds.items()):
        room = (num_bytes - _size(texts)) // (len(kinds) - number)
        found = list(_up_to(room, read()))
        print(f"corpus: {len(found)} {kind}, {_size(found) / 1e6:.2f} MB", file=sys.stderr)
        texts += found
    return texts


def _size(texts: list[str]) -> int:
    return sum(len(text.encode()) for text in texts)


def _up_to(num_bytes: int, texts: Iterator[str]) -> Iterator[str]:
    seen, left = set(), num_bytes
    for text in texts:
        if left <= 0:
            return
        if _FEWEST <= len(text) <= _MOST and text not in seen:
            seen.add(text)
            left -= len(text.encode())
            yield text


def _packages() -> list[Path]:
    """Return where packages are installed; an environment may look into another."""
    return [_PACKAGES, *(Path(path) for path in sys.path if path.endswith("site-packages"))]


def _files(pattern: str) -> Iterator[Path]:
    found = {path for folder in _packages() for path in folder.rglob(pattern)}
    return iter(sorted(found))


def _docstrings() -> Iterator[str]:
    for path in islice(_files("*.py"), 0, None, _EVERY):
        try:
            with warnings.catch_warnings(action="ignore"):
                tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):  # some packages ship broken files for their tests
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                yield ast.get_docstring(node) or ""


def _documentation() -> Iterator[str]:
    for pattern in ("*.rst", "*.md", "METADATA"):
        for path in _files(pattern):
            text = path.read_text(errors="ignore")
            yield text.partition("\n\n")[2] if pattern == "METADATA" else text


def _pages() -> Iterator[str]:
    from resiliparse.extract.html2text import extract_plain_text

    for path in sorted((_DATA / "article_extraction" / "html").glob("*")):
        import gzip

        data = path.read_bytes()
        page = gzip.decompress(data) if path.suffix == ".gz" else data
        yield extract_plain_text(page.decode(errors="ignore"))


def _bodies() -> Iterator[str]:
    path = _DATA / "article_extraction" / "ground-truth.json"
    if path.exists():
        for page in json.loads(path.read_text()).values():
            yield page["articleBody"]


def _articles() -> Iterator[str]:
    for path in sorted((_DATA / "minhash_articles").glob("*.train")):
        for line in path.read_text(errors="ignore").splitlines():
            yield line.partition(" ")[2]


def _abstracts() -> Iterator[str]:
    path = _DATA / "cranfield" / "cran.all.1400"
    if path.exists():
        for record in path.read_text(errors="ignore").split("\n.I ")[1:]:
            yield record.partition("\n.W\n")[2]
