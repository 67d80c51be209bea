"""Where a training spends time and memory, and what is advised."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from tiny_training import build_records, sentences, write_encoder

from workbench.core.laws import FolderRun
from workbench.train.clock import PHASES, PhaseClock
from workbench.train.options import FitOptions
from workbench.train.profile import RankProfile, advise, combine, profile_in, write_profile
from workbench.train.train import TrainSpec


def test_each_moment_belongs_to_the_innermost_phase() -> None:
    clock = PhaseClock()
    begun = time.perf_counter()
    with clock("forward"):
        time.sleep(0.02)
        with clock("communication"):
            time.sleep(0.03)
        time.sleep(0.01)
    seconds = clock.read()
    assert 0.03 <= seconds["forward"] < 0.045
    assert 0.03 <= seconds["communication"] < 0.045
    assert sum(seconds.values()) == pytest.approx(time.perf_counter() - begun, abs=0.005)


def rank_profile(**changes: Any) -> RankProfile:
    values: dict[str, Any] = {
        "seconds": {**dict.fromkeys(PHASES, 0.0), "forward": 3.0, "backward": 6.0,
                    "communication": 1.0},
        "steps": 100, "tokens": 900, "padded_tokens": 1000, "parameters": 10**6,
        "memory": {"program": 1, "weights": 4, "gradients": 4, "moments": 8, "activations": 3},
        "peak_bytes": 20, "peak_flops": 1e9,
    }  # fmt: skip
    return RankProfile(**{**values, **changes})


def test_ranks_are_put_together() -> None:
    slow = rank_profile(peak_bytes=40, padded_tokens=1100)
    profile = combine([rank_profile(), slow])
    assert (profile.world, profile.steps, profile.peak_bytes) == (2, 100, 40)
    assert profile.step_seconds == pytest.approx(0.1)
    assert profile.tokens_per_second == pytest.approx(180)
    assert profile.padding_share == pytest.approx(1 - 1800 / 2100)
    assert profile.flops_share == pytest.approx(6e6 * 2100 / 10 / 2e9)


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        ("communication", "the exchange between workers: give a larger batch_size"),
        ("optimiser", "a batch_size above 32"),
        ("input", "a faster disk"),
        ("saving", "a checkpoint_seconds above 60"),
        ("validation", "evaluate_every higher"),
    ],
)
def test_what_is_out_of_proportion_has_its_advice(phase: str, said: str) -> None:
    seconds = {**dict.fromkeys(PHASES, 0.0), "forward": 3.0, "backward": 6.0, phase: 6.0}
    found = advise(combine([rank_profile(seconds=seconds)] * 2), FitOptions())
    assert len(found) == 1
    assert found[0].startswith("40% of the time goes into")
    assert said in found[0]
    assert advise(combine([rank_profile()] * 2), FitOptions()) == []


def test_a_training_tells_where_its_time_and_memory_went(tmp_path: Path) -> None:
    inputs = {
        "train@latest": build_records(tmp_path, sentences(200), "train"),
        "check@latest": build_records(tmp_path, sentences(40, seed=1), "check"),
    }
    run = FolderRun(tmp_path / "run", inputs, num_workers=2)
    begun = time.monotonic()
    run.run(TrainSpec(
        dataset="train", validation="check", model=str(write_encoder(tmp_path / "encoder")),
        epochs=2, batch_size=16, learning_rate=3e-3, max_tokens=24, checkpoint_seconds=0,
    ))  # fmt: skip
    found = profile_in([{"kind": kind, "payload": facts} for kind, facts in run.events])
    assert found is not None
    told, advice = found
    assert told.steps == 26
    assert all(told.seconds[phase] > 0 for phase in PHASES)
    assert sum(told.seconds.values()) < time.monotonic() - begun
    assert told.memory["moments"] == 2 * told.memory["weights"] > 0
    assert 0 < told.flops_share < 1
    assert 0 <= told.padding_share < 0.5
    write_profile(tmp_path / "profile.html", told, advice)
    assert "Optimiser" in (tmp_path / "profile.html").read_text()
    assert all(f"Advice: {text}" in {f.get("message") for _, f in run.events} for text in advice)
