"""Whether ranks get on: who gets nowhere is told, with the line in which it is."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch  # noqa: TID253 (losses of a cell use it so)
from tiny_training import build_inputs, write_encoder

from workbench.core.errors import Cause, ResourceError
from workbench.core.laws import FolderRun
from workbench.train import pulse
from workbench.train.clock import PhaseClock
from workbench.train.pulse import Pulse, Pulses
from workbench.train.train import TrainSpec
from workbench.train.user_loss import loss


class Watched:
    """Ranks that are watched on a clock of the test's own."""

    def __init__(self, num_ranks: int = 2, **settings: Any) -> None:
        self.pulses = Pulses(range(num_ranks), **settings)
        self.ranks = [Pulse(self.pulses.descriptor, place) for place in range(num_ranks)]
        self.now = 1000.0
        self.look()

    def look(self, after: float = 0.0) -> list[tuple[int, str]]:
        self.now += after
        ranks = range(len(self.ranks))
        return [(each.rank, each.phase) for each in self.pulses.look(self.now, ranks)]

    def step(self, after: float = 1.0) -> None:
        for _ in range(2):
            for each in self.ranks:
                each.beat("forward")
            self.look(after / 2)
        for each in self.ranks:
            each.end_step()


def test_who_gets_on_is_left_alone_however_long() -> None:
    watched = Watched()
    for _ in range(100):
        watched.step(pulse.STALL_SECONDS)
        assert watched.look() == []


def test_who_gets_nowhere_is_told_and_not_who_waits_for_it() -> None:
    watched = Watched()
    for _ in range(3):
        watched.step()
    watched.ranks[0].beat("communication")
    watched.ranks[1].beat("backward")
    watched.look(1.0)
    assert watched.look(pulse.STALL_SECONDS - 1) == []
    assert watched.look(2.0) == [(1, "backward")]
    assert watched.look(60.0) == [(1, "backward")]


def test_all_who_wait_for_each_other_are_told() -> None:
    watched = Watched()
    for _ in range(3):
        watched.step()
    for each in watched.ranks:
        each.beat("communication")
    watched.look(1.0)
    assert watched.look(pulse.FIRST_SECONDS - 1) == []
    assert len(watched.look(2.0)) == 2


def test_who_waits_for_a_rank_that_saves_is_given_its_time() -> None:
    watched = Watched()
    for _ in range(3):
        watched.step()
    watched.ranks[0].beat("saving")
    watched.ranks[1].beat("forward")  # there layers are put together
    watched.look(1.0)
    assert watched.look(pulse.FIRST_SECONDS - 1) == []
    watched.ranks[0].beat("forward")
    assert watched.look(2.0) == [(1, "forward")]


@pytest.mark.parametrize("case", ["first steps", "compiled", "saving", "slow before"])
def test_what_may_take_long_is_given_more_time(case: str) -> None:
    watched = Watched(1, first_only=case == "compiled")
    for _ in range(1 if case == "first steps" else 3):
        watched.step(60.0 if case == "slow before" else 1.0)
    watched.ranks[0].beat("saving" if case == "saving" else "forward")
    watched.look(1.0)
    most = 300.0 if case == "slow before" else pulse.FIRST_SECONDS
    assert watched.look(most - 1) == []
    assert len(watched.look(2.0)) == 1


def test_who_is_held_by_a_debugger_is_given_time_anew() -> None:
    watched = Watched(1)
    for _ in range(3):
        watched.step()
    assert len(watched.look(pulse.STALL_SECONDS + 1)) == 1
    watched.pulses.excuse(watched.now, 0)
    assert watched.look(pulse.STALL_SECONDS - 1) == []


def test_each_phase_is_a_sign() -> None:
    watched = Watched(1)
    clock = PhaseClock(beat=watched.ranks[0].beat)
    with clock("forward"), clock("input"):
        assert watched.look(1000.0) == []
    assert watched.look(1000.0) == []
    assert [phase for _, phase in watched.look(1000.0)] == ["other"]


@loss
def stuck(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    import torch.distributed

    while torch.distributed.get_rank() == 1:  # the line that is told
        pass
    return torch.nn.functional.cross_entropy(logits, labels, reduction="none")


def test_a_loss_that_never_returns_ends_the_gang_and_its_line_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "STALL_SECONDS", 1.5)
    monkeypatch.setattr(pulse, "FIRST_SECONDS", 10.0)
    encoder = write_encoder(tmp_path / "encoder")
    run = FolderRun(tmp_path / "run", build_inputs(tmp_path), num_workers=2)
    spec = TrainSpec(
        dataset="train", validation="check", model=str(encoder), epochs=4, batch_size=16,
        max_tokens=24, precision="float32", loss=stuck,
    )  # fmt: skip
    begun = time.monotonic()
    with pytest.raises(ResourceError, match=r"Rank 1 has got nowhere for \d+ s") as told:
        run.run(spec)
    assert time.monotonic() - begun < 60
    assert told.value.cause == Cause.STALLED
    assert told.value.where == "rank 1, forward"
    assert "in stuck" in told.value.detail
