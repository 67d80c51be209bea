"""Sentence embeddings from an encoder: the mean of its last hidden states, at unit length."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from workbench.models.folder import max_tokens_of
from workbench.models.text_encoder import TextEncoder, length_batches

if TYPE_CHECKING:
    import torch


class Embedder:
    """Turns texts into vectors whose dot product is their cosine similarity.

    Source: Reimers and Gurevych 2019 (mean pooling over the tokens that are no padding).
    """

    def __init__(self, folder: Path, num_threads: int = 1, max_tokens: int | None = None) -> None:
        """Open the encoder of a native model folder; a head on it is left out.

        Raises:
            DataError: the folder was refused (see ``check_folder``).
            StageError: a weight of the encoder is missing.
        """
        import torch

        from workbench.models.checkpoint import open_encoder

        torch.set_num_threads(num_threads)
        self._encoder = TextEncoder(folder, max_tokens or max_tokens_of(folder))
        self._model = open_encoder(folder).eval()
        self.width = int(self._model.config.hidden_size)  # type: ignore[union-attr, arg-type]

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return float32 [num_texts, width], unit-length rows in the order of the texts.

        Raises:
            DataError: a text is no text.
        """
        import torch

        rows = self._encoder.encode(texts)
        vectors = np.empty((len(rows), self.width), np.float32)
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        with torch.inference_mode():
            for batch in length_batches(lengths):
                padded = self._encoder.pad([rows[n] for n in batch])
                inputs = {name: torch.from_numpy(array) for name, array in padded.items()}
                hidden = self._model(**inputs).last_hidden_state
                pooled = mean_pool(hidden, inputs["attention_mask"])
                vectors[batch] = torch.nn.functional.normalize(pooled, dim=-1).numpy()
        return vectors


def mean_pool(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Average hidden states [rows, tokens, width] over the tokens that the mask keeps."""
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
