"""An endpoint as a scorer: a server that speaks OpenAI's chat completions, or typed decisions.

Requests are made side by side, at most so many at once. What passes by itself (a server that is
busy or away, half an answer) is tried again after a while that grows, or that the server names; all
requests wait together when one is told to. What does not pass ends the run, and what was answered
until then is kept.
"""

from __future__ import annotations

import json
import math
import random
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field

from workbench.core.errors import Cause, DataError, ResourceError, SpecError
from workbench.core.spec import option
from workbench.data.sources.network import cause_of
from workbench.data.sources.secrets import REFERENCE, look_up, masked, without_literal_secret
from workbench.prompts.scorers.scorer import FindModel, ScorerSpec, Weights, Written, said
from workbench.prompts.verbaliser import Option
from workbench.prompts.version import Decoding, Messages

if TYPE_CHECKING:
    import httpx

_MOST_BYTES = 4 << 20  # of one answer
_CHARACTERS_A_TOKEN = 4  # of English, to foretell; what a server counts is what is counted
_LONGEST_WAIT = 60.0  # seconds between two tries, whatever a server asks for
_FIRST_WAIT = 0.5
_TOLD = 300  # characters of a server's complaint that are shown
_PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 529}
_PACE = {"concurrency", "retries", "timeout_seconds", "most_cost", "most_tokens", "key"}
_UNCLEAR_TRIES = 2  # for answers that are none: they may have been paid


def _is_reference(key: str) -> str:
    if key and not REFERENCE.fullmatch(key):
        raise SpecError(
            "The key is written out, and Specs are stored and shown",
            where="scorer.key",
            next_step="Write ${env:NAME} and set that variable where workers run.",
        )
    return key


class EndpointScorerSpec(ScorerSpec):
    """A server that answers prompts over HTTP."""

    kind: Literal["endpoint"] = option(
        "endpoint", title="Kind", group="Scorer",
        help="A server that speaks OpenAI's API, such as transformers serve, vLLM or a provider's.",
    )  # fmt: skip
    url: Annotated[
        str,
        Field(pattern=r"^https?://\S+$", max_length=500),
        AfterValidator(without_literal_secret),
    ] = option(
        title="URL", group="Scorer",
        help="Where the API begins, as in http://127.0.0.1:8000/v1.",
    )  # fmt: skip
    model: Annotated[str, Field(min_length=1, max_length=300)] = option(
        title="Model", group="Scorer", help="What the server calls the model."
    )
    api: Literal["chat", "decision"] = option(
        "chat", title="API", group="Scorer",
        help="chat: /chat/completions, answers in words. decision: /systemone, a typed decision "
        "with the probability of each answer.",
    )  # fmt: skip
    key: Annotated[str, AfterValidator(_is_reference)] = option(
        "", title="Key", group="Scorer",
        help="The key that the server wants, as ${env:NAME}: it is looked up where workers run.",
    )  # fmt: skip
    concurrency: int = option(
        8, title="At once", group="Pace", unit="requests", ge=1, le=256,
        help="How many requests may be on their way at once.",
    )  # fmt: skip
    retries: int = option(
        6, title="Retries", group="Pace", ge=0, le=50,
        help="How often a request that failed for a passing reason is made again.",
    )  # fmt: skip
    timeout_seconds: float = option(
        120.0, title="Patience", group="Pace", unit="s", gt=0, le=3600,
        help="How long an answer may take.",
    )  # fmt: skip
    price_read: float = option(
        0.0, title="Price of what it reads", group="Cost", unit="per million tokens", ge=0,
        help="What a million tokens of prompts cost, in any currency.",
    )  # fmt: skip
    price_written: float = option(
        0.0, title="Price of what it writes", group="Cost", unit="per million tokens", ge=0,
        help="What a million tokens of answers cost, in the same currency.",
    )  # fmt: skip
    most_cost: float | None = option(
        None, title="Budget", group="Cost", gt=0,
        help="A run that would cost more does not start; one that comes to cost more ends.",
    )  # fmt: skip
    most_tokens: int | None = option(
        None, title="Most tokens", group="Cost", unit="tokens", gt=0,
        help="The same for tokens, read and written together.",
    )  # fmt: skip

    @property
    def writes(self) -> bool:
        """Whether it can answer in its own words."""
        return self.api == "chat"

    @property
    def decides(self) -> bool:
        """Whether it chooses one of the options, and tells the weight of each."""
        return self.api == "decision"

    def fingerprint(self) -> str | None:
        """Return None: a server may have another model tomorrow."""
        return None

    def cell_settings(self) -> str:
        """Return all of the settings that decides an answer."""
        return json.dumps(self.model_dump(mode="json", exclude=_PACE), sort_keys=True)

    def cost(self, tokens_read: float, tokens_written: float) -> float:
        """Return what tokens cost."""
        return (tokens_read * self.price_read + tokens_written * self.price_written) / 1e6

    def check_budget(self, num_prompts: int, characters: int, decoding: Decoding) -> str:
        """Return what answering will cost at most, in words.

        Raises:
            SpecError: it would cost more than is allowed.
        """
        read = math.ceil(characters / _CHARACTERS_A_TOKEN)
        written = num_prompts * (decoding.max_tokens if self.api == "chat" else 0)
        cost = self.cost(read, written)
        told = (
            f"{num_prompts:,} prompts to {self.model}: about {read:,} tokens to read, at most "
            f"{written:,} to write" + (f", at most {cost:,.2f} to pay" if cost else "")
        )
        too_much = [
            f"{what} allowed are {most:,}" for what, most, needed in
            (("the tokens", self.most_tokens, read + written), ("the costs", self.most_cost, cost))
            if most is not None and needed > most
        ]  # fmt: skip
        if too_much:
            raise SpecError(
                f"{told}; {' and '.join(too_much)}", where="scorer",
                next_step="Ask of fewer records (sample), allow shorter answers "
                "(decoding.max_tokens), or raise most_cost or most_tokens.",
            )  # fmt: skip
        return told

    def over_budget(self, tokens_read: int, tokens_written: int) -> ResourceError | None:
        """Return the error of a run that has used more than is allowed; None if it has not."""
        cost = self.cost(tokens_read, tokens_written)
        is_dear = self.most_cost is not None and cost >= self.most_cost
        is_long = self.most_tokens is not None and tokens_read + tokens_written >= self.most_tokens
        if not (is_dear or is_long):
            return None
        return ResourceError(
            f"The budget is used up: {tokens_read:,} tokens were read, {tokens_written:,} written"
            + (f", {cost:,.2f} to pay" if cost else ""),
            where="scorer",
            next_step="Ask of fewer records, or raise most_cost or most_tokens and submit again.",
        )

    def open(self, find: FindModel, num_threads: int) -> EndpointScorer:
        """Return the scorer; nothing is asked yet.

        Raises:
            DataError: the variable of the key is not set here.
        """
        return EndpointScorer(self, look_up(self.key, "scorer.key"))


class EndpointScorer:
    """A server, and the requests on their way to it."""

    def __init__(self, spec: EndpointScorerSpec, key: str) -> None:
        self._spec = spec
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._quiet_until = 0.0  # all requests wait until then
        self._is_failing = False  # one request has failed for good: the others try no more
        self._lock = threading.Lock()

    def weigh(self, prompts: Sequence[Messages], options: Sequence[Option]) -> Weights:
        """Refuse: answers are asked for one by one, so that each can be kept."""
        raise NotImplementedError

    def write(
        self, prompts: Iterable[Messages], options: Sequence[Option], decoding: Decoding
    ) -> Iterator[tuple[int, Written]]:
        """Yield answers as they come.

        Raises:
            ResourceError: the server cannot be reached, or is busy for too long.
            DataError: it refuses the request.
        """
        import httpx

        limits = httpx.Limits(max_connections=self._spec.concurrency)
        waiting = enumerate(prompts)
        on_their_way: dict[Future[Written], int] = {}
        failed: BaseException | None = None
        with (
            httpx.Client(headers=self._headers, limits=limits, timeout=self._spec.timeout_seconds,
                         follow_redirects=False, trust_env=False) as client,
            ThreadPoolExecutor(self._spec.concurrency) as threads,
        ):  # fmt: skip
            while True:
                while failed is None and len(on_their_way) < self._spec.concurrency:
                    number, prompt = next(waiting, (-1, ()))
                    if number < 0:
                        break
                    asked = threads.submit(self._ask, client, prompt, options, decoding)
                    on_their_way[asked] = number
                if not on_their_way:
                    break
                for done in wait(on_their_way, return_when=FIRST_COMPLETED).done:
                    number = on_their_way.pop(done)
                    error = done.exception()
                    if error is None:
                        yield number, done.result()
                    failed = failed or error
                    self._is_failing = failed is not None
        if failed is not None:
            raise failed

    # -- one request --------------------------------------------------------------------------

    def _ask(
        self, client: httpx.Client, prompt: Messages, options: Sequence[Option], decoding: Decoding
    ) -> Written:
        """Ask until there is an answer.

        Raises:
            ResourceError, DataError: there will be none.
        """
        path, body = self._request(prompt, options, decoding)
        unclear = 0
        for attempt in range(self._spec.retries + 1):
            self._wait_for_quiet()
            try:
                status, headers, content = _post(
                    client, f"{self._spec.url.rstrip('/')}{path}", body
                )
            except Exception as error:
                if cause_of(error) is None and not _is_passing(error):
                    raise self._unreachable(f"{type(error).__name__}: {error}") from error
                last = f"{type(error).__name__}: {error}"
            else:
                if status == 200:
                    written = self._read(content, options)
                    if written is not None:
                        return written
                    unclear += 1
                    last = f"it answered with no answer: {content[:_TOLD].decode(errors='replace')}"
                    if unclear > _UNCLEAR_TRIES:
                        return Written(None)
                elif status in _PASSING:
                    last = f"it answered {status}: {_complaint(content)}"
                    self._be_quiet(_asked_to_wait(headers))
                else:
                    raise self._refused(status, content)
            if self._is_failing:
                break
            if attempt < self._spec.retries:
                time.sleep(min(_LONGEST_WAIT, _FIRST_WAIT * 2**attempt) * random.uniform(0.5, 1.0))
        raise self._unreachable(last)

    def _request(
        self, prompt: Messages, options: Sequence[Option], decoding: Decoding
    ) -> tuple[str, dict[str, Any]]:
        if self._spec.api == "decision":
            question = {
                "type": "choice", "criteria": {o.label: " / ".join(o.words) for o in options}
            }  # fmt: skip
            state = said(prompt)
            return "/systemone", {
                "model": self._spec.model, "state": state, "questions": {"answer": question}
            }  # fmt: skip
        body: dict[str, Any] = {
            "model": self._spec.model, "messages": [message._asdict() for message in prompt],
            "temperature": decoding.temperature, "top_p": decoding.top_p,
            "max_tokens": decoding.max_tokens, "seed": decoding.seed, "stream": False,
        }  # fmt: skip
        if decoding.stop:
            body["stop"] = decoding.stop
        return "/chat/completions", body

    def _read(self, content: bytes, options: Sequence[Option]) -> Written | None:
        """Return what a response says; None if it is no answer."""
        try:
            told = json.loads(content)
            usage = told.get("usage") or {}
            read = int(usage.get("prompt_tokens") or usage.get("input_tokens") or 0)
            written = int(usage.get("completion_tokens") or usage.get("output_tokens") or 0)
            if self._spec.api == "decision":
                answer = told["answers"]["answer"]
                shares = [float(answer["probabilities"][o.label]) for o in options]
                weights = [math.log(max(share, 1e-12)) for share in shares]
                return Written(str(answer["choice"]), weights, read, written)
            text = told["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            return None
        return Written(text, None, read, written) if isinstance(text, str) else None

    # -- waiting and failing ------------------------------------------------------------------

    def _be_quiet(self, seconds: float) -> None:
        with self._lock:
            self._quiet_until = max(self._quiet_until, time.monotonic() + seconds)

    def _wait_for_quiet(self) -> None:
        while (left := self._quiet_until - time.monotonic()) > 0:
            time.sleep(left)

    def _unreachable(self, why: str) -> ResourceError:
        return ResourceError(
            f"The endpoint gave no answer: {self._without_key(why)}",
            where=self._spec.url,
            next_step="See that the server is up, then resume the run: what was answered is kept.",
            cause=Cause.UNREACHABLE,
        )

    def _refused(self, status: int, content: bytes) -> DataError:
        steps = {
            401: "Set the key (scorer.key) to a variable that holds a valid one.",
            403: "Use a key that may ask this model.",
            404: "Correct the URL or the model's name; the URL mostly ends in /v1.",
        }
        complaint = self._without_key(_complaint(content))
        return DataError(
            f"The endpoint refused the request ({status}): {complaint}",
            where=self._spec.url,
            next_step=steps.get(status, "Correct the prompt or the settings of the scorer."),
        )

    def _without_key(self, text: str) -> str:
        return masked(text, self._spec.key)


def _post(client: httpx.Client, url: str, body: dict[str, Any]) -> tuple[int, httpx.Headers, bytes]:
    """Return a response's status, headers and content, which may not be too large.

    Raises:
        ValueError: it is.
    """
    with client.stream("POST", url, json=body) as response:
        content = b""
        for part in response.iter_bytes():
            content += part
            if len(content) > _MOST_BYTES:
                raise ValueError(f"the answer is larger than {_MOST_BYTES:,} bytes")
        return response.status_code, response.headers, content


def _is_passing(error: Exception) -> bool:
    """Whether an answer was cut off, or took too long."""
    return type(error).__name__ in ("PoolTimeout", "WriteTimeout", "WriteError", "DecodingError")


def _asked_to_wait(headers: httpx.Headers) -> float:
    """Return for how many seconds a server wants to be left alone; 0 if it does not say."""
    try:
        return min(_LONGEST_WAIT, max(0.0, float(headers.get("retry-after", 0))))
    except ValueError:
        return 1.0  # a date: whatever it is, not at once


def _complaint(content: bytes) -> str:
    """Return what a server says is wrong."""
    text = content.decode(errors="replace")
    try:
        told = json.loads(text)
        error = told.get("error", told.get("detail", told)) if isinstance(told, dict) else told
        text = error.get("message", text) if isinstance(error, dict) else str(error)
    except (ValueError, RecursionError):
        pass
    return " ".join(str(text).split())[:_TOLD]
