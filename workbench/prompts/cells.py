"""Answers that are kept one by one as they come: what was answered is not asked, or paid, again.

A cell is one prompt as it was put to one scorer; its key is a hash of all that decides the answer.
Each attempt of a run appends to a file of its own, so that one that is still dying spoils nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from workbench.prompts.scorers.scorer import ScorerSpec, Written
from workbench.prompts.version import Messages, PromptVersion

_FOLDER = "cells"


class Cells:
    """The kept answers of one run."""

    def __init__(self, folder: Path, term: int) -> None:
        """Read what earlier attempts have kept; open the file of this one."""
        place = folder / _FOLDER
        place.mkdir(exist_ok=True)
        self._known: dict[str, Written] = {}
        self._read = self._written = 0
        for path in sorted(place.glob("*.jsonl")):
            for key, written in _read(path):
                self._add(key, written)
        self._file = (place / f"{term:06d}.jsonl").open("ab")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __getitem__(self, key: str) -> Written:
        return self._known[key]

    @property
    def used(self) -> tuple[int, int]:
        """Return how many tokens were read and written for all kept answers."""
        return self._read, self._written

    def keep(self, key: str, written: Written) -> None:
        """Make an answer durable."""
        line = json.dumps({"key": key, **written._asdict()}, ensure_ascii=False)
        self._file.write(line.encode() + b"\n")
        self._file.flush()
        os.fdatasync(self._file.fileno())
        self._add(key, written)

    def _add(self, key: str, written: Written) -> None:
        self._known[key] = written
        self._read += written.tokens_read
        self._written += written.tokens_written


def _read(path: Path) -> Iterator[tuple[str, Written]]:
    for line in path.read_bytes().split(b"\n"):
        try:
            found: dict[str, Any] = json.loads(line)
            yield found.pop("key"), Written(**found)
        except (ValueError, KeyError, TypeError):
            continue  # the last line of an attempt that was killed while it wrote


def cell_key(version: PromptVersion, scorer: ScorerSpec, asked: Messages) -> str:
    """Return the key of a prompt that is put to a scorer."""
    content = [version.content_hash, scorer.cell_settings(), asked]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()
