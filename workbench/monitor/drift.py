"""Watch for drift: has the text that comes in changed from what the model was made for?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from workbench.core.artifact import Draft
from workbench.core.context import Outputs, RunContext
from workbench.core.errors import DataError
from workbench.core.registry import stage
from workbench.core.spec import ArtifactName, DatasetRef, ModelRef, Spec, option
from workbench.data.records import read_records
from workbench.monitor.domain_classifier import DomainTest, tell_apart
from workbench.monitor.drift_page import write_drift_page
from workbench.monitor.shift_tests import CategoryShift, category_shift, number_shift
from workbench.monitor.verdict import Finding, decide
from workbench.tasks.evidence import write_json
from workbench.tasks.predictions import Scores, answers, has_predictions, predicted_labels
from workbench.tasks.predictions import read_predictions as stored_predictions

_CHUNK = 1024  # texts per durable part
_MIN_TEXTS = 20  # below it no test could find anything
_UNKNOWN = "(not known)"
_NO_ANSWER = "(no answer)"


class MonitorSpec(Spec):
    """Which texts to compare with which, and how sure an alarm must be."""

    name: ArtifactName = option(
        "monitor", title="Name", help="Name of the report.", group="Result"
    )
    reference: DatasetRef = option(
        title="Reference", group="Data",
        help="Texts as the model knows them: its training set, or live texts of a good week.",
    )  # fmt: skip
    live: DatasetRef = option(title="Live", help="Texts as they come in now.", group="Data")
    model: ModelRef | None = option(
        None, title="Model", group="Model",
        help="Model whose answers and confidence are compared as well; without one, predictions "
        "that both data sets hold already are used.",
    )  # fmt: skip
    alpha: float = option(
        0.05, title="False-alarm rate", group="Rules", gt=0, lt=0.5,
        help="Chance of an alarm although nothing has changed, over all tests together.",
    )  # fmt: skip
    sample: int = option(
        5000, title="Sample", group="Rules", unit="texts", ge=_MIN_TEXTS, le=200_000,
        help="Most texts to take from each side; more texts find smaller changes.",
    )  # fmt: skip
    seed: int = option(
        0, title="Seed", help="Seed of the sample and of the test's halves.", group="Rules",
        ge=0, le=2**31 - 1,
    )  # fmt: skip


class MonitorOutputs(Outputs):
    """The report: report.json and report.html."""

    report: Draft


@stage(title="Monitor drift", version=1)
def monitor(spec: MonitorSpec, run: RunContext) -> MonitorOutputs:
    """Compare live texts with reference texts: is there drift, in which words, what to do.

    Several tests at one false-alarm rate (Holm): a domain classifier on the words, text length,
    language mix, and, with a model, its answers and their confidence. No fixed thresholds.
    """
    reference, live = _sample(spec.reference, spec, run), _sample(spec.live, spec, run)
    run.count_rows(read=reference.num_rows + live.num_rows, written=0)
    run.progress(0, 1, "tests", "telling live from reference")
    domain = tell_apart(_texts(reference), _texts(live), seed=spec.seed)
    run.stop_if_asked()
    findings, not_tested = _inputs(reference, live, domain)
    predictions = _predictions(spec, reference, live, run)
    if isinstance(predictions, str):
        not_tested["predicted labels"] = not_tested["confidence"] = predictions
    else:
        _add_answers(findings, not_tested, *predictions)
    report = {
        "reference": spec.reference, "live": spec.live, "alpha": spec.alpha,
        "reference_texts": reference.num_rows, "live_texts": live.num_rows,
        **decide(findings, not_tested, spec.alpha),
        "words": [asdict(word) for word in domain.words],
    }  # fmt: skip
    draft = run.save("report", spec.name)
    write_json(draft.path / "report.json", report)
    write_drift_page(draft.path / "report.html", report, _least_alike(live, domain))
    _describe(draft, report, run)
    return MonitorOutputs(report=draft)
