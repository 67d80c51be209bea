"""A regression gate for prompts: is a new version worse than the one before, on the same rows?

The gate fails for a drop that is real and that matters: one that chance alone would bring about in
less than ``alpha`` of all cases, and that is larger than ``margin``. So it raises a false alarm in
``alpha`` of all cases at most where two versions are alike; and it tells which drop it would have
seen in four of five cases, so that nobody takes a pass on few rows for a proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, NamedTuple, Protocol

from workbench.core.artifact import Artifact
from workbench.core.errors import DataError
from workbench.prompts.label import LabelSpec
from workbench.prompts.scorers.scorer import ScorerSpec
from workbench.prompts.version import load_prompt
from workbench.tasks.labelled_rows import read_labelled
from workbench.tasks.metrics import Metric, bootstrap_interval, confusion, paired_bootstrap
from workbench.tasks.predictions import PREDICTED_LABEL

_POWER = 0.8


class LabelledRun(Protocol):
    """A labelling that was submitted."""

    def wait(self) -> LabelledRun:
        """Return once it is over."""
        ...

    def outputs(self) -> Any:
        """Return what it made."""
        ...


class Keeper(Protocol):
    """What is needed of a workspace."""

    def artifact(self, reference: str, kind: str | None = None) -> Artifact:
        """Return an artifact."""
        ...

    def submit(self, spec: Any) -> Any:
        """Queue a labelling."""
        ...


class Verdict(NamedTuple):
    """What the gate says, and why."""

    passes: bool
    new: float  # the figure of the new version, and of the one before
    before: float
    difference: float
    low: float  # ends of the 95 % interval of the difference
    high: float
    p: float  # how often chance alone brings about such a drop
    seen_drop: float  # the drop that would be seen in four of five cases
    rows: int
    metric: str

    def told(self) -> str:
        """Return the verdict in a sentence."""
        word = "not worse" if self.passes else "worse"
        return (
            f"{word}: {self.metric} {self.new:.3f} after {self.before:.3f}, "
            f"{self.difference:+.3f} ({self.low:+.3f} to {self.high:+.3f}), p {self.p:.3f}, "
            f"{self.rows:,} rows; a drop of {self.seen_drop:.3f} would be seen four times of five"
        )


def judge(
    truth: Sequence[str], new: Sequence[str | None], before: Sequence[str | None],
    labels: Sequence[str], *, metric: Metric = "macro_recall", alpha: float = 0.05,
    margin: float = 0.0, resamples: int = 2000, seed: int = 0,
) -> Verdict:  # fmt: skip
    """Judge a new version's answers against those of the version before, row by row.

    Args:
        truth: the right answers.
        new: the new version's; None where it gave none.
        before: those of the version before.
        labels: the answers that there are.
        metric: the figure that counts.
        alpha: how often two versions that are alike may be told apart.
        margin: a drop up to this does not matter.
        resamples: behind interval and p.
        seed: of the resampling.
    """
    pair = paired_bootstrap(
        truth, new, before, labels, metric=metric, resamples=resamples, seed=seed
    )
    figures = [
        bootstrap_interval(confusion(truth, answers, labels), metric, resamples=100, seed=seed)
        for answers in (new, before)
    ]
    # The test is of two sides; a drop is one of them.
    p = pair.p / 2 if pair.difference < 0 else 1 - pair.p / 2
    normal = NormalDist()
    spread = (pair.high - pair.low) / (2 * normal.inv_cdf(0.975))
    seen_drop = (normal.inv_cdf(1 - alpha) + normal.inv_cdf(_POWER)) * spread
    fails = p < alpha and pair.difference < -margin
    return Verdict(
        not fails, figures[0].value, figures[1].value, pair.difference, pair.low, pair.high, p,
        max(seen_drop, margin), len(truth), metric,
    )  # fmt: skip


def check_prompt(
    workspace: Keeper, new: str, before: str, dataset: str, scorer: ScorerSpec, **how: Any
) -> Verdict:
    """Have two versions label the same rows, and judge the new one.

    Args:
        workspace: in which both are.
        new: the version to be judged, such as ``mood@latest``.
        before: the version that counts now, such as ``mood@production``.
        dataset: labelled rows.
        scorer: what answers both.
        how: ``metric``, ``alpha``, ``margin``, ``resamples``, ``seed`` of ``judge``.

    Raises:
        DataError: the two have other answers, or no row has one of them.
        WorkbenchError: a labelling failed.
    """
    versions = [load_prompt(workspace.artifact(ref, "prompt")) for ref in (new, before)]
    labels = versions[0].labels
    if labels != versions[1].labels:
        raise DataError(
            f"The two prompts have other answers: {', '.join(labels)}, and "
            f"{', '.join(versions[1].labels)}",
            where=f"{new}, {before}",
            next_step="Compare versions that label alike.",
        )
    runs = [
        workspace.submit(LabelSpec(dataset=dataset, prompt=ref, scorer=scorer, name="prompt-check"))
        for ref in (new, before)
    ]
    known = read_labelled(workspace.artifact(dataset, "dataset"), labels)
    answers = [_answers(run.wait().outputs()["dataset"], known.ids) for run in runs]
    return judge(known.truth, answers[0], answers[1], labels, **how)


def _answers(labelled: Artifact, ids: Sequence[str]) -> list[str | None]:
    from workbench.data.records import read_records

    table = read_records(labelled, ["id", PREDICTED_LABEL])
    found = dict(zip(table["id"].to_pylist(), table[PREDICTED_LABEL].to_pylist(), strict=True))
    return [found[row_id] for row_id in ids]
