"""A corpus that every machine has: documentation inside installed packages, and copies of it."""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np

_TEXT_FILES = (".md", ".rst", ".txt")
_LARGEST_FILE = 1_000_000
_FEWEST_CHARACTERS = 200
_DOCSTRING = re.compile(r'"""(.+?)"""', re.DOTALL)
_COPIES_PER_TEXT = 0.15


def documentation(megabytes: float) -> list[str]:
    """Return texts of installed packages: their docstrings, a text a file, and their text files."""
    texts, size = [], 0.0
    for text in _texts():
        texts.append(text)
        size += len(text.encode()) / 1e6
        if size >= megabytes:
            break
    return texts


def with_near_copies(texts: list[str], seed: int = 0) -> list[str]:
    """Return the texts and, among them, changed copies of some: up to a tenth of words replaced."""
    random = np.random.default_rng(seed)
    copied = []
    for row in np.flatnonzero(random.random(len(texts)) < _COPIES_PER_TEXT).tolist():
        words = texts[row].split(" ")
        is_changed = random.random(len(words)) < random.uniform(0, 0.1)
        for place in np.flatnonzero(is_changed).tolist():
            words[place] = words[int(random.integers(len(words)))]
        copied.append(" ".join(words))
    every = [*texts, *copied]
    return [every[place] for place in random.permutation(len(every))]


def _texts() -> Iterator[str]:
    folders = dict.fromkeys(sysconfig.get_paths()[name] for name in ("purelib", "stdlib"))
    for path in _files([Path(folder) for folder in folders]):
        text = path.read_text(encoding="utf-8", errors="ignore")
        if path.suffix == ".py":
            text = "\n\n".join(_DOCSTRING.findall(text))
        if len(text) >= _FEWEST_CHARACTERS:
            yield text


def _files(folders: list[Path]) -> list[Path]:
    found = {
        path
        for folder in (*folders, *_linked(folders))
        for path in folder.rglob("*")
        if path.suffix in (".py", *_TEXT_FILES) and path.is_file()
        and path.stat().st_size <= _LARGEST_FILE
    }  # fmt: skip
    by_name = sorted(found, key=lambda path: str(path))
    order = np.random.default_rng(0).permutation(len(by_name))
    return [by_name[place] for place in order]


def _linked(folders: list[Path]) -> list[Path]:
    """Return the folders that ``.pth`` files of environments name."""
    lines = [
        line for folder in folders for file in folder.glob("*.pth")
        for line in file.read_text().splitlines()
    ]  # fmt: skip
    return [Path(line) for line in lines if Path(line).is_dir() and "site-packages" in line]
