"""The transform stage: tokens, packed sequences and features, in shards for training."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from workbench.core.artifact import Artifact, Draft, hash_file
from workbench.core.context import Outputs, RunContext
from workbench.core.errors import DataError, SpecError, nearest_name
from workbench.core.registry import stage
from workbench.core.spec import parse_reference
from workbench.data.records import partitions
from workbench.data.subsets import place_file
from workbench.data.transform.options import TransformSpec
from workbench.data.transform.packing import (
    SHARD_FILE,
    Piece,
    cut_evenly,
    lengths_of,
    write_index,
    write_sequences,
    write_tokens,
)
from workbench.data.transform.report import write_transform_report
from workbench.data.transform.rows import write_rows, write_vectors
from workbench.data.transform.shards import write_manifest
from workbench.data.transform.tfidf import TfIdf, fit, write_term_counts
from workbench.models.folder import TOKENIZER, max_tokens_of
from workbench.models.resolve import fingerprint_model, resolve_model
from workbench.models.text_encoder import TextEncoder

_EMBEDDED_ROWS = 2048  # in a durable part; a shard would be minutes of work
_INDEX_ROWS = 1_000_000


class TransformOutputs(Outputs):
    """The shards, with a manifest (see ``open_shards``) and what was fitted."""

    dataset: Draft


def fingerprint(spec: TransformSpec) -> str | None:
    """Return a hash of the models that are used; see ``fingerprint_model``."""
    used = [spec.tokenizer] if spec.tokens != "none" else []
    used += [spec.embedder] if "embeddings" in spec.features else []
    found = [fingerprint_model(model) for model in used]
    if None in found:
        return None
    return hashlib.sha256(":".join(map(str, found)).encode()).hexdigest()


@stage(title="Transform", version=1, fingerprint=fingerprint)
def transform(spec: TransformSpec, run: RunContext) -> TransformOutputs:
    """Turn records into what a trainer reads: token ids, packed sequences, features as columns.

    The same records give the same bytes, whatever the partitions. Packing loses no token and cuts
    no text; records keep their order, and their ids lead back to them.

    Raises:
        DataError: the data set holds no records, or a column is not there.
        SpecError: the separator is no token of the tokenizer.
    """
    dataset = run.open(spec.dataset)
    files = partitions(dataset)
    sizes = [pq.read_metadata(path).num_rows for path in files]
    if not sum(sizes):
        raise DataError(f"{spec.dataset} holds no records", where=spec.dataset,
                        next_step="Name another data set.")  # fmt: skip
    draft = run.save("dataset", spec.name or f"{parse_reference(spec.dataset).name}-shards")
    if spec.tokens == "packed":
        facts = _pack(files, sizes, spec, draft, run)
    else:
        _check_columns(dataset, files[0], spec)
        facts = _make_rows(files, sizes, spec, draft, run)
    write_manifest(draft.path, facts)
    write_transform_report(draft)
    num_rows = sum(shard["rows"] for shard in facts["shards"])
    draft.describe(rows=num_rows, records=sum(sizes), layout=facts["layout"],
                   shards=len(facts["shards"]), tokens=facts.get("num_tokens"))  # fmt: skip
    run.count_rows(read=sum(sizes), written=num_rows)
    return TransformOutputs(dataset=draft)


def _check_columns(dataset: Artifact, file: Path, spec: TransformSpec) -> None:
    known = pq.read_schema(file).names
    for name in spec.columns:
        if name not in known:
            raise DataError(f"{dataset.reference} has no column {name!r}", where="columns",
                            next_step=nearest_name(name, known))  # fmt: skip


def _find_model(source: str, run: RunContext) -> Path:
    return run.open(source).path if "@" in source else resolve_model(source)


def _keep_tokenizer(model: Path, spec: TransformSpec, draft: Draft) -> dict[str, Any]:
    """Copy the tokenizer into the result and say which it is."""
    shutil.copyfile(model / TOKENIZER, draft.path / TOKENIZER)
    pad_id = TextEncoder(model, 2).pad_id
    return {"file": TOKENIZER, "sha256": hash_file(model / TOKENIZER), "of": spec.tokenizer,
            "pad_id": pad_id}  # fmt: skip


# -- packed ---------------------------------------------------------------------------------------


def _pack(
    files: list[Path], sizes: list[int], spec: TransformSpec, draft: Draft, run: RunContext
) -> dict[str, Any]:
    model = _find_model(spec.tokenizer, run)
    tokenizer = _keep_tokenizer(model, spec, draft)
    separator = _separator(model, spec)
    tokenised = run.checkpoint_each(
        {
            f"tokens-{number:05d}": {
                "path": str(path), "model": str(model), "separator": separator
            }
            for number, path in enumerate(files)
        },
        write_tokens, note="tokenising",
    )  # fmt: skip
    counts = [int(lengths_of(folder).sum()) for folder in tokenised]
    shards = cut_evenly(counts, spec.shard_rows * spec.sequence_tokens)
    value = {"sequence_tokens": spec.sequence_tokens, "pad_id": tokenizer["pad_id"]}
    parts = {
        f"shard-{number:05d}": {
            **value, "pieces": [[str(tokenised[p.file]), p.start, p.stop] for p in pieces]
        }
        for number, pieces in enumerate(shards)
    }  # fmt: skip
    made = run.checkpoint_each(parts, write_sequences, unit="shards", note="packing")
    num_sequences = [
        -(-sum(p.stop - p.start for p in pieces) // spec.sequence_tokens) for pieces in shards
    ]
    return {
        "layout": "packed", "sequence_tokens": spec.sequence_tokens, "tokenizer": tokenizer,
        "num_tokens": sum(counts), "columns": ["input_ids", "num_tokens"],
        "shards": _place_all(made, num_sequences, "shard", draft),
        "records": _index(files, sizes, tokenised, counts, draft, run),
    }  # fmt: skip


def _index(
    files: list[Path],
    sizes: list[int],
    tokenised: list[Path],
    counts: list[int],
    draft: Draft,
    run: RunContext,
) -> list[dict[str, Any]]:
    """Write where each record's tokens are, in files of their own."""
    firsts = np.cumsum([0, *counts])
    cut = cut_evenly(sizes, _INDEX_ROWS)
    parts = {
        f"records-{number:05d}": {
            "pieces": [
                [str(files[p.file]), str(tokenised[p.file]), p.start, p.stop, int(firsts[p.file])]
                for p in pieces
            ]
        }
        for number, pieces in enumerate(cut)
    }
    made = run.checkpoint_each(parts, write_index, unit="parts", note="index")
    return _place_all(made, [_num_rows(pieces) for pieces in cut], "records", draft)


def _separator(model: Path, spec: TransformSpec) -> list[int]:
    if not spec.separator:
        return []
    from tokenizers import Tokenizer

    number = Tokenizer.from_file(str(model / TOKENIZER)).token_to_id(spec.separator)
    if number is None:
        raise SpecError(f"The tokenizer has no token {spec.separator!a}", where="separator",
                        next_step="Name a token of its vocabulary, such as its [SEP].")  # fmt: skip
    return [number]


# -- rows -----------------------------------------------------------------------------------------


def _make_rows(
    files: list[Path], sizes: list[int], spec: TransformSpec, draft: Draft, run: RunContext
) -> dict[str, Any]:
    facts: dict[str, Any] = {"layout": "rows", "records": []}
    value = {
        "columns": spec.columns, "tokenizer": "", "max_tokens": 0, "tfidf": "",
        "longest_gram": spec.longest_gram,
        "num_buckets": spec.num_buckets if "hashed_ngrams" in spec.features else 0,
        "file": SHARD_FILE if spec.format == "arrow" else "shard.parquet",
    }  # fmt: skip
    if spec.tokens == "rows":
        model = _find_model(spec.tokenizer, run)
        facts["tokenizer"] = _keep_tokenizer(model, spec, draft)
        value["tokenizer"] = str(model)
        facts["max_tokens"] = value["max_tokens"] = spec.max_tokens or max_tokens_of(model)
    if "tfidf" in spec.features:
        value["tfidf"] = str(_fit_tfidf(files, sum(sizes), spec, draft, run))
    vectors = _embed(files, sizes, spec, run)
    starts = np.cumsum([0, *sizes])
    cut = cut_evenly(sizes, spec.shard_rows)
    parts = {}
    for number, pieces in enumerate(cut):
        start = int(starts[pieces[0].file]) + pieces[0].start
        parts[f"shard-{number:05d}"] = {
            **value, "pieces": _named(pieces, files),
            "vectors": _vector_pieces(vectors, start, start + _num_rows(pieces)),
        }  # fmt: skip
    made = run.checkpoint_each(parts, write_rows, unit="shards", note="writing")
    stem = "shard" if spec.format == "arrow" else "part"
    facts["shards"] = _place_all(made, [_num_rows(pieces) for pieces in cut], stem, draft)
    return facts


def _fit_tfidf(
    files: list[Path], num_records: int, spec: TransformSpec, draft: Draft, run: RunContext
) -> Path:
    parts = {
        f"terms-{number:05d}": {"path": str(path), "longest_gram": spec.longest_gram}
        for number, path in enumerate(files)
    }
    counted = run.checkpoint_each(parts, write_term_counts, note="counting terms")

    def write(folder: Path) -> None:
        fit(
            counted, num_records, longest_gram=spec.longest_gram, most=spec.most_terms,
            fewest_records=spec.fewest_records,
        ).save(folder)  # fmt: skip

    fitted = run.checkpoint("tfidf", write)
    TfIdf.open(fitted).save(draft.path)
    return fitted


def _embed(files: list[Path], sizes: list[int], spec: TransformSpec, run: RunContext) -> list[Path]:
    if "embeddings" not in spec.features:
        return []
    value = {"model": str(_find_model(spec.embedder, run)), "threads": run.threads_per_worker}
    parts = {
        f"vectors-{number:06d}": {**value, "pieces": _named(pieces, files)}
        for number, pieces in enumerate(cut_evenly(sizes, _EMBEDDED_ROWS))
    }
    return run.checkpoint_each(parts, write_vectors, unit="parts", note="embedding")


def _vector_pieces(vectors: list[Path], start: int, stop: int) -> list[list[Any]]:
    return [
        [
            str(vectors[part]),
            max(start - part * _EMBEDDED_ROWS, 0),
            min(stop - part * _EMBEDDED_ROWS, _EMBEDDED_ROWS),
        ]
        for part in range(start // _EMBEDDED_ROWS, -(-stop // _EMBEDDED_ROWS) if vectors else 0)
    ]


def _named(pieces: list[Piece], files: list[Path]) -> list[list[Any]]:
    return [[str(files[piece.file]), piece.start, piece.stop] for piece in pieces]


def _num_rows(pieces: list[Piece]) -> int:
    return sum(piece.stop - piece.start for piece in pieces)


def _place_all(
    made: list[Path], num_rows: list[int], stem: str, draft: Draft
) -> list[dict[str, Any]]:
    """Let the files of durable parts stand in the result; return what the manifest says of them."""
    placed = []
    for number, (folder, rows) in enumerate(zip(made, num_rows, strict=True)):
        source = next(folder.glob("shard.*"))
        name = f"{stem}-{number:05d}{source.suffix}"
        place_file(source, draft.path / name)
        placed.append({"file": name, "rows": rows})
    return placed
