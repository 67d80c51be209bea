"""Classifying texts with a model folder: ONNX without torch, or a stock checkpoint with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.core.errors import StageError
from workbench.models.folder import check_folder, labels_of, max_tokens_of, onnx_file
from workbench.models.onnx_file import read_onnx
from workbench.models.text_encoder import Batch, TextEncoder, length_batches

Scores = npt.NDArray[np.float32]
Forward = Callable[[Batch], Scores]  # input_ids and attention_mask -> logits


class Predictor:
    """A classifier that is ready: its labels, and probabilities for texts.

    A dynamically quantised graph scales its activations by batch, so that a text's probabilities
    move a little (about 0.01) with the texts beside it; float graphs do not.
    """

    def __init__(self, encoder: TextEncoder, labels: list[str], forward: Forward) -> None:
        self.labels = labels
        self.max_tokens = encoder.max_tokens
        self._encoder = encoder
        self._forward = forward

    def predict(self, texts: Sequence[str]) -> Scores:
        """Return probabilities, float32 [num_texts, num_labels], rows in the order of the texts.

        Raises:
            DataError: a text is no text.
            StageError: the model answered with no number.
        """
        return softmax(self.logits(texts))

    def logits(self, texts: Sequence[str]) -> Scores:
        """Return the outputs before the softmax; shape, order and errors as ``predict``."""
        rows = self._encoder.encode(texts)
        answer = np.empty((len(rows), len(self.labels)), np.float32)
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        for batch in length_batches(lengths):
            answer[batch] = self._forward(self._encoder.pad([rows[n] for n in batch]))
        if not np.isfinite(answer).all():
            raise StageError("The model answered with no number (NaN or infinity)",
                             where=f"text {int(np.argmin(np.isfinite(answer).all(axis=1)))}",
                             next_step="Train it again; its weights are damaged.")  # fmt: skip
        return answer


def softmax(logits: npt.NDArray[Any]) -> Scores:
    """Turn logits [..., num_labels] into probabilities that sum to 1."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True), dtype=np.float32)
    probabilities: Scores = shifted / shifted.sum(axis=-1, keepdims=True)
    return probabilities


def load_predictor(folder: Path, num_threads: int = 1) -> Predictor:
    """Open a classifier; with an ONNX graph in the folder neither torch nor transformers load.

    Args:
        folder: a model folder, native (safetensors) or with an ONNX graph, which goes first.
        num_threads: how many threads one batch may use.

    Raises:
        DataError: the folder was refused (see ``check_folder``) or is no classifier.
    """
    check_folder(folder)
    labels = labels_of(folder)
    graph = onnx_file(folder)
    forward = _onnx(graph, num_threads) if graph else _native(folder, num_threads)
    return Predictor(TextEncoder(folder, max_tokens_of(folder)), labels, forward)


def _onnx(path: Path, num_threads: int) -> Forward:
    session = open_session(read_onnx(path), num_threads)
    names = [entry.name for entry in session.get_inputs()]
    output = session.get_outputs()[0].name

    def forward(batch: Batch) -> Scores:
        inputs = {name: batch.get(name, _zeros(batch)) for name in names}
        answer: Scores = session.run([output], inputs)[0]
        return answer

    return forward


def _zeros(batch: Batch) -> npt.NDArray[np.int64]:
    return np.zeros_like(batch["input_ids"])  # token_type_ids of single texts


def open_session(graph: bytes, num_threads: int) -> Any:
    """Open an ONNX Runtime session on the processor, quiet and with bounded threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning threads burn the cores of whoever else serves on this machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _native(folder: Path, num_threads: int) -> Forward:
    import torch

    from workbench.models.checkpoint import open_classifier

    torch.set_num_threads(num_threads)
    model = open_classifier(folder).eval()

    def forward(batch: Batch) -> Scores:
        with torch.inference_mode():
            inputs = {name: torch.from_numpy(array) for name, array in batch.items()}
            answer: Scores = model(**inputs).logits.float().numpy()
        return answer

    return forward
