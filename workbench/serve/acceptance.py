"""The checks a model must pass over HTTP, as its clients will use it, before it goes live."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from workbench.core.errors import StageError
from workbench.serve.caller import Caller, Reply
from workbench.serve.golden import GoldenRow
from workbench.tasks.metrics import bootstrap_interval, confusion

# float32 sums in another order differ by about 1e-7; more means another model or another text.
TOLERANCE = 1e-6
_SUM_TOLERANCE = 1e-3
# Of many wrong answers a few are enough to see what is wrong.
_SHOWN = 3


class Progress(Protocol):
    """The part of a RunContext that the checks use."""

    def progress(self, done: float, total: float, unit: str = "rows", note: str = "") -> None:
        """Say how far the checks are."""

    def stop_if_asked(self) -> None:
        """Raise when somebody asked the run to stop."""


class Reference(Protocol):
    """The model itself, asked without a server; see ``workbench.models.predictor``."""

    labels: list[str]

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """Return probabilities [num_texts, num_labels]."""


@dataclass(frozen=True)
class Demand:
    """What a model must reach: macro-recall (0..1), and the p95 of one text's answer in ms."""

    min_quality: float
    max_milliseconds: float


@dataclass(frozen=True)
class Check:
    """One check: what was asked for and what was found; ``measured`` is what a clock said."""

    name: str
    passed: bool
    demanded: str
    found: str
    measured: str = ""

    def __str__(self) -> str:
        """Give the check in one line with its figures."""
        found = self.measured or self.found
        return f"{self.name}: {found} (demanded: {self.demanded})"


@dataclass(frozen=True)
class Acceptance:
    """All checks of one model, its figures on the golden rows, and what it took."""

    checks: list[Check]
    figures: dict[str, Any]
    requests: int
    errors: int
    timing: dict[str, float] = field(default_factory=dict)

    @property
    def failed(self) -> list[Check]:
        """The checks that failed."""
        return [check for check in self.checks if not check.passed]

    def raise_if_failed(self, reference: str) -> None:
        """Refuse the model unless every check passed.

        Raises:
            StageError: each failed check with its figures; ``detail`` holds them all as JSON.
        """
        if not self.failed:
            return
        raise StageError(
            f"The candidate failed {len(self.failed)} of {len(self.checks)} checks: "
            + "; ".join(map(str, self.failed)),
            where=reference,
            next_step="Mend or replace the model, or change the demand; nothing went live.",
            detail=json.dumps(asdict(self), indent=1, ensure_ascii=False),
        )


class _Hostile(NamedTuple):
    name: str
    body: bytes
    status: int


def _text(text: str) -> bytes:
    return json.dumps({"text": text}).encode()


HOSTILE = (
    _Hostile("an empty body", b"", 422),
    _Hostile("an empty text", _text(""), 200),
    _Hostile("a text of 100 kB", _text("so good " * 12_500), 200),
    _Hostile("one word of 100 kB", _text("a" * 100_000), 200),
    _Hostile("a NUL character", _text("good\0bad"), 200),
    _Hostile("emoji, joined and right-to-left", _text("👩‍👩‍👧 🏳️‍🌈 ‏שלום‎ é"), 200),
    _Hostile("HTML", _text("<script>alert(1)</script>"), 200),
    _Hostile("half a surrogate pair", b'{"text": "\\ud800"}', 422),
    _Hostile("bytes that are no UTF-8", b'{"text": "\xff\xfe"}', 422),
    _Hostile("not JSON", b"{text: good}", 422),
    _Hostile("no text in it", b'{"txt": "good"}', 422),
    _Hostile("a number for a text", b'{"text": 5}', 422),
    _Hostile("no texts", b'{"texts": []}', 422),
    _Hostile("10,000 nested lists", b"[" * 10_000, 422),
    _Hostile("a body of 2 MB", _text("a" * 2_000_000), 413),
)


def accept(
    url: str,
    reference: str,
    rows: list[GoldenRow],
    predictor: Reference,
    demand: Demand,
    run: Progress,
) -> Acceptance:
    """Try a ready server with the golden rows and with hostile requests.

    Every golden text is sent alone, twice; then once more together with others. No check ends the
    trial early, so a refused model shows all that is wrong with it.
    """
    with Caller(url) as caller:
        first = _ask_each(caller, rows, run, 0)
        again = _ask_each(caller, rows, run, len(rows))
        hostile = [caller.send("POST", "/v1/predict", case.body) for case in HOSTILE]
        together = _ask_together(caller, rows)
        still_ready = caller.send("GET", "/ready").status
    complaints = [malformed(reply, reference, predictor.labels) for reply in (*first, *again)]
    alone = _scores(first, predictor.labels)
    seconds = [reply.seconds for reply in (*first, *again)]
    quality, figures = check_quality(rows, alone, predictor.labels, demand.min_quality)
    figures["largest_difference_alone_or_together"] = _difference(
        alone, _scores(together, predictor.labels)
    )
    return Acceptance(
        checks=[
            Check("starts and is ready", True, "GET /ready answers 200", "200"),
            _check_answers(complaints),
            quality,
            check_speed(seconds, demand.max_milliseconds),
            check_hostile(hostile, reference, predictor.labels),
            _check_equal("gives the same answer twice", alone, _scores(again, predictor.labels)),
            _check_equal("answers as the model does without a server", alone,
                         _predict_each(predictor, rows)),
            Check("is ready at the end", still_ready == 200, "GET /ready answers 200",
                  str(still_ready)),
        ],
        figures=figures,
        requests=len(first) + len(again) + len(hostile) + len(together) + 2,
        errors=sum(complaint != "" for complaint in complaints),
        timing=_percentiles(seconds),
    )  # fmt: skip


# --- asking -----------------------------------------------------------------------------------


def _ask_each(caller: Caller, rows: list[GoldenRow], run: Progress, done: int) -> list[Reply]:
    replies = []
    for number, row in enumerate(rows, start=1):
        run.stop_if_asked()
        replies.append(caller.predict(row.text))
        run.progress(done + number, 2 * len(rows), "requests", "golden rows")
    return replies


def _ask_together(caller: Caller, rows: list[GoldenRow], size: int = 32) -> list[Reply]:
    """Send rows in groups and take each reply apart, as if every text had been sent alone."""
    replies: list[Reply] = []
    for start in range(0, len(rows), size):
        group = rows[start : start + size]
        reply = caller.predict(*(row.text for row in group))
        answers = reply.content["predictions"] if reply.status == 200 else [None] * len(group)
        replies += [
            Reply(reply.status, {"predictions": [answer]}, reply.seconds) for answer in answers
        ]
    return replies


def _predict_each(predictor: Reference, rows: list[GoldenRow]) -> np.ndarray:
    """Ask the model for one text at a time, as the server was asked.

    An integer-quantised model sets its scale by the whole batch, so that the company of a text
    moves its scores: only equal batches can be compared to the last digits.
    """
    return np.concatenate([predictor.predict([row.text]) for row in rows]).astype(np.float64)


def _scores(replies: list[Reply], labels: list[str]) -> np.ndarray:
    """Return probabilities [num_replies, num_labels]; a reply without them is a row of nan."""
    table = np.full((len(replies), len(labels)), np.nan)
    for row, reply in zip(table, replies, strict=True):
        if reply.status == 200 and _shape_complaint(reply.content, labels) == "":
            scores = reply.content["predictions"][0]["scores"]
            row[:] = [scores[label] for label in labels]
    return table


# --- judging ----------------------------------------------------------------------------------


def malformed(reply: Reply, reference: str, labels: list[str]) -> str:
    """Say what is wrong with the answer to one text; empty when nothing is."""
    if reply.status != 200:
        what = reply.content.get("what") if isinstance(reply.content, dict) else reply.content
        return f"status {reply.status}: {what}"
    complaint = _shape_complaint(reply.content, labels)
    if complaint:
        return complaint
    if reply.content.get("model") != reference:
        return f"the model is {reply.content.get('model')!r}, not {reference!r}"
    if not isinstance(reply.content.get("request_id"), str):
        return "there is no request_id"
    return ""


def _shape_complaint(content: Any, labels: list[str]) -> str:
    predictions = content.get("predictions") if isinstance(content, dict) else None
    if not isinstance(predictions, list) or len(predictions) != 1:
        return "there is not one prediction for one text"
    answer = predictions[0]
    scores = answer.get("scores") if isinstance(answer, dict) else None
    if not isinstance(scores, dict) or sorted(scores) != sorted(labels):
        return "the scores are not those of the model's labels"
    if not all(isinstance(p, float | int) and 0 <= p <= 1 for p in scores.values()):
        return "a score is not between 0 and 1"
    if not math.isclose(sum(scores.values()), 1, abs_tol=_SUM_TOLERANCE):
        return f"the scores sum to {sum(scores.values()):.4f}"
    best = max(scores.values())
    if answer.get("score") != best or scores.get(str(answer.get("label"))) != best:
        return "the label is not the one with the highest score"
    return ""


def _check_answers(complaints: list[str]) -> Check:
    wrong = [complaint for complaint in complaints if complaint]
    found = f"{len(wrong)} of {len(complaints)} malformed"
    if wrong:
        found += ": " + "; ".join(sorted(set(wrong))[:_SHOWN])
    return Check("answers every golden row in the right form", not wrong, "0 malformed", found)


def check_quality(
    rows: list[GoldenRow], scores: np.ndarray, labels: list[str], min_quality: float
) -> tuple[Check, dict[str, Any]]:
    """Compare macro-recall with its floor; a row without a valid answer counts as wrong.

    The figure itself decides; its 95 % interval says how sure it is with so few rows.
    """
    answered = ~np.isnan(scores).any(axis=1)
    best = np.where(answered, np.nan_to_num(scores).argmax(axis=1), -1)
    predicted = [labels[column] if column >= 0 else None for column in best]
    counts = confusion([row.label for row in rows], predicted, labels)
    recall, low, high = bootstrap_interval(counts, "macro_recall")
    check = Check(
        "quality", recall >= min_quality, f"macro-recall of at least {min_quality:.3f}",
        f"{recall:.3f} [{low:.3f}, {high:.3f}] on {len(rows)} rows",
    )  # fmt: skip
    return check, {"macro_recall": recall, "low": low, "high": high, "rows": len(rows)}


def check_speed(seconds: Sequence[float], max_milliseconds: float) -> Check:
    """Compare the 95th percentile of the time of one text's answer with its limit."""
    p95 = _percentiles(seconds)["p95_milliseconds"]
    passed = p95 <= max_milliseconds
    return Check(
        "speed", passed, f"p95 of at most {max_milliseconds:g} ms per text",
        "within the limit" if passed else "over the limit", f"p95 of {p95:.1f} ms",
    )  # fmt: skip


def check_hostile(replies: Sequence[Reply], reference: str, labels: list[str]) -> Check:
    """Compare the answers to ``HOSTILE`` with their proper status and form."""
    wrong = list(_hostile_complaints(replies, reference, labels))
    found = f"{len(HOSTILE) - len(wrong)} of {len(HOSTILE)}"
    if wrong:
        found += ": " + "; ".join(wrong)
    demanded = f"{len(HOSTILE)} of {len(HOSTILE)} answered with their proper status"
    return Check("hostile requests", not wrong, demanded, found)


def _hostile_complaints(
    replies: Sequence[Reply], reference: str, labels: list[str]
) -> Iterator[str]:
    for case, reply in zip(HOSTILE, replies, strict=True):
        if reply.status != case.status:
            yield f"{case.name} got {reply.status}, not {case.status}"
        elif case.status == 200 and (complaint := malformed(reply, reference, labels)):
            yield f"{case.name}: {complaint}"
        elif case.status != 200 and not _is_error(reply.content):
            yield f"{case.name}: the error does not say what and the next step"


def _is_error(content: Any) -> bool:
    return isinstance(content, dict) and bool(content.get("what") and content.get("next_step"))


def _check_equal(name: str, first: np.ndarray, second: np.ndarray) -> Check:
    difference = _difference(first, second)
    passed = difference is not None and difference <= TOLERANCE
    found = "some rows had no answer" if difference is None else f"{difference:.1e}"
    return Check(name, passed, f"scores differ by at most {TOLERANCE:g}", found)


def _difference(first: np.ndarray, second: np.ndarray) -> float | None:
    largest = float(np.abs(first - second).max())
    return None if math.isnan(largest) else largest


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    p50, p95 = np.percentile(np.asarray(seconds) * 1000, [50, 95])
    return {"p50_milliseconds": round(float(p50), 3), "p95_milliseconds": round(float(p95), 3)}
