"""Sample: a smaller data set that does not depend on the order of records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from workbench.core.artifact import Artifact, Draft
from workbench.core.context import Outputs, RunContext
from workbench.core.errors import DataError
from workbench.core.registry import stage
from workbench.core.spec import (
    ArtifactName,
    DatasetRef,
    ModelSource,
    Spec,
    option,
    parse_reference,
)
from workbench.data.order import Hashes, Rows, first_by, hash_strings
from workbench.data.profile import Profile, profile, profile_without_texts
from workbench.data.record_field import FIELD_HELP, FieldName, encode, read_field
from workbench.data.records import PARTITION_ROWS, check_sources, partitions, write_records
from workbench.data.sampling.coverage import difficulty, k_centre, on_grid, stratified_by_score
from workbench.data.sampling.draw import (
    Measure,
    apportion,
    draw_by_log_weight,
    draw_strata,
    draw_uncertain,
    draw_weighted,
)
from workbench.data.sampling.embeddings import embed_rows, read_embeddings
from workbench.data.sampling.importance import log_importance
from workbench.data.sampling.scores import read_scores, read_weights
from workbench.data.subset_report import write_sample_report
from workbench.data.subsets import LEFT_OUT, gather_rows, save_codes, write_subsets
from workbench.models.resolve import fingerprint_model, resolve_model

Strategy = Literal["random", "stratified", "weighted", "importance", "coverage", "uncertain"]


class SampleSpec(Spec):
    """Which data set to sample, how many records, and by which strategy."""

    dataset: DatasetRef = option(title="Data set", help="The data set to sample.", group="Data")
    name: ArtifactName | None = option(
        None, title="Name", group="Result",
        help="The name of the sample; empty: the data set's name with -sample.",
    )  # fmt: skip
    strategy: Strategy = option(
        "random", title="Strategy", group="Sample",
        help="random: every record alike; stratified: the label shares of the data set; "
        "weighted: a share per source, or a weight per record; importance: like a target data "
        "set; coverage: spread over all meanings; uncertain: where a classifier is least sure.",
    )  # fmt: skip
    size: int = option(
        0, title="Size", group="Sample", unit="records", ge=0,
        help="How many records to take; 0: the share below.",
    )  # fmt: skip
    share: float = option(
        0.1, title="Share", group="Sample", unit="share of records", gt=0, le=1,
        help="Which share of the records to take when no size is given.",
    )  # fmt: skip
    stratify_by: FieldName = option(
        "label", title="Strata", group="Stratified", min_length=1,
        help=f"For stratified: whose shares are kept: {FIELD_HELP}.",
    )  # fmt: skip
    weights: dict[str, Annotated[float, Field(gt=0)]] = option(
        {}, title="Weights", group="Weighted",
        help="For weighted: from a source's name to its part of the sample, in any unit; sources "
        "that are not named are left out.",
    )  # fmt: skip
    weight_field: FieldName = option(
        "", title="Weight of a record", group="Weighted",
        help="For weighted, instead of weights by source: where each record's own weight stands: "
        f"{FIELD_HELP}. Records without one are left out.",
    )  # fmt: skip
    target: DatasetRef | None = option(
        None, title="Target", group="Importance",
        help="For importance: the data set that the sample shall be like, by its words and pairs "
        "of words.",
    )  # fmt: skip
    num_buckets: int = option(
        10_000, title="Buckets", group="Importance", unit="buckets", ge=100, le=10_000_000,
        help="For importance: to how many numbers words and pairs of words are hashed.",
    )  # fmt: skip
    method: Literal["k-centre", "ccs"] = option(
        "k-centre", title="Method", group="Coverage",
        help="For coverage: k-centre: no record is far from the sample; ccs: records from the "
        "middle of their label to its edge, evenly (coverage-centric selection).",
    )  # fmt: skip
    embedding_column: str = option(
        "", title="Embeddings", group="Coverage",
        help="For coverage: the column that holds a vector for each record (the transform stage "
        "makes one); empty: they are computed.",
    )  # fmt: skip
    embedder: ModelSource = option(
        "minilm", title="Encoder", group="Coverage", min_length=1,
        help="For coverage without a column: the model that embeds texts.",
    )  # fmt: skip
    most_candidates: int = option(
        20_000, title="Most candidates", group="Coverage", unit="records", ge=1, le=1_000_000,
        help="For coverage: from how many records, drawn at random, the sample is chosen; the "
        "work of k-centre grows with candidates times size.",
    )  # fmt: skip
    hardest_share: float = option(
        0.1, title="Leave out hardest", group="Coverage", unit="share of candidates", ge=0, lt=1,
        help="For ccs: which share of the records farthest from the middle is left out; many of "
        "them are mislabelled or no text.",
    )  # fmt: skip
    measure: Measure = option(
        "margin", title="Uncertainty", group="Uncertain",
        help="For uncertain: margin between the two likeliest labels, entropy of all labels, or "
        "confidence in the likeliest. The data set must come from the score stage.",
    )  # fmt: skip
    seed: int = option(
        0, title="Seed", group="Sample", ge=0,
        help="Another seed gives another sample; the same seed always the same.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _settings_belong_to_their_strategy(self) -> Self:
        if (self.strategy == "weighted") != bool(self.weights or self.weight_field):
            raise ValueError("weights (or weight_field) and the strategy weighted need each other")
        if self.weights and self.weight_field:
            raise ValueError("give weights or weight_field, not both")
        if (self.strategy == "importance") != (self.target is not None):
            raise ValueError("target and the strategy importance need each other")
        return self


class SampleOutputs(Outputs):
    """The sampled records, in the order of the data set, and a report beside them."""

    dataset: Draft


def fingerprint(spec: SampleSpec) -> str | None:
    """Return a hash of the model that embeds, where one is used; see ``fingerprint_model``."""
    is_used = spec.strategy == "coverage" and not spec.embedding_column
    return fingerprint_model(spec.embedder) if is_used else ""


@stage(title="Sample", version=2, fingerprint=fingerprint)
def sample(spec: SampleSpec, run: RunContext) -> SampleOutputs:
    """Take some records of a data set: at random, by shares, weight, likeness, coverage or doubt.

    A record is taken for the hash of its id: the choice does not depend on the order of records
    or on partitions, and a larger random sample with the same seed holds the smaller. Only the
    columns that decide are read of all records, and of the rest only the row groups that hold a
    chosen one.
    """
    dataset = run.open(spec.dataset)
    hashes = hash_records(dataset, spec.seed)
    if not len(hashes):
        raise DataError(f"{spec.dataset} holds no records", where=spec.dataset,
                        next_step="Name another data set.")  # fmt: skip
    size = spec.size or round(spec.share * len(hashes))
    rows = choose_rows(dataset, hashes, size, spec, run)
    draft = run.save("dataset", spec.name or f"{parse_reference(spec.dataset).name}-sample")
    taken = _write(dataset, rows, len(hashes), draft, run)
    facts = {"strategy": spec.strategy, "asked": size, "seed": spec.seed}
    write_sample_report(draft.path, taken, profile_without_texts(dataset), facts)
    draft.describe(asked=size, missing=size - len(rows))
    if len(rows) < size:
        run.log(f"{size} records were asked for, but only {len(rows)} are there", asked=size)
    run.count_rows(read=len(hashes), written=len(rows))
    return SampleOutputs(dataset=draft)


def hash_records(dataset: Artifact, seed: int) -> Hashes:
    """Return the hash of each record's id, which decides what is drawn; uint64 [n]."""
    parts = [np.empty(0, np.uint64)]
    for path in partitions(dataset):
        with pq.ParquetFile(path) as file:
            ids = file.read(["id"], use_threads=False)["id"]
        parts.append(hash_strings(ids, seed))
    return np.concatenate(parts)


def choose_rows(
    dataset: Artifact, hashes: Hashes, size: int, spec: SampleSpec, run: RunContext
) -> Rows:
    """Return the rows to take, ascending; fewer than ``size`` where there are too few."""
    if spec.strategy == "random":
        return first_by(hashes, size)
    if spec.strategy == "importance":
        assert spec.target is not None
        weights = log_importance(dataset, run.open(spec.target), spec.num_buckets, run)
        return draw_by_log_weight(hashes, weights, size)
    if spec.strategy == "coverage":
        return _cover(dataset, hashes, size, spec, run)
    if spec.strategy == "uncertain":
        return np.sort(draw_uncertain(hashes, read_scores(dataset), spec.measure)[:size])
    if spec.weight_field:
        return draw_weighted(hashes, read_weights(dataset, spec.weight_field), size)
    return _by_strata(dataset, hashes, size, spec)


def _by_strata(dataset: Artifact, hashes: Hashes, size: int, spec: SampleSpec) -> Rows:
    """Draw by the shares that the strata have, or by those that weights give to sources."""
    values = read_field(dataset, "source" if spec.weights else spec.stratify_by)
    check_sources(pa.table({"source": values}), spec.weights, "weights")
    codes, names = encode(values.fill_null(""))
    counts = np.bincount(codes, minlength=len(names)).tolist()
    quotas = apportion(size, spec.weights or dict(zip(names, counts, strict=True)))
    place = {name: number for number, name in enumerate(names)}
    return draw_strata(hashes, codes, {place[name]: n for name, n in quotas.items()})


def _cover(dataset: Artifact, hashes: Hashes, size: int, spec: SampleSpec, run: RunContext) -> Rows:
    """Choose candidates by hash, and of them a sample that covers their embeddings."""
    rows = first_by(hashes, max(size, spec.most_candidates))
    order = rows[np.argsort(hashes[rows], kind="stable")]
    run.log(f"{size} of {len(order)} candidates are chosen", candidates=len(order))
    if spec.embedding_column:
        vectors = read_embeddings(dataset, spec.embedding_column, rows)
        grid = on_grid(vectors[np.searchsorted(rows, order)])
    else:
        is_artifact = "@" in spec.embedder
        model = run.open(spec.embedder).path if is_artifact else resolve_model(spec.embedder)
        grid = on_grid(embed_rows(dataset, order, model, run))
    run.stop_if_asked()
    if spec.method == "k-centre":
        return np.sort(order[k_centre(grid, size)])
    labels = gather_rows(dataset, rows, ["label"])["label"]
    group = encode(labels)[0][np.searchsorted(rows, order)]
    return np.sort(order[stratified_by_score(difficulty(grid, group), size, spec.hardest_share)])


def _write(dataset: Artifact, rows: Rows, num_rows: int, draft: Draft, run: RunContext) -> Profile:
    """Write the chosen rows: at once if they make one partition, else partition by partition."""
    if len(rows) <= PARTITION_ROWS:
        table = gather_rows(dataset, rows)
        write_records(draft, table)
        return profile(table)

    def decide(folder: Path) -> None:
        codes = np.full(num_rows, LEFT_OUT, np.int64)
        codes[rows] = 0
        save_codes(folder, codes)

    (taken,) = write_subsets(dataset, run.checkpoint("decided", decide), [draft], run)
    return taken
