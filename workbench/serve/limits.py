"""What one prediction server takes at most, and its command-line options for that."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, fields
from typing import Any


def _limit(default: float, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Limits:
    """The bounds of one server; each is an option of ``python -m workbench.serve.server``."""

    max_body_bytes: int = _limit(1_000_000, "largest request body, in bytes")
    max_texts: int = _limit(128, "most texts in one request")
    max_batch: int = _limit(32, "most texts given to the model at once")
    max_waiting: int = _limit(512, "most texts that may wait for the model")
    deadline_seconds: float = _limit(8.0, "longest time from a read request to its answer")
    body_seconds: float = _limit(10.0, "longest time for a request body to arrive")

    @property
    def most_texts(self) -> int:
        """Most texts in one request that can be taken at all: they wait together."""
        return min(self.max_texts, self.max_waiting)

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """Add one option per limit to a command line."""
        for limit in fields(cls):
            parser.add_argument(
                f"--{limit.name.replace('_', '-')}",
                type=_positive_int if isinstance(limit.default, int) else _positive,
                default=limit.default,
                help=limit.metadata["help"] + " (%(default)s)",
            )

    @classmethod
    def from_options(cls, options: argparse.Namespace) -> Limits:
        """Pick the limits from parsed options."""
        return cls(**{limit.name: getattr(options, limit.name) for limit in fields(cls)})


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _positive_int(text: str) -> int:
    return int(_positive(str(int(text))))
