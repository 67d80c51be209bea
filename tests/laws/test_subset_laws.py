"""Laws of splits, samples and shards: no layout matters, nothing leaks, nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from data_sets import data_set
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_training import sentences, texts_of, write_encoder

from workbench.core.artifact import Artifact
from workbench.core.laws import FolderRun, StageLaws
from workbench.core.spec import Spec
from workbench.data import records
from workbench.data.duplicates import near_duplicates
from workbench.data.ngrams import hash_grams, split_terms
from workbench.data.order import as_uniform, first_by, hash_order, hash_strings
from workbench.data.profile import merge, profile
from workbench.data.records import read_records, write_partition
from workbench.data.sampling.coverage import k_centre, on_grid, stratified_by_score
from workbench.data.sampling.draw import draw_by_log_weight, draw_weighted
from workbench.data.sampling.stage import SampleSpec
from workbench.data.split.dealing import cut_by_time, join_groups, later_relatives
from workbench.data.split.record_time import UNDATED, parse_times
from workbench.data.split.stage import SplitSpec
from workbench.data.subsets import gather_rows, save_codes, write_subsets
from workbench.data.tokens import as_texts
from workbench.data.transform.options import TransformSpec
from workbench.data.transform.packing import cut_evenly
from workbench.data.transform.shards import open_shards
from workbench.models.text_encoder import TextEncoder

FEW = settings(max_examples=10)
Fresh = Callable[[], Path]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    """Offer a function that gives an empty folder, also inside a hypothesis example."""
    return lambda: tmp_path_factory.mktemp("example")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_encoder(tmp_path_factory.mktemp("model") / "encoder"))


# -- order ----------------------------------------------------------------------------------------


@given(strings=st.lists(st.text(max_size=40)), seed=st.integers(0, 2**70), cut=st.integers(0, 9))
def test_a_string_has_one_hash_wherever_it_stands(strings: list[str], seed: int, cut: int) -> None:
    whole = hash_strings(pa.array(strings, pa.string()), seed)
    chunks = [
        pa.array(strings[:cut], pa.large_string()),
        pa.array(strings[cut:], pa.large_string()),
    ]
    assert (whole == hash_strings(pa.chunked_array(chunks), seed)).all()
    alone = [hash_strings(pa.array([string]), seed)[0] for string in strings]
    assert whole.tolist() == alone
    assert len(set(whole.tolist())) == len(set(strings))
    uniform = as_uniform(whole)
    assert ((uniform > 0) & (uniform < 1)).all()


@given(keys=st.lists(st.integers(0, 1000), unique=True), size=st.integers(0, 60))
def test_the_smallest_keys_come_first_and_rows_ascend(keys: list[int], size: int) -> None:
    rows = first_by(np.array(keys, np.uint64), size)
    wanted = sorted(sorted(range(len(keys)), key=keys.__getitem__)[:size])
    assert rows.tolist() == wanted


def test_every_bit_of_a_hash_is_as_often_one_as_zero() -> None:
    hashes = hash_strings(pa.array([f"{n:032x}" for n in range(20_000)]), 0)
    ones = [int(((hashes >> np.uint64(bit)) & np.uint64(1)).sum()) for bit in range(64)]
    assert all(abs(count - 10_000) < 5 * 71 for count in ones)  # five standard deviations


# -- n-grams --------------------------------------------------------------------------------------

WORDS = st.lists(st.sampled_from(["a", "b", "cc", "D", "!", "猫"]), max_size=8).map(" ".join)


@given(texts=st.lists(WORDS, max_size=12), longest=st.integers(1, 4))
def test_terms_are_all_runs_of_words_and_hashes_stand_for_terms(
    texts: list[str], longest: int
) -> None:
    column = as_texts(pa.array(texts, pa.string()))
    found = split_terms(column, longest)
    terms = np.array(found.terms.to_pylist(), object)[found.places]
    grams = hash_grams(column, longest)
    for row, text in enumerate(texts):
        words = [word for word in text.lower().split() if word != "!"]
        wanted = [
            " ".join(words[at : at + size])
            for size in range(1, longest + 1)
            for at in range(len(words) - size + 1)
        ]
        assert sorted(terms[found.rows == row].tolist()) == sorted(wanted)
        hashes = grams.hashes[grams.offsets[row] : grams.offsets[row + 1]]
        assert len(hashes) == len(wanted)
        assert len(set(hashes.tolist())) == len(set(wanted))


# -- split ----------------------------------------------------------------------------------------


@given(
    times=st.lists(st.integers(0, 20), min_size=1, max_size=60),
    shares=st.sampled_from([[0.7, 0.1, 0.2], [0.5, 0.5], [1.0], [0.25] * 4]),
)
def test_a_cut_in_time_keeps_ties_together_and_parts_in_order(
    times: list[int], shares: list[float]
) -> None:
    parts = cut_by_time(np.array(times), np.array(shares))
    by_time = sorted(zip(times, parts.tolist(), strict=True))
    assert [part for _, part in by_time] == sorted(parts.tolist())
    assert len({*zip(times, parts.tolist(), strict=True)}) == len(set(times))
    if len(set(times)) >= len(shares):
        assert set(parts.tolist()) == set(range(len(shares)))


@given(sizes=st.lists(st.integers(1, 3), min_size=3, max_size=30))
def test_distinct_times_are_cut_within_one_tie_of_their_shares(sizes: list[int]) -> None:
    times = np.repeat(np.arange(len(sizes)), sizes)
    parts = cut_by_time(times, np.array([0.5, 0.5]))
    assert abs(int((parts == 0).sum()) - len(times) / 2) <= max(sizes) / 2


PAIRS = st.integers(1, 30).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, n - 1), min_size=n, max_size=n),
        st.lists(st.integers(-1, 4), min_size=n, max_size=n),
    )
)


@given(pairs=PAIRS)
def test_joined_groups_hold_whatever_either_grouping_holds(
    pairs: tuple[list[int], list[int]],
) -> None:
    links, group = pairs
    keeper = np.array([min(row, link) for row, link in enumerate(links)])
    joined = join_groups(keeper, np.array(group)).tolist()
    assert all(joined[row] == joined[first] for row, first in enumerate(keeper.tolist()))
    for value in set(group) - {-1}:
        assert len({joined[row] for row, found in enumerate(group) if found == value}) == 1
    # No more than that: the number of groups is that of union-find over the same links.
    parent = list(range(len(joined)))

    def find(row: int) -> int:
        while parent[row] != row:
            row = parent[row]
        return row

    for left in range(len(joined)):
        for right in range(left):
            if keeper[left] == right or (group[left] == group[right] >= 0):
                high, low = sorted((find(left), find(right)), reverse=True)
                parent[high] = low
    assert joined == [find(row) for row in range(len(joined))]


@given(parts=st.lists(st.integers(0, 3), min_size=1), data=st.data())
def test_a_later_relative_is_one_whose_group_was_there_before(
    parts: list[int], data: st.DataObject
) -> None:
    count = len(parts)
    keeper = data.draw(st.lists(st.integers(0, count - 1), min_size=count, max_size=count))
    found = later_relatives(np.array(parts), np.array(keeper)).tolist()
    groups = list(zip(parts, keeper, strict=True))
    assert found == [any(p < part and k == kept for p, k in groups) for part, kept in groups]


PHRASES = st.lists(st.sampled_from("good bad phone the very old film".split()), max_size=6)  # noqa: SIM905
DATED = st.lists(
    st.tuples(PHRASES.map(" ".join), st.integers(0, 300) | st.none(), st.integers(0, 15)),
    min_size=10, max_size=60,
)  # fmt: skip


@FEW
@given(
    rows=DATED, order=st.randoms(use_true_random=False), partition_rows=st.integers(5, 50),
    by_time=st.booleans(), by_user=st.booleans(),
)  # fmt: skip
def test_no_part_holds_a_relative_of_another_and_time_runs_through_the_parts(
    fresh: Fresh, rows: list[tuple[str, int | None, int]], order: Any, partition_rows: int,
    by_time: bool, by_user: bool,
) -> None:  # fmt: skip
    alone = [(f"one{n} two{n} three{n} four{n}", n * 7, 100 + n) for n in range(40)]
    rows = rows + alone
    start = datetime(2026, 1, 1, tzinfo=UTC)
    texts = [text for text, _, _ in rows]
    extra = [
        json.dumps({
            "user": {"id": f"u{user}"},
            **({} if day is None else {"at": (start + timedelta(days=day)).isoformat()}),
        })
        for _, day, user in rows
    ]  # fmt: skip
    ids = [f"id-{n}" for n in range(len(rows))]
    spec = SplitSpec(
        dataset="comments", shingle_words=2, time="at" if by_time else "",
        group="user.id" if by_user else "", parts={"train": 0.6, "test": 0.4},
    )  # fmt: skip

    def places(where: str, rows_in_order: Sequence[int], most: int) -> dict[str, str]:
        folder = fresh()
        taken = [[column[n] for n in rows_in_order] for column in (texts, ids, extra)]
        inputs = data_set(folder / where, taken[0], partition_rows=most, id=taken[1],
                          extra=taken[2])  # fmt: skip
        outputs = FolderRun(folder / "run", {"comments@latest": inputs}).run(spec)
        outputs.pop("report")
        return {
            i: name for name, a in outputs.items() for i in read_records(a)["id"].to_pylist()
        }  # fmt: skip

    place = places("whole", range(len(rows)), 1000)
    assert set(place) == set(ids)
    parts = [place[i] for i in ids]
    kept_apart = ("repeats", "undated")
    found = near_duplicates(as_texts(pa.array(texts)), spec.near_duplicate_jaccard, 2).keeper
    for row, keeper in enumerate(found.tolist()):
        assert len({parts[row], parts[keeper]} - set(kept_apart)) <= 1
    if by_user:
        for user in {user for _, _, user in rows}:
            of_user = {p for p, (_, _, u) in zip(parts, rows, strict=True) if u == user}
            assert len(of_user - set(kept_apart)) <= 1
    if by_time:
        days = {
            part: [
                d for p, (_, d, _) in zip(parts, rows, strict=True) if p == part and d is not None
            ]
            for part in ("train", "test")
        }
        assert max(days["train"]) < min(days["test"])
        assert [p == "undated" for p in parts] == [day is None for _, day, _ in rows]
    shuffled = list(range(len(rows)))
    order.shuffle(shuffled)
    assert places("parted", shuffled, partition_rows) == place


@FEW
@given(
    codes=st.lists(st.integers(-1, 3), min_size=1, max_size=40), rows_in=st.integers(1, 15),
    most_rows=st.integers(1, 15), most_bytes=st.integers(1, 100),
)  # fmt: skip
def test_subsets_are_written_as_if_each_were_taken_from_one_table(
    fresh: Fresh, codes: list[int], rows_in: int, most_rows: int, most_bytes: int
) -> None:
    folder = fresh()
    texts = [f"text {n}" * (n % 4) for n in range(len(codes))]
    dataset = data_set(folder, texts, partition_rows=rows_in)
    run = FolderRun(folder / "run")
    drafts = [run.save("dataset", f"part{n}") for n in range(4)]
    decided = run.checkpoint("decided", lambda path: save_codes(path, np.array(codes)))
    everything = read_records(dataset)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "PARTITION_ROWS", most_rows)
        patch.setattr(records, "PARTITION_BYTES", most_bytes)
        write_subsets(dataset, decided, drafts, run)
        for code, draft in enumerate(drafts):
            rows = [row for row, found in enumerate(codes) if found == code]
            wanted = run.save("dataset", f"wanted{code}")
            records.write_records(wanted, everything.take(pa.array(rows, pa.int64())))
            assert draft.summary["rows"] == len(rows)
            assert bytes_of(draft.path) == bytes_of(wanted.path)


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Return the content of each file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@FEW
@given(count=st.integers(1, 60), rows_in=st.integers(1, 20), data=st.data())
def test_gathered_rows_are_those_of_the_whole_table(
    fresh: Fresh, count: int, rows_in: int, data: st.DataObject
) -> None:
    dataset = data_set(fresh(), [f"text {n}" for n in range(count)], partition_rows=rows_in)
    rows = sorted(data.draw(st.sets(st.integers(0, count - 1))))
    found = gather_rows(dataset, np.array(rows, np.int64), ["text", "id"])
    assert found.equals(read_records(dataset, ["text", "id"]).take(pa.array(rows, pa.int64())))


# -- times ----------------------------------------------------------------------------------------


@given(time=st.datetimes(datetime(1600, 1, 1), datetime(4000, 1, 1)))
def test_a_time_is_read_from_iso_8601_and_from_numbers_alike(time: datetime) -> None:
    since = time - datetime(1970, 1, 1)
    micro = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    texts = [time.isoformat(), f"{time.isoformat()}Z", time.isoformat(" ")]
    assert parse_times(texts).tolist() == [micro] * 3


@given(texts=st.lists(st.text(max_size=30) | st.from_regex(r"[0-9:/ ,A-Za-z+.-]{0,30}")))
def test_no_text_breaks_the_reader_of_times(texts: list[str]) -> None:
    assert len(parse_times(texts)) == len(texts)


def test_times_of_other_kinds_are_known_and_words_are_not() -> None:
    texts = ["1700000000", "1700000000000", "1700000000.5", "2023", "20231114", "yesterday", "",
             None, "Tue, 14 Nov 2023 22:13:20 +0000", "2023-11-14T23:13:20+01:00"]  # fmt: skip
    second = 1_000_000
    assert parse_times(texts).tolist() == [
        1_700_000_000 * second, 1_700_000_000 * second, 1_700_000_000 * second + second // 2,
        1_672_531_200 * second, 1_699_920_000 * second, UNDATED, UNDATED, UNDATED,
        1_700_000_000 * second, 1_700_000_000 * second,
    ]  # fmt: skip


# -- sample ---------------------------------------------------------------------------------------

COUNT = 40
VECTORS = np.random.default_rng(0).normal(size=(COUNT, 6)).astype(np.float32)


def scored(folder: Path, order: Sequence[int], partition_rows: int) -> Artifact:
    """Seal records with vectors, scores and weights, in this order."""
    texts = [f"{'tax law' if n % 4 else 'cup goal match'} number {n}" for n in order]
    base = data_set(
        folder / "base", texts, partition_rows=COUNT, id=[f"id-{n}" for n in order],
        label=["ab"[n % 3 == 0] for n in order],
        extra=[json.dumps({"weight": n % 5, "site": f"https://s{n % 3}.org/x"}) for n in order],
    )  # fmt: skip
    table = read_records(base)
    positive = np.array([(n * 7 % COUNT) / COUNT for n in order], np.float32)
    table = table.append_column("score:x", pa.array(positive))
    table = table.append_column("score:y", pa.array(1 - positive))
    table = table.append_column(
        "vector", pa.array(VECTORS[list(order)].tolist(), pa.list_(pa.float32()))
    )
    from workbench.core.artifact import Draft, seal

    draft = Draft("dataset", "comments", folder / "scored")
    for number, start in enumerate(range(0, COUNT, partition_rows)):
        part = table.slice(start, partition_rows)
        write_partition(draft.path / f"part-{number:05d}.parquet", part)
    return seal(draft, folder / "inputs")


SETTINGS: list[dict[str, Any]] = [
    {"strategy": "random"},
    {"strategy": "stratified", "stratify_by": "host(site)"},
    {"strategy": "weighted", "weight_field": "weight"},
    {"strategy": "importance", "target": "target"},
    {"strategy": "coverage", "embedding_column": "vector"},
    {"strategy": "coverage", "embedding_column": "vector", "method": "ccs"},
    {"strategy": "uncertain"},
    {"strategy": "uncertain", "measure": "entropy"},
]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: "-".join(map(str, s.values())))
@settings(max_examples=4)
@given(
    order=st.permutations(range(COUNT)), partition_rows=st.integers(3, COUNT),
    size=st.integers(1, 30), seed=st.integers(0, 3),
)  # fmt: skip
def test_a_sample_of_any_strategy_depends_on_no_order_and_no_partitions(
    fresh: Fresh, setting: dict[str, Any], order: list[int], partition_rows: int, size: int,
    seed: int,
) -> None:  # fmt: skip
    folder = fresh()
    spec = SampleSpec(dataset="comments", size=size, seed=seed, **setting)
    target = data_set(folder / "t", ["goal match", "cup"])
    samples = []
    for number, (rows, most) in enumerate([(range(COUNT), COUNT), (order, partition_rows)]):
        inputs = {"comments@latest": scored(folder / str(number), rows, most),
                  "target@latest": target}  # fmt: skip
        made = FolderRun(folder / f"run-{number}", inputs).run(spec)["dataset"]
        assert made.summary["rows"] == size
        samples.append(set(read_records(made)["id"].to_pylist()))
    assert samples[0] == samples[1]


@given(
    weights=st.lists(st.floats(0, 10), min_size=1, max_size=50), size=st.integers(0, 60),
)  # fmt: skip
def test_a_weighted_draw_takes_each_row_once_and_none_of_weight_nought(
    weights: list[float], size: int
) -> None:
    hashes = hash_strings(pa.array([str(n) for n in range(len(weights))]), 0)
    rows = draw_weighted(hashes, np.array(weights), size).tolist()
    possible = [row for row, weight in enumerate(weights) if weight > 0]
    assert len(rows) == min(size, len(possible))
    assert rows == sorted(set(rows))
    assert set(rows) <= set(possible)


def test_a_draw_is_in_proportion_to_weights_given_either_way() -> None:
    ids = pa.array([str(n) for n in range(20_000)])
    weights = np.where(np.arange(20_000) % 2, 1.0, 3.0)
    for draw, given_as in ((draw_weighted, weights), (draw_by_log_weight, np.log(weights))):
        rows = draw(hash_strings(ids, 1), given_as, 400)
        heavy = int((rows % 2 == 0).sum())
        assert abs(heavy - 300) < 5 * 9  # five standard deviations


@given(seed=st.integers(0, 20), size=st.integers(1, 12))
def test_no_row_is_farther_from_k_centres_than_twice_the_best_could_leave_it(
    seed: int, size: int
) -> None:
    grid = on_grid(np.random.default_rng(seed).normal(size=(13, 3)))
    rows = k_centre(grid, size)
    assert len(set(rows.tolist())) == size
    apart = np.linalg.norm(grid[:, None] - grid[None], axis=2)
    radius = apart[:, rows].min(axis=1).max()
    # size + 1 rows that are pairwise at least the radius apart: two of them share a best centre.
    if size < len(grid):
        farthest = int(apart[:, rows].min(axis=1).argmax())
        spread = apart[np.ix_([*rows, farthest], [*rows, farthest])]
        assert spread[~np.eye(size + 1, dtype=bool)].min() >= radius - 1e-3


@given(
    scores=st.lists(st.floats(0, 100), min_size=1, max_size=80), size=st.integers(1, 90),
    hardest=st.sampled_from([0.0, 0.1, 0.5]),
)  # fmt: skip
def test_a_sample_over_a_score_leaves_out_the_hardest_and_takes_what_was_asked(
    scores: list[float], size: int, hardest: float
) -> None:
    rows = stratified_by_score(np.array(scores), size, hardest).tolist()
    assert len(rows) == min(size, len(scores))
    assert rows == sorted(set(rows))
    num_kept = max(len(scores) - int(hardest * len(scores)), min(size, len(scores)))
    assert max(scores[row] for row in rows) <= sorted(scores)[num_kept - 1]


# -- transform ------------------------------------------------------------------------------------


@given(sizes=st.lists(st.integers(0, 9), max_size=12), most=st.integers(1, 20))
def test_an_even_cut_holds_every_item_once_in_order(sizes: list[int], most: int) -> None:
    items = [(file, item) for file, size in enumerate(sizes) for item in range(size)]
    cut = cut_evenly(sizes, most)
    parts = [[(p.file, item) for p in pieces for item in range(p.start, p.stop)] for pieces in cut]
    assert [item for part in parts for item in part] == items
    assert all(len(part) == most for part in parts[:-1])
    assert len(parts[-1]) <= most


TRAINING_TEXTS = st.lists(
    st.lists(st.sampled_from("film fine awful 猫 day zzz".split()), max_size=40).map(" ".join),  # noqa: SIM905
    min_size=1, max_size=12,
)  # fmt: skip


@FEW
@given(
    texts=TRAINING_TEXTS, partition_rows=st.integers(1, 12), width=st.integers(2, 20),
    shard_rows=st.integers(1, 9),
)  # fmt: skip
def test_packing_loses_no_token_and_partitions_do_not_matter(
    fresh: Fresh, model: str, texts: list[str], partition_rows: int, width: int, shard_rows: int
) -> None:
    folder = fresh()
    spec = TransformSpec(
        dataset="comments", tokens="packed", tokenizer=model, sequence_tokens=width,
        shard_rows=shard_rows,
    )  # fmt: skip
    made = []
    for rows in (1000, partition_rows):
        inputs = {"comments@latest": data_set(folder / str(rows), texts, partition_rows=rows)}
        made.append(FolderRun(folder / f"run-{rows}", inputs).run(spec)["dataset"])
    assert made[0].version == made[1].version
    shards = open_shards(made[0])
    wanted = [row.tolist() for row in TextEncoder(Path(model), 10_000).encode(texts)]
    assert [shards.tokens_of(n).tolist() for n in range(len(texts))] == wanted
    assert shards.facts["num_tokens"] == sum(map(len, wanted))


@given(
    texts=st.lists(st.text(max_size=300), max_size=20), cut=st.integers(0, 20),
    label=st.sampled_from([None, "a"]),
)  # fmt: skip
def test_a_profile_is_that_of_its_pieces_together(
    texts: list[str], cut: int, label: str | None
) -> None:
    table = pa.table({
        "text": pa.array(texts, pa.string()),
        "label": pa.array([label, "b"] * len(texts), pa.string()).slice(0, len(texts)),
    })  # fmt: skip
    whole = profile(table)
    assert merge([profile(table.slice(0, cut)), profile(table.slice(cut))]) == whole
    assert whole.rows == sum(whole.lengths) == sum(whole.labels.values()) == len(texts)
    assert whole.lengths[-1] == 0


# -- every stage ----------------------------------------------------------------------------------

COMMENTS = texts_of(sentences(60))


def labelled(folder: Path) -> dict[str, Artifact]:
    label = ["good" if n % 2 else "bad" for n in range(len(COMMENTS))]
    return {"comments@latest": data_set(folder / "given", COMMENTS, partition_rows=25, label=label)}


class TestTransform(StageLaws):
    def example(self, folder: Path) -> tuple[Spec, dict[str, Artifact]]:
        encoder = folder / "encoder"
        source = str(encoder if encoder.exists() else write_encoder(encoder))
        return TransformSpec(
            dataset="comments", tokenizer=source, embedder=source, shard_rows=20,
            features=["tfidf", "embeddings", "hashed_ngrams"],
        ), labelled(folder)  # fmt: skip


class TestPacking(StageLaws):
    def example(self, folder: Path) -> tuple[Spec, dict[str, Artifact]]:
        encoder = folder / "encoder"
        source = str(encoder if encoder.exists() else write_encoder(encoder))
        return TransformSpec(
            dataset="comments", tokenizer=source, tokens="packed", sequence_tokens=16
        ), labelled(folder)


class TestCoverage(StageLaws):
    def example(self, folder: Path) -> tuple[Spec, dict[str, Artifact]]:
        encoder = folder / "encoder"
        source = str(encoder if encoder.exists() else write_encoder(encoder))
        return SampleSpec(dataset="comments", strategy="coverage", embedder=source), labelled(
            folder
        )


class TestSharding(StageLaws):
    def example(self, folder: Path) -> tuple[Spec, dict[str, Artifact]]:
        return SplitSpec(dataset="comments", shards=4), labelled(folder)


def test_hash_order_is_a_permutation() -> None:
    ids = pa.array([f"{n}" for n in range(100)])
    assert sorted(hash_order(ids, 3).tolist()) == list(range(100))
