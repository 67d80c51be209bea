"""Laws of training: which rows when, what is kept, and that the flat step is the plain one."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_training import build_records, sentences, write_encoder

from workbench.core.artifact import Artifact
from workbench.core.laws import StageLaws
from workbench.core.spec import Spec
from workbench.train import batches
from workbench.train.labelled import class_weights
from workbench.train.state import stale_keys
from workbench.train.strategies.tree import Node, PartialSums, roots_over
from workbench.train.student import kept_layers
from workbench.train.train import TrainSpec

lengths = st.lists(st.integers(1, 64), min_size=1, max_size=300).map(np.array)


@given(lengths, st.integers(1, 40), st.integers(0, 9), st.integers(0, 3))
def test_an_epoch_has_each_row_once(
    rows: np.ndarray, batch_size: int, seed: int, epoch: int
) -> None:
    found = batches.epoch_batches(rows, batch_size, seed, epoch)
    assert sorted(np.concatenate(found).tolist()) == list(range(len(rows)))
    assert len(found) == batches.num_batches(len(rows), batch_size)
    assert all(0 < len(batch) <= batch_size for batch in found)
    again = batches.epoch_batches(rows, batch_size, seed, epoch)
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))


@given(st.integers(1, 100), st.integers(1, 200), st.data())
def test_the_ranks_share_a_batch_without_gap_or_overlap(
    num_rows: int, batch_size: int, data: st.DataObject
) -> None:
    count = batches.num_slices(batch_size)
    world = data.draw(st.integers(1, count))
    batch = np.arange(num_rows)
    shared = [
        batches.slice_batch(batch, number, count)
        for rank in range(world)
        for number in batches.slices_of_rank(rank, world, count)
    ]
    assert sorted(np.concatenate(shared).tolist()) == batch.tolist()


@given(st.integers(1, 100), st.integers(1, 200), st.integers(0, 6))
def test_a_gang_that_ran_out_of_memory_works_on_the_same_batch_in_smaller_pieces(
    num_rows: int, batch_size: int, num_shrinks: int
) -> None:
    before, count = (
        batches.num_slices(batch_size, num_shrinks=n) for n in (num_shrinks, num_shrinks + 1)
    )
    assert before <= count <= max(2 * before, 2)
    assert count > before or before >= batch_size, "until each piece is one row"
    batch = np.arange(num_rows)
    pieces = [batches.slice_batch(batch, number, count) for number in range(count)]
    assert sorted(np.concatenate(pieces).tolist()) == batch.tolist()


@given(st.integers(1, 500), st.floats(0, 0.99))
def test_the_learning_rate_rises_then_falls_and_is_never_zero(
    num_steps: int, warmup_share: float
) -> None:
    shares = [
        batches.learning_rate_share(step, num_steps, warmup_share) for step in range(num_steps)
    ]
    top = int(np.argmax(shares))
    assert all(0 < share <= 1 for share in shares)
    assert shares[:top] == sorted(shares[:top])
    assert shares[top:] == sorted(shares[top:], reverse=True)


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=50).map(np.array))
def test_class_weights_are_one_on_average_over_labelled_rows(numbers: np.ndarray) -> None:
    labelled = numbers[numbers >= 0]
    for kind in ("none", "sqrt", "balanced"):
        weights = class_weights(numbers, 4, kind)  # type: ignore[arg-type]
        if len(labelled):
            assert weights[labelled].mean() == pytest.approx(1.0)
        counts = np.bincount(labelled, minlength=4)
        present = np.flatnonzero(counts)
        order = present[np.argsort(counts[present])]
        assert all(np.diff(weights[order]) <= 1e-12)


@given(
    st.lists(st.tuples(st.integers(0, 99), st.none() | st.integers(0, 5)), unique_by=lambda t: t[0])
)
def test_the_two_newest_checkpoints_and_what_they_point_to_are_kept(
    steps: list[tuple[int, int | None]],
) -> None:
    best_of = {
        f"step-{step:010d}": None if best is None else f"best-{best:06d}" for step, best in steps
    }
    bests = [f"best-{number:06d}" for number in range(6)]
    stale = stale_keys(best_of, bests)
    newest = sorted(best_of)[-2:]
    kept = {*newest, *(best_of[key] for key in newest)} - {None}
    assert set(stale) == {*best_of, *bests} - kept


@given(st.integers(1, 48), st.data())
def test_a_student_keeps_layers_in_order_the_last_one_always(
    num_layers: int, data: st.DataObject
) -> None:
    num_kept = data.draw(st.integers(1, num_layers))
    kept = kept_layers(num_layers, num_kept)
    assert len(set(kept)) == num_kept
    assert kept == sorted(kept)
    assert kept[-1] == num_layers - 1
    assert num_kept == 1 or kept[0] == 0


def test_a_flat_step_over_touched_rows_is_a_plain_adamw_step(tmp_path: Path) -> None:
    import torch

    from workbench.models.checkpoint import new_classifier
    from workbench.train.strategies.flat_parameters import FlatParameters

    encoder = write_encoder(tmp_path / "encoder")
    plain, flat = (new_classifier(encoder, ["a", "b"], seed=0).eval() for _ in range(2))
    weights = FlatParameters(flat, most_tokens=6 * 9)
    decayed = [p for p in plain.parameters() if p.ndim > 1]
    others = [p for p in plain.parameters() if p.ndim <= 1]
    expected = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], lr=1e-2
    )
    actual = torch.optim.AdamW(
        [{"params": [weights.decayed, weights.table], "weight_decay": 0.1},
         {"params": [weights.others], "weight_decay": 0.0}], lr=1e-2, fused=True,
    )  # fmt: skip
    random = np.random.default_rng(0)
    for _ in range(4):
        ids = torch.from_numpy(random.integers(0, 60, (6, 9)))
        mask = torch.ones_like(ids)
        target = torch.from_numpy(random.integers(0, 2, 6))
        expected.zero_grad()
        loss = torch.nn.functional.cross_entropy
        loss(plain(input_ids=ids, attention_mask=mask).logits, target).backward()
        expected.step()
        tokens = ids.unique()
        weights.open_step(tokens)
        weights.exchange.zero_()
        loss(flat(input_ids=ids, attention_mask=mask).logits, target).backward()
        with weights.rows_in_table(tokens):
            actual.step()
    states = plain.state_dict(), flat.state_dict()
    assert list(states[0]) == list(states[1])
    for name in states[0]:
        torch.testing.assert_close(
            states[1][name], states[0][name], atol=1e-4, rtol=0
        )  # a step is 1e-2


class TestTrain(StageLaws):
    def example(self, folder: Path) -> tuple[Spec, dict[str, Artifact]]:
        inputs = {
            "train@latest": build_records(folder, sentences(80), "train"),
            "check@latest": build_records(folder, sentences(30, seed=1), "check"),
        }
        spec = TrainSpec(
            dataset="train", validation="check", model=str(write_encoder(folder / "encoder")),
            epochs=2, batch_size=16, learning_rate=3e-3, max_tokens=24, precision="float32",
            checkpoint_seconds=0,
        )  # fmt: skip
        return spec, inputs


@given(st.integers(1, 70), st.data())
def test_a_sum_is_the_same_expression_however_its_parts_are_shared_out(
    num_leaves: int, data: st.DataObject
) -> None:
    def expression(cuts: list[int]) -> object:
        def add(left: object, right: object) -> object:
            return (left, right)

        whole = PartialSums[object](num_leaves, add)
        ends = [0, *sorted(cuts), num_leaves]
        for start, end in pairwise(ends):
            part = PartialSums[object](num_leaves, add)
            for leaf in range(start, end):
                part.push(Node(0, leaf), leaf)
            assert [node for node, _ in part.nodes] == roots_over(range(start, end), num_leaves)
            for node, value in part.nodes:
                whole.push(node, value)
        return whole.total

    cuts = data.draw(st.lists(st.integers(0, num_leaves), max_size=6))
    assert expression(cuts) == expression([])


@given(st.integers(1, 64), st.integers(1, 9))
def test_every_leaf_is_added_once_and_partial_sums_are_few(num_leaves: int, world: int) -> None:
    sums = PartialSums[tuple[int, ...]](num_leaves, lambda left, right: left + right)
    for leaf in range(num_leaves):
        sums.push(Node(0, leaf), (leaf,))
    assert sums.total == tuple(range(num_leaves))
    shares = [batches.slices_of_rank(rank, world, num_leaves) for rank in range(world)]
    assert [leaf for share in shares for leaf in share] == list(range(num_leaves))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    most = 2 * max(1, num_leaves.bit_length())
    assert all(len(roots_over(share, num_leaves)) <= most for share in shares)
