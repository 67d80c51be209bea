"""What a training has cost: where time and memory went, and what would change it.

Ranks measure; the stage puts together what they tell and notes it in its run's journal, with
advice: at most one piece for each thing that is out of proportion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from workbench.core.bars import draw_bars
from workbench.core.page import Child, element, heading, table, write_page
from workbench.core.sizes import format_bytes
from workbench.train.clock import PHASES, Phase
from workbench.train.options import FitOptions

_MANY_BYTES = 2e9  # less is nobody's trouble


class RankProfile(BaseModel):
    """What one rank has measured since its gang began."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: dict[str, float]  # by phase
    steps: int
    tokens: int  # of this rank's records, special tokens included
    padded_tokens: int  # the same with the padding that was computed, too
    parameters: int  # of the model, without its word embeddings
    memory: dict[str, int]  # bytes by kind: weights, gradients, moments, other
    peak_bytes: int
    peak_flops: float  # that this rank's matrix products reach at best, a second


class Profile(BaseModel):
    """What a gang has measured: means over its ranks, and the largest memory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    world: int
    steps: int
    seconds: dict[str, float]
    step_seconds: float  # validation and saving left out
    tokens_per_second: float  # over all ranks, without padding
    padding_share: float
    memory: dict[str, int]
    peak_bytes: int
    flops_share: float  # achieved of what the same processor's products of matrices reach


def combine(ranks: Sequence[RankProfile]) -> Profile:
    """Put together what the ranks of a gang have measured."""
    world = len(ranks)
    seconds = {phase: sum(r.seconds[phase] for r in ranks) / world for phase in PHASES}
    training = sum(s for phase, s in seconds.items() if phase not in ("validation", "saving"))
    tokens, padded = sum(r.tokens for r in ranks), sum(r.padded_tokens for r in ranks)
    largest = max(ranks, key=lambda rank: rank.peak_bytes)
    # Two floating-point operations a weight and token forwards, four backwards.
    work = 6.0 * ranks[0].parameters * padded
    best = sum(rank.peak_flops for rank in ranks)
    return Profile(
        world=world, steps=ranks[0].steps, seconds=seconds,
        step_seconds=training / max(ranks[0].steps, 1),
        tokens_per_second=tokens / training if training else 0.0,
        padding_share=1 - tokens / padded if padded else 0.0,
        memory=largest.memory, peak_bytes=largest.peak_bytes,
        flops_share=work / training / best if training and best else 0.0,
    )  # fmt: skip


def advise(profile: Profile, options: FitOptions) -> list[str]:
    """Return what would make the training quicker or smaller, the most worthwhile first."""
    whole = sum(profile.seconds.values()) or 1.0
    share = {phase: seconds / whole for phase, seconds in profile.seconds.items()}
    found: list[tuple[float, str]] = []

    def note(phase: Phase, most: float, remedy: str) -> None:
        if share[phase] > most:
            found.append((share[phase], f"{share[phase]:.0%} of the time goes into {remedy}"))

    if profile.world > 1:
        note("communication", 0.25, "the exchange between workers: give a larger batch_size, or "
             "fewer workers.")  # fmt: skip
    note("optimiser", 0.15, f"the optimiser: a batch_size above {options.batch_size} has fewer "
         "steps.")  # fmt: skip
    note("input", 0.1, "reading records: put the workspace on a faster disk.")
    note("saving", 0.05, "checkpoints: a checkpoint_seconds above "
         f"{options.checkpoint_seconds:g} makes fewer.")  # fmt: skip
    note("validation", 0.25, "validation: set evaluate_every higher, or take a sample of the set.")
    if profile.padding_share > 0.2:
        found.append((profile.padding_share, f"{profile.padding_share:.0%} of the tokens are "
                      "padding: records of very different length meet in one piece; more "
                      "virtual_ranks make smaller ones."))  # fmt: skip
    if options.precision == "float32" and profile.flops_share > 0.5:
        found.append((0.3, "Products of matrices are near this processor's best in float32: try "
                      "precision bf16."))  # fmt: skip
    activations = profile.memory.get("activations", 0)
    if activations > max(0.6 * profile.peak_bytes, _MANY_BYTES) and not options.recompute:
        found.append((0.2, f"Activations take {format_bytes(activations)}: recompute, or more "
                      "virtual_ranks, makes them smaller."))  # fmt: skip
    return [text for _, text in sorted(found, key=lambda each: -each[0])]


def write_profile(path: Path, profile: Profile, advice: Sequence[str]) -> None:
    """Write a profile as a page."""
    whole = sum(profile.seconds.values()) or 1.0
    told = f"{profile.steps:,} steps on {profile.world} workers, since they last started"
    body: list[Child] = [
        heading("Profile", told, level=1),
        heading("Time", f"{whole:.1f} s of each worker"),
        draw_bars([
            (phase.capitalize(), seconds / whole, 0.0, f"{seconds:.1f} s, {seconds / whole:.0%}")
            for phase, seconds in profile.seconds.items() if seconds > 0.001 * whole
        ]),
        heading("Memory", f"{format_bytes(profile.peak_bytes)} at most, of one worker"),
        draw_bars([
            (kind.capitalize(), num / max(profile.peak_bytes, 1), 0.0, format_bytes(num))
            for kind, num in profile.memory.items() if num
        ]),
        heading("Speed"),
        table(["", ""], _speed(profile), numeric=lambda column: column == 1),
        heading("Advice"),
        element("ul", *(element("li", text) for text in advice)) if advice
        else element("p", "Nothing is out of proportion."),
    ]  # fmt: skip
    write_page(path, "Profile", body)


def _speed(profile: Profile) -> list[tuple[str, str]]:
    return [
        ("Step", f"{profile.step_seconds * 1000:.1f} ms"),
        ("Tokens a second", f"{profile.tokens_per_second:,.0f}"),
        ("Padding", f"{profile.padding_share:.1%} of the tokens"),
        ("Share of this machine's best", f"{profile.flops_share:.0%}"),
    ]


def rows_of(profile: Profile) -> list[tuple[str, str]]:
    """Return a profile as rows of a table."""
    whole = sum(profile.seconds.values()) or 1.0
    return [
        *((phase, f"{seconds:.1f} s, {seconds / whole:.0%}")
          for phase, seconds in profile.seconds.items() if seconds > 0.001 * whole),
        *((f"memory: {kind}", format_bytes(num)) for kind, num in profile.memory.items() if num),
        ("memory at most", format_bytes(profile.peak_bytes)),
        *((name.lower(), value) for name, value in _speed(profile)),
    ]  # fmt: skip


def summary_of(profile: Profile) -> str:
    """Return a profile as one line of a journal."""
    whole = sum(profile.seconds.values()) or 1.0
    shares = sorted(profile.seconds.items(), key=lambda item: -item[1])[:3]
    told = ", ".join(f"{phase} {seconds / whole:.0%}" for phase, seconds in shares)
    return (
        f"Time went into {told}; a step took {profile.step_seconds * 1000:.0f} ms, memory "
        f"{format_bytes(profile.peak_bytes)} of a worker at most"
    )


def profile_in(events: Iterable[Mapping[str, Any]]) -> tuple[Profile, list[str]] | None:
    """Return the newest profile in a run's journal, and its advice; None if there is none."""
    told = [event["payload"] for event in events if "profile" in event["payload"]]
    return (Profile(**told[-1]["profile"]), told[-1]["advice"]) if told else None
