"""What a server counts about itself, in the Prometheus text format (version 0.0.4)."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Histogram:
    """Counts of values up to each bound, with their number and sum."""

    def __init__(self, name: str, help: str, bounds: Sequence[float]) -> None:
        self.name = name
        self.help = help
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self) -> Iterator[str]:
        """Write the histogram; its buckets are cumulative, as Prometheus asks."""
        yield from _head(self.name, "histogram", self.help)
        below = 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            below += count
            yield f'{self.name}_bucket{{le="{bound}"}} {below}'
        yield f"{self.name}_sum {self.total}"
        yield f"{self.name}_count {below}"


class Measurements:
    """The counters of one server; touched by its event loop alone."""

    def __init__(self) -> None:
        self.requests: Counter[int] = Counter()  # by HTTP status
        self.predicted: Counter[str] = Counter()  # by label
        self.seconds = Histogram(
            "workbench_request_seconds", "Time from a request's head to its answer.", SECONDS
        )
        self.batches = Histogram(
            "workbench_batch_texts", "Texts given to the model at once.", SIZES
        )

    def count_request(self, status: int, seconds: float) -> None:
        """Count one answered prediction request."""
        self.requests[status] += 1
        self.seconds.observe(seconds)

    def text(self, *, num_waiting: int, model: str) -> str:
        """Return everything in the Prometheus text format."""
        return "\n".join(self._lines(num_waiting, model)) + "\n"

    def _lines(self, num_waiting: int, model: str) -> Iterator[str]:
        yield from _head("workbench_model_info", "gauge", "The model that answers.")
        yield f'workbench_model_info{{model="{_escape(model)}"}} 1'
        yield from _head("workbench_requests_total", "counter", "Prediction requests by status.")
        for status, count in sorted(self.requests.items()):
            yield f'workbench_requests_total{{status="{status}"}} {count}'
        errors = sum(count for status, count in self.requests.items() if status >= 400)
        yield from _head("workbench_errors_total", "counter", "Requests not answered with 200.")
        yield f"workbench_errors_total {errors}"
        yield from _head("workbench_predictions_total", "counter", "Predicted texts by label.")
        for label, count in sorted(self.predicted.items()):
            yield f'workbench_predictions_total{{label="{_escape(label)}"}} {count}'
        yield from _head("workbench_waiting_texts", "gauge", "Texts waiting for the model.")
        yield f"workbench_waiting_texts {num_waiting}"
        yield from self.seconds.lines()
        yield from self.batches.lines()


def _head(name: str, kind: str, help: str) -> tuple[str, str]:
    return f"# HELP {name} {help}", f"# TYPE {name} {kind}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
