"""Laws of the search for duplicates: comparing every pair gives the same, however it is cut."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from duplicates_on_disk import (
    every_pair_compared,
    group_fingerprints,
    jaccard,
    one_after_the_other,
    shingle_sets,
    take_fingerprints,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.data.duplicates import near_duplicates, same_texts
from workbench.data.duplicates.banding import MISS_PROBABILITY, choose_banding, miss_probability
from workbench.data.duplicates.contamination import (
    SequenceSetting,
    TestTexts,
    write_test_texts,
)
from workbench.data.duplicates.fingerprints import Likeness, identities_of
from workbench.data.duplicates.parts import cut_evenly
from workbench.data.duplicates.passages import (
    SPAN,
    Passages,
    PassageSetting,
    cut_passages,
    find_passages,
    plan_repeats,
    read_spans,
    write_repeats,
)
from workbench.data.duplicates.shingle_reader import exact_jaccard
from workbench.data.tokens import as_texts, count_words, normalise

MODERATE = settings(max_examples=40, deadline=None)

# Texts that meet: few words, so that copies, near copies and empty texts are common.
WORDS = st.sampled_from(["good", "bad", "the", "THE", "!!!", "phone", "很好", "ÜBER", "über", "😂"])
PHRASES = st.lists(WORDS, max_size=12).map(" ".join)
ANY_TEXT = st.text(max_size=30) | PHRASES | st.text("aAéÉ.ก็中 İ\u0301😂\x00", max_size=12)
LIKENESS = st.builds(
    Likeness, jaccard=st.sampled_from([0.5, 0.7, 0.8, 1.0]), shingle_words=st.integers(2, 4)
)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a new folder at each call: an example of hypothesis is no test of its own."""
    return lambda: tmp_path_factory.mktemp("search")


@settings(max_examples=300, deadline=None)
@given(texts=st.lists(ANY_TEXT, min_size=1, max_size=12))
def test_texts_are_the_same_where_their_words_are(texts: list[str]) -> None:
    column = as_texts(pa.array(texts))
    keys = [(words, "" if words else text)
            for words, text in zip(normalise(column).to_pylist(), texts, strict=True)]  # fmt: skip
    assert same_texts(column).tolist() == [keys.index(key) for key in keys]
    assert len({tuple(row) for row in identities_of(column).tolist()}) == len(set(keys))


@settings(max_examples=150, deadline=None)
@given(texts=st.lists(ANY_TEXT, min_size=1, max_size=8), size=st.integers(2, 5))
def test_similarities_are_those_of_sets_of_words(fresh: Any, texts: list[str], size: int) -> None:
    found = take_fingerprints(fresh(), texts, Likeness(shingle_words=size))
    sets = shingle_sets(texts, size)
    pairs = [(a, b) for a in range(len(texts)) for b in range(len(texts))]
    left, right = (np.array(side, dtype=np.int64) for side in zip(*pairs, strict=True))
    expected = [jaccard(sets[a], sets[b]) for a, b in pairs]
    assert exact_jaccard(found, left, right).tolist() == expected


@MODERATE
@given(texts=st.lists(PHRASES, min_size=1, max_size=40), likeness=LIKENESS)
def test_groups_are_those_that_comparing_every_pair_gives(
    texts: list[str], likeness: Likeness
) -> None:
    found = near_duplicates(as_texts(pa.array(texts)), likeness.jaccard, likeness.shingle_words)
    assert found.keeper.tolist() == every_pair_compared(texts, likeness)
    is_copy = found.keeper != np.arange(len(texts))
    assert (found.relative[~is_copy] == -1).all()
    assert (found.keeper[found.relative[is_copy]] == found.keeper[is_copy]).all()
    sets = shingle_sets(texts, likeness.shingle_words)
    for row in np.flatnonzero(is_copy).tolist():
        relative = int(found.relative[row])
        exact = jaccard(sets[row], sets[relative]) if sets[row] else 1.0
        assert found.jaccard[row] == exact >= likeness.jaccard


@MODERATE
@given(
    texts=st.lists(PHRASES, min_size=1, max_size=40), likeness=LIKENESS,
    cuts=st.lists(st.integers(0, 40), max_size=4), at_once=st.integers(1, 500),
)  # fmt: skip
def test_the_same_bytes_come_from_any_partitions_and_any_parts(
    fresh: Any, texts: list[str], likeness: Likeness, cuts: list[int], at_once: int
) -> None:
    once, again = fresh(), fresh()
    whole = group_fingerprints(once, take_fingerprints(once, texts, likeness))
    cut = take_fingerprints(again, texts, likeness, [min(c, len(texts)) for c in cuts])
    assert group_fingerprints(again, cut, at_once, at_once).tobytes() == whole.tobytes()


@given(threshold=st.floats(0.5, 1.0))
def test_a_pair_at_the_threshold_is_missed_once_in_a_million(threshold: float) -> None:
    banding = choose_banding(threshold)
    assert miss_probability(banding, threshold) <= MISS_PROBABILITY
    assert banding.num_permutations <= 320


@given(counts=st.lists(st.integers(0, 20), min_size=1, max_size=50), most=st.integers(1, 60))
def test_parts_cover_everything_and_hold_no_more_than_they_may(
    counts: list[int], most: int
) -> None:
    runs = cut_evenly(np.array(counts), most)
    assert [place for first, end in runs for place in range(first, end)] == list(range(len(counts)))
    for first, end in runs:
        large = [count for count in counts[first:end] if count]
        assert sum(large) <= most or len(large) == 1


# -- passages -------------------------------------------------------------------------------------

LINES = st.lists(PHRASES | st.sampled_from(["", "  ", "----", "\t-"]), max_size=6)
PASSAGE_SETTING = st.builds(
    PassageSetting, unit=st.sampled_from(["line", "paragraph"]),
    fewest_characters=st.integers(1, 12), fewest_records=st.integers(2, 3),
    keep=st.sampled_from(["first", "none"]),
)  # fmt: skip


@MODERATE
@given(
    texts=st.lists(
        st.tuples(LINES, st.sampled_from(["\n", "\n\n", "\r\n"])).map(lambda t: t[1].join(t[0])),
        min_size=1, max_size=12,
    ),
    setting=PASSAGE_SETTING, cut=st.integers(0, 12), at_once=st.integers(1, 100),
)  # fmt: skip
def test_repeated_passages_are_those_that_reading_all_lines_finds(
    fresh: Any, texts: list[str], setting: PassageSetting, cut: int, at_once: int
) -> None:
    folder = fresh()
    parts = {"a": pa.array(texts[:cut], pa.string()), "b": pa.array(texts[cut:], pa.string())}

    def write(own: Path, column: pa.Array) -> None:
        find_passages(own, [column], setting)

    passages = Passages.of(one_after_the_other(write, parts, folder))
    repeats = one_after_the_other(write_repeats, plan_repeats(passages, at_once), folder)
    spans = read_spans(repeats, 0, len(texts))
    expected = _repeated(texts, setting)
    found = [(int(s["row"]), int(s["start"]), int(s["end"]), int(s["first_row"])) for s in spans]
    assert found == expected
    middle = read_spans(repeats, 1, 3)
    assert [int(row) for row in middle["row"]] == [e[0] for e in expected if 1 <= e[0] < 3]


@MODERATE
@given(
    texts=st.lists(LINES.map("\n".join), min_size=1, max_size=8), setting=PASSAGE_SETTING,
    chosen=st.sets(st.integers(0, 30)),
)  # fmt: skip
def test_a_text_loses_its_passages_and_nothing_else(
    fresh: Any, texts: list[str], setting: PassageSetting, chosen: set[int]
) -> None:
    folder = fresh()
    find_passages(folder, [pa.array(texts)], setting)
    found = np.load(folder / "passages.npy")
    found = found[np.lexsort((found["start"], found["row"]))]
    spans = np.zeros(len(found), SPAN)
    for name in ("row", "start", "end"):
        spans[name] = found[name]
    spans = spans[[place for place in range(len(spans)) if place in chosen]]
    cut = cut_passages(as_texts(pa.array(texts)), spans, setting.unit)
    cut.validate(full=True)
    for row, (before, after) in enumerate(zip(texts, cut.to_pylist(), strict=True)):
        own = [(int(s["start"]), int(s["end"])) for s in spans[spans["row"] == row]]
        data = before.encode()
        left = b"".join(
            data[end:start]
            for end, start in zip([0, *(e for _, e in own)], [*(s for s, _ in own), len(data)],
                                  strict=True)
        ).decode()  # fmt: skip
        assert after.split() == left.split() if own else after == before
        if setting.unit == "line" and own:
            assert after.rstrip() == "\n".join(_lines_but(before, own)).rstrip()


def _lines_but(text: str, spans: list[tuple[int, int]]) -> list[str]:
    starts = {start for start, _ in spans}
    return [
        line
        for begin, line in _passages(text, "line")
        if len(text[: begin + len(line) - len(line.lstrip())].encode()) not in starts
    ]


def _repeated(texts: list[str], setting: PassageSetting) -> list[tuple[int, int, int, int]]:
    places: dict[tuple[str, str], list[tuple[int, int, int]]] = defaultdict(list)
    for row, text in enumerate(texts):
        for start, passage in _passages(text, setting.unit):
            stripped = passage.strip()
            if not stripped or len(stripped) < setting.fewest_characters:
                continue
            begin = len(text[: start + passage.index(stripped)].encode())
            words = normalise(pa.array([stripped], pa.large_string()))[0].as_py()
            key = (words, "" if words else stripped)
            places[key].append((row, begin, begin + len(stripped.encode())))
    return sorted(
        (*place, found[0][0])
        for found in places.values()
        if len({row for row, _, _ in found}) >= setting.fewest_records
        for place in (found[1:] if setting.keep == "first" else found)
    )


def _passages(text: str, unit: str) -> list[tuple[int, str]]:
    lines, start = [], 0
    for line in text.split("\n"):
        lines.append((start, line))
        start += len(line) + 1
    if unit == "line":
        return lines
    paragraphs: list[tuple[int, str]] = []
    is_open = False
    for start, line in lines:
        if not line.strip():
            is_open = False
        elif is_open:
            first = paragraphs[-1][0]
            paragraphs[-1] = (first, text[first : start + len(line)])
        else:
            paragraphs.append((start, line))
            is_open = True
    return paragraphs


# -- contamination --------------------------------------------------------------------------------


@MODERATE
@given(
    tests=st.lists(PHRASES, max_size=8), records=st.lists(PHRASES, min_size=1, max_size=8),
    size=st.integers(2, 6), fewest=st.integers(1, 4),
)  # fmt: skip
def test_overlaps_are_the_shares_of_word_runs_found(
    fresh: Any, tests: list[str], records: list[str], size: int, fewest: int
) -> None:
    folder = fresh()
    setting = SequenceSetting(sequence_words=size, fewest_words=fewest)
    write_test_texts(folder, [pa.array(tests, pa.string())], setting)
    found = TestTexts(folder).overlaps([pa.array(records[:1]), pa.array(records[1:], pa.string())])
    num_words = count_words(as_texts(pa.array(tests, pa.string()))).tolist()
    wanted = shingle_sets(tests, size)
    for row, record in enumerate(records):
        shares = [
            _share(record, wanted[test], min(size, num_words[test]))
            if num_words[test] and min(size, num_words[test]) >= fewest else 0.0
            for test in range(len(tests))
        ]  # fmt: skip
        best = max(shares, default=0.0)
        assert found.share[row] == np.float32(best)
        assert found.test_row[row] == (shares.index(best) if best else -1)


def _share(record: str, wanted: set[tuple[str, ...]], size: int) -> float:
    (words,) = normalise(pa.array([record], pa.large_string())).to_pylist()
    split = tuple(words.split())
    runs = {split[n : n + size] for n in range(len(split) - size + 1)}
    return len(runs & wanted) / len(wanted)
