"""A user's own module as the classifier that the training, the strategies and the export expect."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch  # noqa: TID253 (only ranks and the stage's work import this module)
from safetensors.torch import load_file
from torch import nn  # noqa: TID253

from workbench.core.errors import StageError
from workbench.models.checkpoint import open_encoder
from workbench.models.folder import (
    CONFIG,
    OWN_MODEL,
    TOKENIZER,
    copy_tokenizer,
    read_json,
    write_facts,
    write_json,
)
from workbench.models.onnx_export import export_module
from workbench.train.options import FitJob
from workbench.train.user_model import UserModel


class OwnClassifier(nn.Module):
    """What a user's function built: ``output.logits`` of ``input_ids`` and ``attention_mask``."""

    def __init__(self, own: UserModel, job: FitJob) -> None:
        """Build it; the same seed gives the same weights."""
        super().__init__()
        encoder: Any = open_encoder(job.model) if own.has_encoder else None
        known = read_json(job.model / CONFIG)
        num_tokens = int(known.get("vocab_size") or _num_tokens(job.model))
        torch.manual_seed(job.options.seed)
        self.module = own(encoder=encoder, num_tokens=num_tokens, num_labels=len(job.labels))
        self.config = SimpleNamespace(
            pad_token_id=known.get("pad_token_id"), vocab_size=num_tokens,
            max_position_embeddings=known.get("max_position_embeddings"),
        )  # fmt: skip
        self._own = own
        self._num_labels = len(job.labels)
        # Kept out of the list of modules: it is one of the module's already.
        self._encoder = [encoder] if any(part is encoder for part in self.module.modules()) else []

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
        """Return ``logits`` [texts, labels]."""
        logits = self.module(input_ids, attention_mask)
        logits = getattr(logits, "logits", logits)
        wanted = (input_ids.shape[0], self._num_labels)
        if tuple(getattr(logits, "shape", ())) != wanted:
            told = (
                f"a tensor of {tuple(logits.shape)}" if hasattr(logits, "shape") else repr(logits)
            )
            raise self._own.failed(f"it answered with {told:.80}, not {wanted}")
        return SimpleNamespace(logits=logits)

    def get_input_embeddings(self) -> Any:
        """Return the encoder's word embeddings, of which only the rows that are read are trained.

        None where the user's module reads words by itself: how it does is not known here.
        """
        return self._encoder[0].get_input_embeddings() if self._encoder else None

    def set_input_embeddings(self, embeddings: Any) -> None:
        """Replace the encoder's word embeddings."""
        self._encoder[0].set_input_embeddings(embeddings)

    def gradient_checkpointing_enable(self, arguments: dict[str, Any]) -> None:
        """Have the encoder compute its activations again on the way back."""
        if self._encoder:
            self._encoder[0].gradient_checkpointing_enable(arguments)


def describe_own(own: UserModel, job: FitJob, folder: Path, pad_token_id: int | None) -> None:
    """Write all of an own classifier's folder but weights and graph; no code is among it."""
    names = dict(enumerate(job.labels))
    write_json(folder / CONFIG, {
        "model_type": OWN_MODEL, "architectures": [own.name], "id2label": names,
        "label2id": {label: number for number, label in names.items()},
        "pad_token_id": pad_token_id,
    })  # fmt: skip
    copy_tokenizer(job.model, folder, job.max_tokens)
    write_facts(folder, job.labels, job.max_tokens)


def export_own(job: FitJob, weights: Path | None, target: Path) -> None:
    """Write an own classifier as an ONNX graph, with trained weights or those that it starts with.

    Raises:
        StageError: the module cannot be exported, or the graph differs from it.
    """
    assert job.own_model is not None
    model = OwnClassifier(job.own_model, job).eval()
    if weights is not None:
        model.load_state_dict(load_file(weights))
    example = torch.ones(2, 4, dtype=torch.int64)
    try:
        with torch.inference_mode():
            model(input_ids=example, attention_mask=example)
        export_module(model, target, job.max_tokens)
    except StageError:
        raise
    except Exception as error:
        raise job.own_model.failed(
            f"it cannot be written as an ONNX graph: {type(error).__name__}: {error}"
        ) from error


def _num_tokens(folder: Path) -> int:
    from tokenizers import Tokenizer

    return int(Tokenizer.from_file(str(folder / TOKENIZER)).get_vocab_size())
