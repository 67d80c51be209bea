"""What a transform run shall make: its Spec, in the order of its form."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from workbench.core.spec import ArtifactName, DatasetRef, ModelSource, Spec, option

Feature = Literal["hashed_ngrams", "tfidf", "embeddings"]


class _TransformInput(Spec):
    dataset: DatasetRef = option(
        title="Data set", group="Data", help="The data set to transform."
    )  # fmt: skip
    name: ArtifactName | None = option(
        None, title="Name", group="Result",
        help="The name of the result; empty: the data set's name with -shards.",
    )  # fmt: skip
    columns: list[str] = option(
        [], title="Columns kept", group="Data",
        help="Which columns of the records stand in the result, such as id and label; empty: all. "
        "Packed sequences keep none: an index beside them says where each record is.",
    )  # fmt: skip


class _Tokens(Spec):
    tokens: Literal["none", "rows", "packed"] = option(
        "rows", title="Tokens", group="Tokens",
        help="rows: the token ids of each record, in a row of its own; packed: all records end to "
        "end, cut into sequences of one length; none: no tokens.",
    )  # fmt: skip
    tokenizer: ModelSource = option(
        "minilm", title="Tokenizer of", group="Tokens", min_length=1,
        help="The model whose tokenizer is used: of the catalog (name@version), a folder, or a "
        "name on the hub.",
    )  # fmt: skip
    max_tokens: int = option(
        0, title="Longest row", group="Tokens", unit="tokens", ge=0, le=1_000_000,
        help="For rows: cut texts after so many tokens; 0: what the model reads at most. Packing "
        "cuts nothing.",
    )  # fmt: skip
    sequence_tokens: int = option(
        512, title="Sequence length", group="Tokens", unit="tokens", ge=2, le=1_000_000,
        help="For packed: how many tokens each sequence has.",
    )  # fmt: skip
    separator: str = option(
        "", title="Separator", group="Tokens", max_length=100,
        help="For packed: a token put after each record, such as <|endoftext|>; empty: only the "
        "special tokens that the tokenizer adds itself.",
    )  # fmt: skip


class _Features(Spec):
    features: list[Feature] = option(
        [], title="Features", group="Features", max_length=3,
        help="Columns to add to each record: hashed_ngrams (how often words and word sequences "
        "occur, by bucket), tfidf (their weights, by a fitted vocabulary), embeddings (a vector).",
    )  # fmt: skip
    longest_gram: int = option(
        2, title="Longest word sequence", group="Features", unit="words", ge=1, le=5,
        help="For hashed_ngrams and tfidf: sequences of 1 to so many words are counted.",
    )  # fmt: skip
    num_buckets: int = option(
        2**18, title="Buckets", group="Features", unit="buckets", ge=2, le=2**31 - 1,
        help="For hashed_ngrams: to how many numbers word sequences are hashed.",
    )  # fmt: skip
    most_terms: int = option(
        50_000, title="Most terms", group="Features", unit="terms", ge=1, le=10_000_000,
        help="For tfidf: how many of the most frequent terms make the vocabulary.",
    )  # fmt: skip
    fewest_records: int = option(
        2, title="Fewest records of a term", group="Features", unit="records", ge=1,
        help="For tfidf: in how many records a term must occur.",
    )  # fmt: skip
    embedder: ModelSource = option(
        "minilm", title="Encoder", group="Features", min_length=1,
        help="For embeddings: the model that embeds texts.",
    )  # fmt: skip


class _Files(Spec):
    format: Literal["arrow", "parquet"] = option(
        "arrow", title="Files", group="Result",
        help="arrow: uncompressed, opens by memory mapping; parquet: compressed, and a data set "
        "that every other stage reads (rows only).",
    )  # fmt: skip
    shard_rows: int = option(
        100_000, title="Rows per shard", group="Result", unit="rows", ge=1, le=10_000_000,
        help="How many records or sequences a file holds; each is a durable part.",
    )  # fmt: skip


# Forms show the fields of the last base first: read this list from below.
class TransformSpec(_Files, _Features, _Tokens, _TransformInput):
    """Which data set to transform, and into what."""

    @model_validator(mode="after")
    def _packed_sequences_are_no_records(self) -> Self:
        if self.tokens == "packed" and (self.features or self.columns):
            raise ValueError("packed sequences have neither columns nor features of records")
        if self.tokens == "packed" and self.format == "parquet":
            raise ValueError("packed sequences are written as arrow")
        if self.separator and self.tokens != "packed":
            raise ValueError("a separator stands between packed records only")
        return self
