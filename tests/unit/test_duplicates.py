"""What the search for duplicates finds in larger and stranger texts, and what it refuses."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from duplicates_on_disk import (
    group_fingerprints,
    jaccard,
    one_after_the_other,
    shingle_sets,
    take_fingerprints,
)

from workbench.core.errors import DataError
from workbench.data.duplicates import near_duplicates, same_texts
from workbench.data.duplicates.candidates import CandidatePart, plan_candidates, write_candidates
from workbench.data.duplicates.contamination import SequenceSetting, TestTexts, write_test_texts
from workbench.data.duplicates.edges import EdgePart, plan_edges, write_edges
from workbench.data.duplicates.fingerprints import Fingerprints, Likeness, open_shingles
from workbench.data.duplicates.groups import open_groups
from workbench.data.duplicates.passages import (
    PASSAGE,
    SPAN,
    Passages,
    PassageSetting,
    find_passages,
    plan_repeats,
    read_spans,
    write_repeats,
)
from workbench.data.tokens import as_texts

DATA = Path(__file__).parents[3] / "shared" / "data"
SENTENCE = "the quick brown fox jumps over the lazy dog near the river bank today"


def planted(
    num_texts: int, seed: int = 0, num_words: int = 150
) -> tuple[list[str], list[tuple[int, int]]]:
    """Return texts of random words and changed copies of some, and the pairs of these."""
    random = np.random.default_rng(seed)
    texts, pairs = [], []
    for _ in range(num_texts):
        words = random.integers(0, 50_000, num_words)
        texts.append(words)
        if random.random() < 0.5:
            changed = words.copy()
            share = random.uniform(0, 0.12)
            places = random.random(num_words) < share
            changed[places] = random.integers(50_000, 90_000, places.sum())
            pairs.append((len(texts) - 1, len(texts)))
            texts.append(changed)
    return [" ".join(f"w{word}" for word in words) for words in texts], pairs


def test_planted_pairs_are_found_from_the_threshold_on_and_none_below() -> None:
    texts, pairs = planted(1500)
    sets = shingle_sets(texts, 3)
    similarities = {pair: jaccard(sets[pair[0]], sets[pair[1]]) for pair in pairs}
    assert min(similarities.values()) < 0.55 and max(similarities.values()) > 0.95
    expected = {pair for pair, similarity in similarities.items() if similarity >= 0.8}
    assert len(expected) > 150
    found = near_duplicates(as_texts(pa.array(texts)), 0.8, 3)
    rows = np.flatnonzero(found.relative >= 0)
    assert set(zip(found.relative[rows].tolist(), rows.tolist(), strict=True)) == expected
    assert [found.jaccard[right] for _, right in sorted(expected)] == [
        similarities[pair] for pair in sorted(expected)
    ]


@pytest.mark.parametrize("size", [100, 1000])
@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_the_planted_articles_are_all_found_and_nothing_else(size: int, threshold: float) -> None:
    folder = DATA / "minhash_articles"
    if not folder.exists():
        pytest.skip(f"LOUD SKIP: the data set minhash_articles is not at {DATA}")
    lines = (folder / f"articles_{size}.train").read_text().strip().split("\n")
    ids, texts = zip(*(line.split(" ", 1) for line in lines), strict=True)
    found = near_duplicates(as_texts(pa.array(texts)), threshold, 3)
    rows = np.flatnonzero(found.relative >= 0).tolist()
    pairs = {frozenset((ids[row], ids[found.keeper[row]])) for row in rows}
    truth = (folder / f"articles_{size}.truth").read_text().strip().split("\n")
    assert pairs == {frozenset(line.split()) for line in truth}


def test_chinese_is_compared_by_character() -> None:
    text = "今天的天气真的很不错我们一起去公园散步吧好不好"
    found = near_duplicates(as_texts(pa.array([text, f"{text}呀", "完全不同的另外一句话"])), 0.8, 3)
    assert found.keeper.tolist() == [0, 0, 2]
    assert found.jaccard.tolist() == [0, 21 / 22, 0]


def test_short_and_empty_texts_resemble_only_their_equals() -> None:
    texts = ["", "Yes", "?!", "yes!", "?!", "", "yes no", "no yes", None]
    found = near_duplicates(pa.array(texts, pa.string()), 0.5, 3)
    assert found.keeper.tolist() == [0, 1, 2, 1, 2, 0, 6, 7, 0]
    assert found.jaccard.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 1]


def test_no_texts_have_no_duplicates() -> None:
    found = near_duplicates(pa.array([], pa.string()), 0.8, 3)
    assert (len(found.keeper), len(found.relative), len(found.jaccard)) == (0, 0, 0)
    assert same_texts(pa.array([], pa.string())).tolist() == []


def test_bytes_that_are_no_unicode_are_words_nowhere() -> None:
    broken = [b"good \xff\xfe phone", b"good phone", b"good phone \xe4\xb8", b"\xf7\xbf\xbf\xbf"]
    column = pa.array(broken, pa.binary()).view(pa.string())
    assert same_texts(column).tolist() == [0, 0, 0, 3]


def test_fifty_thousand_identical_rows_are_one_group() -> None:
    found = near_duplicates(as_texts(pa.array([SENTENCE] * 50_000)), 0.8, 3)
    assert not found.keeper.any()
    assert found.relative.tolist() == [-1, *[0] * 49_999]


def test_a_crowd_that_fills_in_one_template_is_no_duplicate() -> None:
    texts = [f"order number {n} was sent to you by our friendly team" for n in range(20_000)]
    found = near_duplicates(as_texts(pa.array(texts)), 0.8, 3)
    assert (found.relative == -1).all()


def test_a_crowd_of_near_copies_is_one_group() -> None:
    texts = [f"{SENTENCE} " * 4 + f"visit {n}" for n in range(5000)]
    found = near_duplicates(as_texts(pa.array(texts)), 0.8, 3)
    assert not found.keeper.any()
    assert (found.relative[1:] == 0).all()


def test_near_pairs_are_found_within_a_crowd() -> None:
    random = np.random.default_rng(1)
    notice = " ".join(f"notice{n}" for n in range(40))
    bodies = [" ".join(f"w{w}" for w in random.integers(0, 10**6, 40)) for _ in range(1000)]
    texts = [f"{notice} {body}" for body in bodies for _ in range(2)]
    texts[1::2] = [f"{text} end{n}" for n, text in enumerate(texts[1::2])]
    found = near_duplicates(as_texts(pa.array(texts)), 0.8, 3)
    rows = np.arange(len(texts))
    assert (found.keeper == rows - rows % 2).mean() >= 0.99
    assert (found.jaccard[found.relative >= 0] >= 0.8).all()


def in_two_processes(
    write: Callable[[Path, Any], None], parts: Mapping[str, Any], folder: Path
) -> list[Path]:
    folders = [folder / key for key in parts]
    for own in folders:
        own.mkdir(parents=True)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(write, folders, parts.values()))
    return folders


@pytest.mark.slow
def test_two_workers_write_the_bytes_of_one(tmp_path: Path) -> None:
    texts, _ = planted(400)
    likeness = Likeness()
    alone = take_fingerprints(tmp_path / "one", texts, likeness)
    together = take_fingerprints(
        tmp_path / "two", texts, likeness, [100, 101, 350], in_two_processes
    )
    one = group_fingerprints(tmp_path / "one", alone)
    two = group_fingerprints(tmp_path / "two", together, 2000, 100, in_two_processes)
    assert one.tobytes() == two.tobytes()
    assert (one["relative"] >= 0).any()


def test_only_columns_of_fixed_width_leave_a_partition(tmp_path: Path) -> None:
    texts = [f"unmistakable{n} {SENTENCE} {n % 3}\nunmistakable line here" for n in range(40)] * 2
    group_fingerprints(tmp_path, take_fingerprints(tmp_path, texts, Likeness(), [30]))
    find_passages(tmp_path, [pa.array(texts)], PassageSetting())
    one_after_the_other(write_repeats, plan_repeats(Passages.of([tmp_path])), tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.suffix in (".npy", ".json")]
    types = {path.name: np.load(path).dtype for path in files if path.suffix == ".npy"}
    assert set(types) == {
        "shingles.npy", "shingle_offsets.npy", "identities.npy", "identity_starts.npy",
        "bands.npy", "band_starts.npy", "copies.npy", "pairs-00000.npy", "edges.npy",
        "groups.npy", "passages.npy", "passage_starts.npy", "spans.npy",
    }  # fmt: skip
    for dtype in types.values():
        fields = [kind for kind, *_ in (dtype.fields or {"": (dtype,)}).values()]
        assert all(kind.kind in "uif" and kind.itemsize <= 8 for kind in fields)
    assert (types["passages.npy"], types["spans.npy"]) == (PASSAGE, SPAN)
    assert not any(b"unmistakable" in path.read_bytes() for path in files)


def test_parts_are_plain_values(tmp_path: Path) -> None:
    fingerprints = take_fingerprints(tmp_path, [SENTENCE, f"{SENTENCE} x"], Likeness())
    (key, part), *_ = plan_candidates(fingerprints).items()
    folders = one_after_the_other(write_candidates, {key: part}, tmp_path)
    (edge_part,) = plan_edges(fingerprints, folders).values()
    assert CandidatePart.model_validate_json(part.model_dump_json()) == part
    assert EdgePart.model_validate_json(edge_part.model_dump_json()) == edge_part
    assert pickle.loads(pickle.dumps(edge_part)) == edge_part
    one_after_the_other(write_edges, {"edges": edge_part}, tmp_path)
    edges = np.load(tmp_path / "edges" / "edges.npy")
    assert edges.tolist() == [(0, 1, 12 / 13)]


def test_fingerprints_of_another_kind_are_refused(tmp_path: Path) -> None:
    one = take_fingerprints(tmp_path / "one", [SENTENCE], Likeness(jaccard=0.8))
    other = take_fingerprints(tmp_path / "other", [SENTENCE], Likeness(jaccard=0.7))
    with pytest.raises(DataError, match="different kinds"):
        Fingerprints.of([*one.folders, *other.folders])
    with pytest.raises(DataError, match="different kinds"):
        Fingerprints.of([])
    manifest = one.folders[0] / "fingerprints.json"
    manifest.write_text(manifest.read_text().replace('"algorithm":1', '"algorithm":0'))
    with pytest.raises(DataError, match="different kinds"):
        Fingerprints.of(one.folders)


def test_a_damaged_column_is_named(tmp_path: Path) -> None:
    fingerprints = take_fingerprints(tmp_path, [SENTENCE], Likeness())
    (folder,) = fingerprints.folders
    (folder / "shingles.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DataError, match="cannot be read") as caught:
        open_shingles(folder)
    assert caught.value.where.endswith("shingles.npy")
    np.save(folder / "shingles.npy", np.zeros(3, np.float32))
    with pytest.raises(DataError, match="float32"):
        open_shingles(folder)
    with pytest.raises(DataError, match="cannot be read"):
        open_groups(folder)


# -- passages and contamination -------------------------------------------------------------------

MENU = "Home | News | Sports | Subscribe to our newsletter"


def test_a_menu_that_pages_share_is_a_span_in_all_but_the_first(tmp_path: Path) -> None:
    texts = [f"{MENU}\nstory {n} of the day, told at length" for n in range(3)]
    texts += [f"ünrelated story\n  {MENU.upper()}  \nend"]
    find_passages(tmp_path, [pa.array(texts)], PassageSetting())
    repeats = one_after_the_other(write_repeats, plan_repeats(Passages.of([tmp_path])), tmp_path)
    spans = read_spans(repeats, 0, 4)
    cut = [texts[s["row"]].encode()[s["start"] : s["end"]].decode() for s in spans]
    assert cut == [MENU, MENU, MENU.upper()]
    assert [(int(s["row"]), int(s["first_row"])) for s in spans] == [(1, 0), (2, 0), (3, 0)]
    assert len({int(s["hash"]) for s in spans}) == 1


def test_passages_found_in_another_way_are_refused(tmp_path: Path) -> None:
    folders = []
    for unit in ("line", "paragraph"):
        folders.append(tmp_path / unit)
        folders[-1].mkdir()
        find_passages(folders[-1], [pa.array(["a"])], PassageSetting.model_validate({"unit": unit}))
    with pytest.raises(DataError, match="different kinds"):
        Passages.of(folders)


def test_a_record_that_holds_a_test_text_is_told_with_its_row(tmp_path: Path) -> None:
    test_set = [SENTENCE, "too short", "five words make a sequence"]
    write_test_texts(tmp_path, [pa.array(test_set)], SequenceSetting())
    records = [
        f"I read that {SENTENCE.upper()} and more",
        " ".join(SENTENCE.split()[1:]),
        "too short",
        "they say: five words make a sequence, no less",
        "nothing of it",
        "",
    ]
    found = TestTexts(tmp_path).overlaps([pa.array(records)])
    assert found.test_row.tolist() == [0, 0, -1, 2, -1, -1]
    assert found.share.tolist() == [1, 0.5, 0, 1, 0, 0]
    assert (found.share.dtype, found.test_row.dtype) == (np.float32, np.int64)
