"""TF-IDF: how often a word occurs in a record, against in how many records it occurs.

What is fitted is a list of terms and an array of numbers, kept as JSON and as a plain array.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workbench.data.ngrams import split_terms
from workbench.data.tokens import as_texts
from workbench.data.transform.sparse import SparseRows, count_by_row

VOCABULARY_FILE = "tfidf-vocabulary.json"
IDF_FILE = "tfidf-idf.npy"

_TERMS = "terms.parquet"


@dataclass(frozen=True)
class TfIdf:
    """A fitted vocabulary: ``idf`` is float64 [num_terms], in the order of ``terms``."""

    terms: list[str]
    idf: npt.NDArray[np.float64]
    longest_gram: int

    @classmethod
    def open(cls, folder: Path) -> TfIdf:
        """Read what ``save`` wrote, for example from the artifact of a transform run."""
        kept = json.loads((folder / VOCABULARY_FILE).read_text(encoding="utf-8"))
        idf = np.load(folder / IDF_FILE, allow_pickle=False)
        return cls(kept["terms"], idf, kept["longest_gram"])

    def save(self, folder: Path) -> None:
        """Write the vocabulary and its weights."""
        kept = {"longest_gram": self.longest_gram, "terms": self.terms}
        text = json.dumps(kept, ensure_ascii=False)
        (folder / VOCABULARY_FILE).write_text(text, encoding="utf-8")
        np.save(folder / IDF_FILE, self.idf, allow_pickle=False)

    def apply(self, texts: pa.Array) -> SparseRows:
        """Return each text's weights at unit length (zero for a text without a known term).

        Count times idf, as scikit-learn's TfidfVectorizer weighs by default.
        """
        found = split_terms(texts, self.longest_gram)
        index = pc.index_in(found.terms, pa.array(self.terms, found.terms.type))
        numbers = index.fill_null(-1).to_numpy().astype(np.int64)[found.places]
        is_known = numbers >= 0
        width = max(len(self.terms), 1)
        counts = count_by_row(found.rows[is_known], numbers[is_known], len(texts), width)
        weights = counts.values * self.idf[counts.indices]
        row = np.repeat(np.arange(len(texts)), np.diff(counts.offsets))
        lengths = np.sqrt(np.bincount(row, weights=weights**2, minlength=len(texts)))
        return counts._replace(values=(weights / lengths[row]).astype(np.float32))


def write_term_counts(folder: Path, value: dict[str, Any]) -> None:
    """Write in how many records of one partition each term occurs."""
    with pq.ParquetFile(value["path"]) as file:
        texts = as_texts(file.read(["text"], use_threads=False)["text"])
    found = split_terms(texts, value["longest_gram"])
    width = max(len(found.terms), 1)
    once = count_by_row(found.rows, found.places, len(texts), width)
    counts = np.bincount(once.indices, minlength=len(found.terms))
    table = pa.table({"term": found.terms, "records": pa.array(counts, pa.int64())})
    pq.write_table(table, folder / _TERMS, compression="zstd")


def fit(
    folders: list[Path], num_records: int, *, longest_gram: int, most: int, fewest_records: int
) -> TfIdf:
    """Choose the ``most`` frequent terms that occur in at least ``fewest_records`` records.

    The idf is smoothed as if one more record held every term: ln((1 + n) / (1 + df)) + 1.
    """
    tables = pa.concat_tables(pq.read_table(folder / _TERMS) for folder in folders)
    total = tables.group_by("term").aggregate([("records", "sum")])
    total = total.filter(pc.greater_equal(total["records_sum"], fewest_records))
    total = total.sort_by([("records_sum", "descending"), ("term", "ascending")]).slice(0, most)
    total = total.sort_by("term")
    counts = total["records_sum"].to_numpy()
    idf = np.log((1 + num_records) / (1 + counts)) + 1
    return TfIdf(total["term"].to_pylist(), idf, longest_gram)
