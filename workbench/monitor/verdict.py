"""From p-values to plain words: is there drift, why, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from workbench.tasks.metrics import holm

Action = Literal["none", "look", "recalibrate or retrain"]

_ADVICE: dict[Action, str] = {
    "none": "Nothing to do. No drift was found; a small one may be there all the same.",
    "look": "Look at the words and texts below. The texts have changed, which does not yet mean "
    "worse answers: label about 100 live texts and evaluate on them.",
    "recalibrate or retrain": "The model's answers have changed too. Label about 100 live texts "
    "and evaluate on them: recalibrate if the order of its answers still holds, else retrain.",
}


@dataclass(frozen=True)
class Finding:
    """What one test found; ``sentence`` says it in plain words, were it a real change."""

    test: str
    method: str
    about: Literal["texts", "answers"]
    p: float
    effect: float  # size of the change, whatever the number of texts
    effect_name: str
    sentence: str
    facts: Mapping[str, Any] = field(default_factory=dict)


def decide(
    findings: Sequence[Finding], not_tested: Mapping[str, str], alpha: float
) -> dict[str, Any]:
    """Adjust the p-values for the number of tests and say what follows from them.

    The chance of any alarm without a change is at most ``alpha`` over all tests (Holm). A change
    of the model's answers asks for more than a change of the texts alone.

    Returns:
        ``{"verdict": {"drift", "why", "action", "advice"}, "tests": [...], "not_tested": {...}}``.
    """
    adjusted = holm([finding.p for finding in findings])
    found = [p < alpha for p in adjusted]
    tests = [
        {**asdict(finding), "p_holm": p, "drift": is_real}
        for finding, p, is_real in zip(findings, adjusted, found, strict=True)
    ]
    real = [finding for finding, is_real in zip(findings, found, strict=True) if is_real]
    action: Action = "none"
    if real:
        moved = any(finding.about == "answers" for finding in real)
        action = "recalibrate or retrain" if moved else "look"
    verdict = {
        "drift": bool(real),
        "why": [finding.sentence for finding in real],
        "action": action,
        "advice": _ADVICE[action],
    }
    return {"verdict": verdict, "tests": tests, "not_tested": dict(not_tested)}
