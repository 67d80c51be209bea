"""The encoder that embeds texts, opened once in each process."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.models.embed import Embedder


@lru_cache(maxsize=1)  # a worker embeds many parts with one model
def open_embedder(model: str, num_threads: int) -> Embedder:
    """Open the encoder of a model folder."""
    from workbench.models.embed import Embedder

    return Embedder(Path(model), num_threads)
