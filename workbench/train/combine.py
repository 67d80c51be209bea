"""The combine stage: one classifier out of several."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from workbench.core.artifact import Draft
from workbench.core.context import Outputs, RunContext
from workbench.core.errors import DataError
from workbench.core.registry import stage
from workbench.core.spec import ArtifactName, ModelRef, Spec, option
from workbench.models.folder import (
    CONFIG,
    ONNX_FILES,
    TOKENIZER,
    TOKENIZER_CONFIG,
    WEIGHTS,
    check_folder,
    labels_of,
    max_tokens_of,
    write_facts,
)

HowToCombine = Literal["weights", "predictions"]


class CombineSpec(Spec):
    """Make one classifier out of several."""

    models: list[ModelRef] = option(
        title="Models", help="Classifiers of the same labels with the same tokenizer.",
        group="Models", min_length=2, max_length=100,
    )  # fmt: skip
    how: HowToCombine = option(
        "predictions", title="How", help="The mean of their probabilities: one graph of all, as "
        "slow as all together; or the mean of their weights, as quick as one, for models that were "
        "trained from the same weights.", group="Models",
    )  # fmt: skip
    name: ArtifactName = option(
        "combined", title="Name", help="Name of the resulting model.", group="Result"
    )


class CombineOutputs(Outputs):
    """The one classifier."""

    model: Draft


@stage(title="Combine", version=1)
def combine(spec: CombineSpec, run: RunContext) -> CombineOutputs:
    """Make one classifier of several: the mean of their predictions, or of their weights.

    Sources: Wortsman et al. 2022 ("model soups", for weights).

    Raises:
        DataError: the models have other labels, another tokenizer or another architecture; a model
            was refused.
        StageError: an exported graph differs from its model.
    """
    folders = [check_folder(run.open(name).path) for name in spec.models]
    _check_alike(folders, spec.models)
    draft = run.save("model", spec.name)
    draft.path.mkdir(parents=True, exist_ok=True)
    if spec.how == "weights":
        write_mean_weights(folders, spec.models, draft.path / WEIGHTS)
    else:
        _write_mean_predictions(folders, draft.path / ONNX_FILES[1], run)
    for name in (CONFIG, TOKENIZER, TOKENIZER_CONFIG):
        if (folders[0] / name).exists():
            shutil.copyfile(folders[0] / name, draft.path / name)
    labels, max_tokens = labels_of(folders[0]), max_tokens_of(folders[0])
    write_facts(draft.path, labels, max_tokens)
    draft.describe(task="classify", labels=labels, max_tokens=max_tokens, members=len(folders),
                   combined=spec.how)  # fmt: skip
    return CombineOutputs(model=draft)


def _check_alike(folders: Sequence[Path], names: Sequence[str]) -> None:
    labels, tokenizer = labels_of(folders[0]), (folders[0] / TOKENIZER).read_bytes()
    for folder, name in zip(folders, names, strict=True):
        if labels_of(folder) != labels:
            raise DataError(f"{name} has the labels {', '.join(labels_of(folder))}, {names[0]} has "
                            f"{', '.join(labels)}", where=name,
                            next_step="Combine models of the same labels.")  # fmt: skip
        if (folder / TOKENIZER).read_bytes() != tokenizer:
            raise DataError(f"{name} has another tokenizer than {names[0]}", where=name,
                            next_step="Combine models of one tokenizer, or distil them "
                            "into one.")  # fmt: skip


def write_mean_weights(folders: Sequence[Path], names: Sequence[str], target: Path) -> None:
    """Write the mean of the weights of models of one architecture.

    Raises:
        DataError: a model has no native weights, or is of another architecture.
    """
    from safetensors.numpy import load_file, save_file

    sums: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = {}
    for folder, name in zip(folders, names, strict=True):
        if not (folder / WEIGHTS).is_file():
            raise DataError(f"{name} has no {WEIGHTS}", where=name,
                            next_step="Combine models before they are quantised.")  # fmt: skip
        weights = load_file(folder / WEIGHTS)
        shapes = {key: value.shape for key, value in weights.items()}
        if sums and shapes != {key: value.shape for key, value in sums.items()}:
            raise DataError(f"{name} is of another architecture than {names[0]}", where=name,
                            next_step="Take the mean of their predictions.")  # fmt: skip
        for key, value in weights.items():
            sums[key] = sums.get(key, 0.0) + value.astype(np.float64)
    means = {key: (value / len(folders)).astype(np.float32) for key, value in sums.items()}
    save_file(means, target, metadata={"format": "pt"})


def _write_mean_predictions(folders: Sequence[Path], target: Path, run: RunContext) -> None:
    from workbench.models.onnx_mean import write_mean

    graphs = []
    for number, folder in enumerate(folders):
        run.progress(number, len(folders), "models", "exporting")
        made = run.checkpoint(f"graph-{number:03d}", partial(_export, folder))
        graphs.append(made / ONNX_FILES[1])
        run.stop_if_asked()
    write_mean(graphs, target)


def _export(model: Path, folder: Path) -> None:
    from workbench.models.onnx_export import export_onnx

    export_onnx(model, folder / ONNX_FILES[1])
