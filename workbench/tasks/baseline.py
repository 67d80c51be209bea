"""The simple model that every other must beat: TF-IDF n-grams and logistic regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.core.errors import DataError
from workbench.tasks.predictions import Scores

# A word, or one sign that is neither letter nor space: emoji and "!" carry sentiment.
_TOKEN = r"(?u)\w+|[^\w\s]"  # noqa: S105 - a pattern of text, no secret
_LARGE = 5_000  # training rows from which n-grams that occur in one text only are left out


@dataclass(frozen=True)
class Baseline:
    """A trained baseline: probabilities for texts, and its size."""

    labels: list[str]
    features: Any
    classifier: Any

    def predict(self, texts: Sequence[str]) -> Scores:
        """Return probabilities, float32 [num_texts, num_labels], columns as ``labels``."""
        if not len(texts):
            return np.zeros((0, len(self.labels)), np.float32)
        scores: Scores = self.classifier.predict_proba(self.features.transform(texts))
        return scores.astype(np.float32)

    @property
    def megabytes(self) -> float:
        """Size of weights, inverse document frequencies and vocabulary, in 10^6 bytes."""
        numbers = self.classifier.coef_.nbytes + self.classifier.intercept_.nbytes
        names = 0
        for _, vectoriser in self.features.transformer_list:
            numbers += vectoriser.idf_.nbytes
            names += sum(len(ngram.encode()) for ngram in vectoriser.vocabulary_)
        return float(numbers + names) / 1e6


def train_baseline(texts: Sequence[str], truth: Sequence[str]) -> Baseline:
    """Train on labelled texts: word 1-2-grams and character 2-5-grams within words.

    Labels weigh inversely to their frequency, as macro-averaged metrics do. One thread and no
    random choice: the same texts give the same model. About a minute for 50,000 short texts.

    Raises:
        DataError: fewer than two labels occur, or no text holds a word.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    if len(set(truth)) < 2:
        raise DataError(f"The baseline needs two labels, the training set has {sorted(set(truth))}",
                        where="train", next_step="Name a labelled training set.")  # fmt: skip
    with threadpool_limits(limits=1):
        features = _features(1 if len(texts) < _LARGE else 2)
        try:
            matrix = features.fit_transform(texts)
        except ValueError as error:
            raise DataError(f"The training texts hold no words: {error}", where="train",
                            next_step="Look at the data set's texts.") from error  # fmt: skip
        classifier = LogisticRegression(
            C=1.0, class_weight="balanced", max_iter=1000, tol=1e-3, random_state=0
        )
        classifier.fit(matrix, np.asarray(truth, dtype=object))
    return Baseline([str(label) for label in classifier.classes_], features, classifier)


def _features(min_texts: int) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import FeatureUnion

    options = {"sublinear_tf": True, "min_df": min_texts, "dtype": np.float32}
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=_TOKEN, **options)
    pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), **options)
    return FeatureUnion([("words", words), ("characters", pieces)])
