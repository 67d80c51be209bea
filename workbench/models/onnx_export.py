"""A native classifier as one ONNX file, proved to answer as the original does."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.core.errors import StageError
from workbench.models.checkpoint import open_classifier
from workbench.models.folder import max_tokens_of
from workbench.models.predictor import open_session
from workbench.models.text_encoder import Batch

if TYPE_CHECKING:
    import torch

OPSET = 18  # what torch's exporter writes without converting
LARGEST_DIFFERENCE = 1e-4  # of logits, float32 against float32


def export_onnx(model_folder: Path, target: Path, opset: int = OPSET) -> None:
    """Write a classifier as one ONNX file with free batch and sequence axes.

    Inputs ``input_ids`` and ``attention_mask``, and ``token_type_ids`` where the model has any,
    all int64 [batch, sequence]; output ``logits``, float32 [batch, num_labels].

    Raises:
        DataError: the folder was refused, or is no native checkpoint.
        StageError: the graph differs from the model by more than 1e-4 in any logit.
    """
    model = open_classifier(model_folder).eval()
    export_module(model, target, max_tokens_of(model_folder), opset)


def export_module(
    model: torch.nn.Module, target: Path, max_tokens: int, opset: int = OPSET
) -> None:
    """Write a module that answers with ``logits``, as ``export_onnx`` writes a folder's.

    Raises:
        StageError: the graph differs from the module by more than 1e-4 in any logit.
    """
    import torch

    names = _inputs(model)
    # Padding in the example: without any, the exporter would leave the mask out of the graph.
    example = _examples(model, [(2, 8)], max_tokens)[0]
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    with _quiet():
        program = torch.onnx.export(
            _logits_module(model, names), tuple(example[name] for name in names),
            dynamo=True, opset_version=opset, verbose=False, optimize=True,
            input_names=names, output_names=["logits"],
            dynamic_shapes={"inputs": tuple(axes for _ in names)},
        )  # fmt: skip
        assert program is not None
        graph = _without_remarks(program.model_proto)
    target.write_bytes(graph.SerializeToString(deterministic=True))
    _check_parity(model, target, names, max_tokens)


def _inputs(model: torch.nn.Module) -> list[str]:
    names = ["input_ids", "attention_mask"]
    accepts = inspect.signature(model.forward).parameters
    if "token_type_ids" in accepts and getattr(model.config, "type_vocab_size", 0) > 1:
        names.append("token_type_ids")
    return names


def _logits_module(model: torch.nn.Module, names: list[str]) -> torch.nn.Module:
    """Make a module that takes tensors in the order of ``names`` and returns logits alone."""
    import torch

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: torch.Tensor) -> Any:
            return self.model(**dict(zip(names, inputs, strict=True))).logits

    return Logits().eval()


def _without_remarks(proto: Any) -> Any:
    """Drop what the exporter notes beside the graph: stack traces with paths of this machine."""
    graph = proto.graph
    for part in (proto, graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return proto


def _examples(
    model: Any, shapes: list[tuple[int, int]], max_tokens: int
) -> list[dict[str, torch.Tensor]]:
    import torch

    random = np.random.default_rng(0)
    batches = []
    for num_rows, num_tokens in shapes:
        size = (num_rows, min(num_tokens, max_tokens))
        ids = random.integers(0, model.config.vocab_size, size)
        mask = np.ones(size, np.int64)
        mask[-1, (size[1] + 1) // 2 :] = 0
        batches.append(
            {
                "input_ids": torch.from_numpy(ids),
                "attention_mask": torch.from_numpy(mask),
                "token_type_ids": torch.zeros(size, dtype=torch.int64),
            }
        )
    return batches


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the exporter says of its own insides on torch 2.11 to 2.13; errors still rise.

    It warns of operators of a package that is not installed, of its own deprecated classes, and
    that two inputs share the name of an axis, as they shall.
    """
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            warnings.filterwarnings("ignore", message=r"(?s).*The axis name: .* will not be used")
            warnings.filterwarnings("ignore", message=r".*LeafSpec.*is deprecated")
            yield
    finally:
        logger.setLevel(level)


def _check_parity(model: Any, graph: Path, names: list[str], max_tokens: int) -> None:
    import torch

    session = open_session(graph.read_bytes(), num_threads=1)
    worst = 0.0
    for example in _examples(model, [(1, 5), (3, 33), (5, 2)], max_tokens):
        batch: Batch = {name: example[name].numpy() for name in names}
        with torch.inference_mode():
            expected = model(**{name: example[name] for name in names}).logits.numpy()
        actual = session.run(["logits"], batch)[0]
        worst = max(worst, float(np.abs(actual - expected).max()))
    if not worst <= LARGEST_DIFFERENCE:
        raise StageError(
            f"The ONNX graph differs from the model by {worst:.2g} in a logit",
            where=str(graph),
            next_step=f"At most {LARGEST_DIFFERENCE} is right: try another opset or torch version.",
        )
