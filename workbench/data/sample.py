"""Sample: a smaller data set that does not depend on the order of records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, model_validator

from workbench.core.artifact import Draft
from workbench.core.context import Outputs, RunContext
from workbench.core.errors import DataError
from workbench.core.registry import stage
from workbench.core.spec import ArtifactName, DatasetRef, Spec, option, parse_reference
from workbench.data.order import hash_order
from workbench.data.records import check_sources, read_records, write_records


class SampleSpec(Spec):
    """Which data set to sample, how many records, and by which strategy."""

    dataset: DatasetRef = option(title="Data set", help="The data set to sample.", group="Data")
    name: ArtifactName | None = option(
        None, title="Name", group="Result",
        help="The name of the sample; empty: the data set's name with -sample.",
    )  # fmt: skip
    strategy: Literal["random", "stratified", "weighted"] = option(
        "random", title="Strategy", group="Sample",
        help="random: every record alike; stratified: the label shares of the data set; "
        "weighted: a share per source, as weights say.",
    )  # fmt: skip
    size: int = option(
        0, title="Size", group="Sample", unit="records", ge=0,
        help="How many records to take; 0: the share below.",
    )  # fmt: skip
    share: float = option(
        0.1, title="Share", group="Sample", unit="share of records", gt=0, le=1,
        help="Which share of the records to take when no size is given.",
    )  # fmt: skip
    weights: dict[str, Annotated[float, Field(gt=0)]] = option(
        {}, title="Weights", group="Sample",
        help="For weighted: from a source's name to its part of the sample, in any unit; sources "
        "that are not named are left out.",
    )  # fmt: skip
    seed: int = option(
        0, title="Seed", group="Sample", ge=0,
        help="Another seed gives another sample; the same seed always the same.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _weights_belong_to_weighted(self) -> Self:
        if (self.strategy == "weighted") != bool(self.weights):
            raise ValueError("weights and the strategy weighted need each other")
        return self


class SampleOutputs(Outputs):
    """The sampled records, in the order of the data set."""

    dataset: Draft


@stage(title="Sample", version=1)
def sample(spec: SampleSpec, run: RunContext) -> SampleOutputs:
    """Take some records of a data set: at random, by label shares, or weighted by source.

    A record is taken for the hash of its id: the choice does not depend on the order of records
    or on partitions, and a larger random sample with the same seed holds the smaller.
    """
    records = read_records(run.open(spec.dataset))
    if not records.num_rows:
        raise DataError(f"{spec.dataset} holds no records", where=spec.dataset,
                        next_step="Name another data set.")  # fmt: skip
    size = spec.size or round(spec.share * records.num_rows)
    rows = choose_rows(records, size, spec)
    name = spec.name or f"{parse_reference(spec.dataset).name}-sample"
    draft = run.save("dataset", name)
    write_records(draft, records.take(pa.array(rows)))
    draft.describe(asked=size, missing=size - len(rows))
    if len(rows) < size:
        run.log(f"{size} records were asked for, but only {len(rows)} are there", asked=size)
    run.count_rows(read=records.num_rows, written=len(rows))
    return SampleOutputs(dataset=draft)


def choose_rows(records: pa.Table, size: int, spec: SampleSpec) -> npt.NDArray[np.int64]:
    """Return the rows to take, ascending; fewer than ``size`` where a group has too few."""
    order = hash_order(records["id"], spec.seed)
    if spec.strategy == "random":
        return np.sort(order[:size])
    column = "label" if spec.strategy == "stratified" else "source"
    groups = np.array([value or "" for value in records[column].to_pylist()], dtype=object)[order]
    counts = {name: int((groups == name).sum()) for name in sorted(set(groups.tolist()))}
    check_sources(records, spec.weights, "weights")
    quotas = apportion(size, spec.weights or counts)
    taken = [order[groups == name][:quota] for name, quota in quotas.items()]
    return np.sort(np.concatenate(taken))


def apportion(total: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Share ``total`` out by weight in whole numbers that sum to it (largest remainders)."""
    whole = sum(weights.values())
    exact = {name: total * weight / whole for name, weight in weights.items()}
    quotas = {name: int(amount) for name, amount in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (quotas[name] - exact[name], name))
    for name in by_remainder[: total - sum(quotas.values())]:
        quotas[name] += 1
    return quotas
