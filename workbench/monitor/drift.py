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

_CHUNK = 256  # texts per durable part
_MIN_TEXTS = 20  # below it no test could find anything
_UNKNOWN = "(not known)"
_NO_ANSWER = "(no answer)"


class MonitorSpec(Spec):
    """Which texts to compare with which, and how sure an alarm must be."""

    name: ArtifactName = option("monitor", title="Name", help="Name of the report.", group="Result")
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


@dataclass(frozen=True)
class _Answers:
    """A model's answers to one side's texts, and how sure it was of each."""

    labels: list[str]
    confidence: npt.NDArray[np.float64]


@stage(title="Monitor drift", version=1)
def monitor(spec: MonitorSpec, run: RunContext) -> MonitorOutputs:
    """Compare live texts with reference texts: is there drift, in which words, what to do.

    Several tests at one false-alarm rate (Holm): a domain classifier on the words, text length,
    language mix, and, with a model, its answers and their confidence. No fixed thresholds.
    """
    reference = _sample(spec.reference, spec.sample, spec.seed, run)
    live = _sample(spec.live, spec.sample, spec.seed + 1, run)
    run.count_rows(read=reference.num_rows + live.num_rows, written=0)
    run.progress(0, 1, "tests", "telling live from reference")
    domain = tell_apart(_texts(reference), _texts(live), seed=spec.seed)
    run.stop_if_asked()
    findings, not_tested = _text_findings(reference, live, domain)
    given = _answers(spec, reference, live, run)
    if isinstance(given, str):
        not_tested |= {"predicted labels": given, "confidence": given}
    else:
        findings += _answer_findings(*given, not_tested)
    decision = decide(findings, not_tested, spec.alpha)
    words_moved = decision["tests"][0]["drift"]
    report = {
        "reference": spec.reference, "live": spec.live, "alpha": spec.alpha,
        "reference_texts": reference.num_rows, "live_texts": live.num_rows,
        **decision,
        "words": [asdict(word) for word in domain.words if words_moved],
    }  # fmt: skip
    draft = run.save("report", spec.name)
    write_json(draft.path / "report.json", report)
    write_drift_page(draft.path / "report.html", report, _least_alike(live, domain))
    _describe(draft, report, run)
    return MonitorOutputs(report=draft)


def _describe(draft: Draft, report: dict[str, Any], run: RunContext) -> None:
    verdict = report["verdict"]
    for test in report["tests"]:
        run.metric(f"p.{test['test']}", test["p_holm"])
    for reason in verdict["why"]:
        run.log(reason)
    draft.describe(
        drift=verdict["drift"], action=verdict["action"], why=verdict["why"],
        reference_texts=report["reference_texts"], live_texts=report["live_texts"],
    )  # fmt: skip


# --- what is compared -------------------------------------------------------------------------


def _sample(reference: str, most: int, seed: int, run: RunContext) -> pa.Table:
    """Draw at most that many rows without putting any back, kept in their order."""
    table = read_records(run.open(reference))
    if table.num_rows < _MIN_TEXTS:
        raise DataError(
            f"{reference} holds {table.num_rows} texts, too few to tell a change from chance",
            where=reference, next_step=f"Collect at least {_MIN_TEXTS} texts on each side.",
        )  # fmt: skip
    if table.num_rows <= most:
        return table
    run.log(f"{reference}: {most} of {table.num_rows} texts were drawn")
    rows = np.random.default_rng(seed).permutation(table.num_rows)[:most]
    return table.take(np.sort(rows))


def _texts(table: pa.Table) -> list[str]:
    texts: list[str] = table["text"].to_pylist()
    return texts


def _lengths(table: pa.Table) -> npt.NDArray[np.float64]:
    return np.asarray([len(text) for text in _texts(table)], dtype=np.float64)


def _text_findings(
    reference: pa.Table, live: pa.Table, domain: DomainTest
) -> tuple[list[Finding], dict[str, str]]:
    """Compare words, lengths and languages; also return what could not be tested, and why."""
    findings = [_word_finding(domain), _length_finding(reference, live)]
    languages = [
        [code or _UNKNOWN for code in t["language"].to_pylist()] for t in (reference, live)
    ]
    if any(set(side) == {_UNKNOWN} for side in languages):
        return findings, {"language mix": "the language of one side is not known"}
    shift = category_shift(*languages)
    if shift is None:
        return findings, {"language mix": "there is one language only"}
    return [*findings, _mix_finding("language mix", "texts", shift)], {}


def _word_finding(domain: DomainTest) -> Finding:
    more = [f"“{shift.word}”" for shift in domain.words if shift.weight > 0][:5]
    less = [f"“{shift.word}”" for shift in domain.words if shift.weight < 0][:5]
    named = [f"{change} frequent now: {', '.join(words)}"
             for change, words in (("more", more), ("less", less)) if words]  # fmt: skip
    sentence = (
        f"The words differ: a classifier tells live from reference texts (AUC {domain.auc:.2f})"
    )
    return Finding(
        "words", "domain classifier, rank test on held-out halves", "texts", domain.p, domain.auc,
        "AUC, .5 is no difference", "; ".join([sentence, *named]) + ".",
    )  # fmt: skip


def _length_finding(reference: pa.Table, live: pa.Table) -> Finding:
    shift = number_shift(_lengths(reference), _lengths(live))
    medians = f"median {shift.live_median:.0f} characters, {shift.reference_median:.0f} before"
    return Finding(
        "text length", "Kolmogorov-Smirnov", "texts", shift.p, shift.distance,
        "largest gap of the distributions", f"Text lengths have changed: {medians}.",
        {"reference_median": shift.reference_median, "live_median": shift.live_median},
    )  # fmt: skip


def _mix_finding(test: str, about: Literal["texts", "answers"], shift: CategoryShift) -> Finding:
    before, now = shift.reference_shares, shift.live_shares
    most = max(now, key=lambda name: abs(now[name] - before[name]))
    change = f"{most} {now[most]:.0%} of texts, {before[most]:.0%} before"
    return Finding(
        test, "chi-square", about, shift.p, shift.distance, "share of texts that moved",
        f"The {test} changed: {change}.", {"reference_shares": before, "live_shares": now},
    )  # fmt: skip


# --- the model's answers ----------------------------------------------------------------------


def _answers(
    spec: MonitorSpec, reference: pa.Table, live: pa.Table, run: RunContext
) -> tuple[_Answers, _Answers] | str:
    """Return the answers to both sides, or why there are none."""
    if spec.model is not None:
        return _answers_of_model(spec.model, _texts(reference), _texts(live), run)
    held = [has_predictions(side) for side in (reference, live)]
    if not all(held):
        whose = "one data set holds" if any(held) else "the data sets hold"
        return f"no model was named and {whose} no predictions"
    labels = predicted_labels(reference)
    stored = [stored_predictions(t, labels, n) for t, n in
              ((reference, spec.reference), (live, spec.live))]  # fmt: skip
    before, now = (_judged(predicted, scores) for predicted, scores in stored)
    return before, now


def _answers_of_model(
    reference_to_model: str, reference: Sequence[str], live: Sequence[str], run: RunContext
) -> tuple[_Answers, _Answers]:
    from workbench.models.predictor import load_predictor

    model = load_predictor(run.open(reference_to_model).path, num_threads=run.threads_per_worker)
    texts = [*reference, *live]
    parts = []
    for number, start in enumerate(range(0, len(texts), _CHUNK)):
        chunk = texts[start : start + _CHUNK]

        def write(folder: Path, chunk: Sequence[str] = chunk) -> None:
            np.save(folder / "scores.npy", model.predict(chunk), allow_pickle=False)

        part = run.checkpoint(f"scores-{number:05d}", write)
        parts.append(np.load(part / "scores.npy", allow_pickle=False))
        run.progress(min(start + _CHUNK, len(texts)), len(texts), "texts", "answers of the model")
        run.stop_if_asked()
    scores = np.concatenate(parts)
    predicted = answers(scores, model.labels)
    cut = len(reference)
    return _judged(predicted[:cut], scores[:cut]), _judged(predicted[cut:], scores[cut:])


def _judged(predicted: Sequence[str | None], scores: Scores) -> _Answers:
    labels = [_NO_ANSWER if label is None else label for label in predicted]
    return _Answers(labels, scores.max(axis=1).astype(np.float64))


def _answer_findings(
    reference: _Answers, live: _Answers, not_tested: dict[str, str]
) -> list[Finding]:
    confidence = number_shift(reference.confidence, live.confidence)
    medians = f"median {confidence.live_median:.2f}, {confidence.reference_median:.2f} before"
    findings = [
        Finding(
            "confidence", "Kolmogorov-Smirnov", "answers", confidence.p, confidence.distance,
            "largest gap of the distributions", f"The model's confidence changed: {medians}.",
            {"reference_median": confidence.reference_median,
             "live_median": confidence.live_median},
        )
    ]  # fmt: skip
    mix = category_shift(reference.labels, live.labels)
    if mix is None:
        not_tested["predicted labels"] = "the model gave one answer only"
        return findings
    return [_mix_finding("mix of predicted labels", "answers", mix), *findings]


def _least_alike(live: pa.Table, domain: DomainTest, most: int = 8) -> list[str]:
    """Return the live texts that are least like the reference, as the held-out half saw them."""
    texts = _texts(live)
    return [texts[row] for row in np.argsort(-domain.live_scores, kind="stable")[:most]]
