"""Metrics against scikit-learn as oracle, intervals against the laws that they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import DataError, SpecError
from workbench.tasks.metrics import (
    accuracy,
    accuracy_of,
    bootstrap_interval,
    confusion,
    holm,
    macro_f1,
    macro_recall,
    macro_recall_of,
    paired_bootstrap,
    per_label_precision,
    per_label_recall,
    rows_needed,
)

LABELS = ["negative", "neutral", "positive"]
label = st.sampled_from(LABELS)
answer = st.sampled_from([*LABELS, None])
rows = st.lists(st.tuples(label, label), min_size=1, max_size=60).map(
    lambda r: [*zip(*r, strict=True)]
)
triples = st.lists(st.tuples(label, answer, answer), min_size=2, max_size=60).map(
    lambda r: [*zip(*r, strict=True)]
)


def planted(num_rows: int, skill: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.choice(LABELS, num_rows, p=[0.2, 0.5, 0.3])
    return truth, np.where(random.random(num_rows) < skill, truth, random.choice(LABELS, num_rows))


@given(rows)
def test_the_figures_are_those_of_scikit_learn(given_rows):
    from sklearn import metrics as oracle

    truth, predicted = given_rows
    assert accuracy(truth, predicted) == pytest.approx(oracle.accuracy_score(truth, predicted))
    present = sorted(set(truth))
    assert macro_recall(truth, predicted) == pytest.approx(
        oracle.recall_score(truth, predicted, labels=present, average="macro", zero_division=0)
    )
    assert macro_f1(truth, predicted) == pytest.approx(
        oracle.f1_score(truth, predicted, average="macro", zero_division=0)
    )
    counts = confusion(truth, predicted, LABELS)
    assert (counts[:, :3] == oracle.confusion_matrix(truth, predicted, labels=LABELS)).all()
    per_label = oracle.precision_recall_fscore_support(
        truth, predicted, labels=LABELS, zero_division=np.nan
    )
    np.testing.assert_allclose(per_label_precision(counts), per_label[0])
    np.testing.assert_allclose(per_label_recall(counts), per_label[1])


def test_a_constant_answer_has_a_macro_recall_of_one_over_the_labels():
    assert macro_recall(LABELS * 5, ["neutral"] * 15) == pytest.approx(1 / 3)


def test_no_answer_is_a_wrong_answer():
    counts = confusion(["a", "a", "b"], ["a", None, "stranger"], ["a", "b"])
    assert counts.tolist() == [[1, 0, 1], [0, 0, 1]]
    assert float(accuracy_of(counts)) == pytest.approx(1 / 3)
    assert float(macro_recall_of(counts)) == pytest.approx(1 / 4)


def test_a_label_without_rows_does_not_lower_the_macro_recall():
    assert macro_recall(["a", "b"], ["a", "b"], ["a", "b", "c"]) == 1.0


@pytest.mark.parametrize(
    ("truth", "predicted", "what"),
    [
        (["a"], ["a", "b"], "1 true labels and 2 predictions"),
        ([], [], "0 true labels"),
        (["a", None], ["a", "a"], "None is not in the label set"),
        (["a", "z"], ["a", "a"], "'z' is not in the label set"),
    ],
)
def test_rows_that_cannot_be_judged_are_refused(truth, predicted, what):
    with pytest.raises(DataError, match=what):
        confusion(truth, predicted, ["a"])


def test_an_unknown_metric_is_answered_with_the_nearest_one():
    with pytest.raises(SpecError, match="macro_recall"):
        bootstrap_interval(confusion(["a"], ["a"]), "macro_recal")


@given(rows, st.sampled_from(["macro_recall", "accuracy", "macro_f1"]), st.integers(0, 99))
def test_an_interval_lies_within_zero_and_one_and_is_the_same_for_the_same_seed(
    given_rows, metric, seed
):
    counts = confusion(*given_rows, LABELS)
    first = bootstrap_interval(counts, metric, resamples=100, seed=seed)
    assert 0 <= first.low <= first.high <= 1
    assert first == bootstrap_interval(counts, metric, resamples=100, seed=seed)


def test_the_interval_is_that_of_scipy():
    from scipy.stats import bootstrap

    truth, predicted = planted(400, 0.6, seed=1)
    oracle = bootstrap(
        (np.asarray(truth == predicted, float),), np.mean, n_resamples=20_000, method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    mine = bootstrap_interval(confusion(truth, predicted), "accuracy", resamples=20_000)
    assert (mine.low, mine.high) == pytest.approx((oracle.low, oracle.high), abs=0.004)


def test_nineteen_of_twenty_intervals_hold_the_true_value():
    true_recall = 0.5 + 0.5 / 3
    held = 0
    for seed in range(300):
        interval = bootstrap_interval(confusion(*planted(300, 0.5, seed)), resamples=400, seed=seed)
        held += interval.low <= true_recall <= interval.high
    assert 0.91 <= held / 300 <= 0.985


@given(triples)
def test_a_comparison_turned_round_has_the_opposite_sign(given_rows):
    truth, first, second = given_rows
    there = paired_bootstrap(truth, first, second, LABELS, resamples=100)
    back = paired_bootstrap(truth, second, first, LABELS, resamples=100)
    assert there.difference == pytest.approx(-back.difference)
    assert there.low <= there.high
    assert 0 < there.p <= 1


@given(triples)
def test_a_system_does_not_differ_from_itself(given_rows):
    truth, predicted, _ = given_rows
    same = paired_bootstrap(truth, predicted, predicted, LABELS, resamples=100)
    assert same == (0.0, 0.0, 0.0, 1.0)


def test_pairing_finds_a_difference_that_two_separate_intervals_hide():
    truth, first = planted(2000, 0.5, seed=3)
    better = np.where(np.random.default_rng(4).random(2000) < 0.04, truth, first)
    apart = [bootstrap_interval(confusion(truth, given)) for given in (first, better)]
    assert apart[0].high > apart[1].low
    paired = paired_bootstrap(truth, better, first)
    assert paired.low > 0
    assert paired.p < 0.01


def test_two_equally_good_systems_differ_at_five_percent_in_five_percent_of_cases():
    alarms = 0
    for seed in range(300):
        truth, first = planted(200, 0.5, seed)
        random = np.random.default_rng(seed + 10_000)
        second = np.where(random.random(200) < 0.5, truth, random.choice(LABELS, 200))
        alarms += paired_bootstrap(truth, first, second, resamples=200, seed=seed).p < 0.05
    assert 0.015 <= alarms / 300 <= 0.09


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_keeps_order_never_lowers_a_p_and_is_at_most_bonferroni(p_values):
    adjusted = holm(p_values)
    pairs = zip(p_values, adjusted, strict=True)
    assert all(p <= a <= min(1, p * len(p_values)) + 1e-15 for p, a in pairs)
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.asarray(adjusted)[order]) >= 0).all()


def test_holm_gives_the_figures_of_the_book():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_many_labels_and_many_rows_need_no_more_than_their_counts():
    labels = [f"label-{n:02d}" for n in range(28)]
    random = np.random.default_rng(0)
    truth, first, second = (random.choice(labels, 4_000) for _ in range(3))
    paired = paired_bootstrap(truth, first, second, labels, resamples=200)
    assert paired.low < paired.difference < paired.high


def test_so_many_rows_as_are_said_to_be_needed_show_a_difference_four_times_of_five():
    """Two systems that are right on .70 and .75 of the rows: seen with a paired test of z."""
    random = np.random.default_rng(0)

    def draw(num_rows):
        truth = ["yes"] * num_rows
        luck = random.random(num_rows)  # shared: rows are hard for both
        first, second = (np.where(luck + random.normal(0, 0.2, num_rows) < c, "yes", "no")
                         for c in (0.68, 0.62))  # fmt: skip
        return truth, first.tolist(), second.tolist()

    truth, first, second = draw(4000)
    pair = paired_bootstrap(truth, first, second, ["no", "yes"], metric="accuracy", resamples=500)
    needed = rows_needed(pair, 4000, pair.difference)
    seen = 0
    for _ in range(400):
        _, one, two = draw(needed)
        apart = (np.asarray(one) == "yes").astype(float) - (np.asarray(two) == "yes")
        seen += abs(apart.mean()) > 1.96 * apart.std() / np.sqrt(needed)
    assert 0.7 < seen / 400 < 0.9
    assert rows_needed(pair, 4000, pair.difference / 2) == pytest.approx(4 * needed, rel=0.01)
