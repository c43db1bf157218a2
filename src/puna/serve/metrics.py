"""Prometheus metrics: what the engine does, what answers took, and what went wrong around them.

Names are vLLM's under the prefix `puna:`; with `vllm_names` those that vLLM has too are also there under `vllm:`, so that dashboards and
gateways made for it work unchanged. Beside them stands what no peer shows: pages by kind of layer, tokens by expert, decoding of media,
guards' verdicts, tool calls that could not be read, compiling of grammars.

The registry is our own: nothing of a process that merely embeds us is mixed in. No label has unbounded values.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from puna.engine import Constraint, Engine, Grammar, GrammarCompiler
from puna.serve.record import Record

_OURS, _THEIRS = "puna:", "vllm:"
# What vLLM has under the same name with the same meaning.
_SHARED = frozenset(
    {
        "num_requests_running",
        "num_requests_waiting",
        "kv_cache_usage_perc",
        "prefix_cache_queries",
        "prefix_cache_hits",
        "num_preemptions",
        "prompt_tokens",
        "generation_tokens",
        "request_success",
        "time_to_first_token_seconds",
        "inter_token_latency_seconds",
        "e2e_request_latency_seconds",
        "request_queue_time_seconds",
        "request_prefill_time_seconds",
        "request_decode_time_seconds",
        "request_prompt_tokens",
        "request_generation_tokens",
        "spec_decode_num_draft_tokens",
        "spec_decode_num_accepted_tokens",
        "cache_config_info",
    }
)
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0)
_TOKENS = tuple(float(4**power) for power in range(13))  # to 16 M: a context of 10 M is one of Llama 4's
_METHODS = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})


class Metrics:
    """All metrics of a server for one model."""

    def __init__(self, model_name: str, *, vllm_names: bool = False) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._model = model_name
        ProcessCollector(registry=self.registry)
        self._exposed = _Exposed(self.registry, vllm_names)

        self._queries = self._counter("prefix_cache_queries", "Prompt tokens looked up among kept beginnings.")
        self._hits = self._counter("prefix_cache_hits", "Prompt tokens whose keys were at hand.")
        self._prompt_tokens = self._counter("prompt_tokens", "Prompt tokens of finished answers.")
        self._generation_tokens = self._counter("generation_tokens", "Tokens generated.")
        self._ended = self._counter("request_success", "Answers that ended, by reason; one a choice.", "finished_reason")
        self._first_token = self._seconds("time_to_first_token_seconds", "From arrival to the first token.")
        self._between = self._seconds("inter_token_latency_seconds", "Between two tokens of an answer.")
        self._whole = self._seconds("e2e_request_latency_seconds", "From arrival to the end of the answer.")
        self._queue = self._seconds("request_queue_time_seconds", "From arrival to the first step.")
        self._prefill = self._seconds("request_prefill_time_seconds", "From the first step to the first token.")
        self._decode = self._seconds("request_decode_time_seconds", "From the first token to the last.")
        self._prompt_sizes = self._histogram("request_prompt_tokens", "Tokens of a prompt.", _TOKENS)
        self._answer_sizes = self._histogram("request_generation_tokens", "Tokens of an answer.", _TOKENS)
        self._http = self._counter("http_requests", "Requests by route and status.", "method", "route", "status")
        self._http_seconds = self._seconds("http_request_duration_seconds", "From a request's arrival to its last byte.", "route")
        self._media = self._seconds("media_seconds", "Fetching and decoding a picture or a video.", "kind", "step")
        self._parse_failures = self._counter("tool_parse_failures", "Replies that look like a call to an offered tool and cannot be read.")
        self._verdicts = self._counter("guard_verdicts", "Verdicts of guards.", "stage", "verdict")
        self._grammar = self._seconds("grammar_compile_seconds", "Reading a grammar, or finding it read.")

    def watch(self, engine: Engine, *, experts: bool = False) -> None:
        """Tell of this engine, too, from now on; with `experts`, also which of them take the tokens."""
        if experts:
            engine.count_experts()
        self.registry.register(_EngineCollector(self._model, engine, experts))
        if (compiler := engine.grammars) is not None:
            timed: Any = lambda: _TimedGrammars(compiler(), self)  # noqa: E731  # all that an engine asks of it is `compile`
            engine.grammars = timed

    def answer(self, arrived_s: float | None = None, choices: int = 1) -> "AnswerMeter":
        """The clock of one answer, which has arrived now, or when `time.perf_counter` said `arrived_s`."""
        return AnswerMeter(self, time.perf_counter() if arrived_s is None else arrived_s, choices)

    def request(self, record: Record) -> None:
        """An HTTP request is done; an observer for `puna.serve.logs.RequestLog`."""
        method = record.method if record.method in _METHODS else "other"
        route = record.route or "none"
        self._http.labels(self._model, method, route, str(record.status or 0)).inc()
        self._http_seconds.labels(self._model, route).observe(record.seconds)

    @contextmanager
    def media(self, kind: str, step: str) -> Iterator[None]:
        """Times a step ("fetch", "decode") of a picture's or a video's way in."""
        with self._media.labels(self._model, kind, step).time():
            yield

    @contextmanager
    def grammar(self) -> Iterator[None]:
        """Times the reading of a grammar."""
        with self._grammar.labels(self._model).time():
            yield

    def tool_parse_failure(self, count: int = 1) -> None:
        self._parse_failures.labels(self._model).inc(count)

    def guard_verdict(self, stage: str, verdict: str) -> None:
        """`stage`: input, output or tool; `verdict`: allow, refuse or error."""
        self._verdicts.labels(self._model, stage, verdict).inc()

    def render(self) -> bytes:
        """The text of all metrics. May wait for the engine's step.

        Always Prometheus' plain format, which everybody reads: in OpenMetrics the colons of names would be lost to some scrapers.
        """
        return generate_latest(self._exposed)

    async def endpoint(self, request: Request) -> Response:
        """The route /metrics."""
        return Response(await run_in_threadpool(self.render), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        counter = Counter(_OURS + name, text, ("model_name", *labels), registry=self.registry)
        if not labels:
            counter.labels(self._model)  # there from the start, at zero: a rate needs a beginning
        return counter

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        histogram = Histogram(_OURS + name, text, ("model_name", *labels), buckets=buckets, registry=self.registry)
        if not labels:
            histogram.labels(self._model)
        return histogram

    def _seconds(self, name: str, text: str, *labels: str) -> Histogram:
        return self._histogram(name, text, _SECONDS, *labels)


class AnswerMeter:
    """Measures one answer, from its arrival to the end of its last choice. Times are of `time.perf_counter`, in seconds."""

    def __init__(self, metrics: Metrics, arrived_s: float, choices: int) -> None:
        self._m, self._arrived_s = metrics, arrived_s
        self._counts = [0] * choices
        self._last_s = [arrived_s] * choices
        self._first_s: dict[int, float] = {}
        self._open = set(range(choices))

    def reached(self, choice: int, count: int) -> None:
        """A choice has `count` tokens by now."""
        m, now = self._m, time.perf_counter()
        new = count - self._counts[choice]
        if new < 1:
            return
        later = new
        if choice not in self._first_s:
            self._first_s[choice] = now
            m._first_token.labels(m._model).observe(now - self._arrived_s)
            later -= 1
        between = m._between.labels(m._model)
        for _ in range(later):  # those that came at once share the time since the last
            between.observe((now - self._last_s[choice]) / new)
        self._last_s[choice], self._counts[choice] = now, count
        m._generation_tokens.labels(m._model).inc(new)

    def ended(self, choice: int, reason: str) -> None:
        """A choice is over: `reason` is what the client was told."""
        self._open.discard(choice)
        m, now = self._m, time.perf_counter()
        m._ended.labels(m._model, reason).inc()
        m._whole.labels(m._model).observe(now - self._arrived_s)
        m._answer_sizes.labels(m._model).observe(self._counts[choice])
        if choice in self._first_s:
            m._decode.labels(m._model).observe(self._last_s[choice] - self._first_s[choice])

    def prompted(self, prompt_tokens: int, cached_tokens: int = 0, started_s: float | None = None) -> None:
        """What the prompt was. `started_s`: when its first step began."""
        m = self._m
        m._prompt_tokens.labels(m._model).inc(prompt_tokens)
        m._queries.labels(m._model).inc(prompt_tokens)
        m._hits.labels(m._model).inc(cached_tokens)
        m._prompt_sizes.labels(m._model).observe(prompt_tokens)
        if started_s is not None:
            m._queue.labels(m._model).observe(max(0.0, started_s - self._arrived_s))
            if self._first_s:
                m._prefill.labels(m._model).observe(max(0.0, min(self._first_s.values()) - started_s))

    def broken(self, reason: str) -> None:
        """Choices that have not ended never will: "abort" if nobody wants them, or "error"."""
        for choice in sorted(self._open):
            self.ended(choice, reason)


class _TimedGrammars:
    """A grammar compiler, timed."""

    def __init__(self, compiler: GrammarCompiler, metrics: Metrics) -> None:
        self._compiler, self._metrics = compiler, metrics

    def compile(self, grammar: Grammar) -> Constraint:
        with self._metrics.grammar():
            return self._compiler.compile(grammar)


class _EngineCollector(Collector):
    """Reads the engine's own counts when somebody looks."""

    def __init__(self, model_name: str, engine: Engine, experts: bool) -> None:
        self._model, self._engine, self._experts = model_name, engine, experts

    def collect(self) -> Iterable[Metric]:
        engine = self._engine
        load, counters, plan = engine.load(), engine.counters, engine.plan
        yield self._gauge("num_requests_running", "Requests that the engine computes.", load.running)
        yield self._gauge("num_requests_waiting", "Requests that wait for a place in the engine.", load.waiting)
        used = {kind: pages.used / pages.total for kind, pages in load.pages.items() if pages.total}
        yield self._gauge(
            "kv_cache_usage_perc", "Share of pages in use, of the pool that is fuller; 1 is full.", max(used.values(), default=0.0)
        )
        shares = GaugeMetricFamily(_OURS + "kv_pool_usage_perc", "Share of pages in use, by kind of layer.", labels=("model_name", "kind"))
        pages = GaugeMetricFamily(
            _OURS + "kv_pages", "Pages: used by requests, kept for later ones, free.", labels=("model_name", "kind", "state")
        )
        for kind, share in used.items():
            shares.add_metric((self._model, kind), share)
            for state in ("used", "kept", "free"):
                pages.add_metric((self._model, kind, state), getattr(load.pages[kind], state))
        yield shares
        yield pages
        info = GaugeMetricFamily(
            _OURS + "cache_config_info", "How the cache is cut.", labels=("model_name", "block_size", "num_gpu_blocks", "cache_dtype")
        )
        dtype = str(plan.kv_dtype).removeprefix("torch.")
        blocks = plan.num_global or plan.num_local
        info.add_metric((self._model, str(plan.layout.tokens_per_page), str(blocks), dtype), 1)
        yield info
        for name, text, value in (
            ("num_preemptions", "Requests that gave their pages back and began again.", counters.preempted),
            ("engine_steps", "Steps of the engine.", counters.steps),
            ("engine_tokens_computed", "Tokens that went through the model.", counters.tokens_computed),
            ("spec_decode_num_draft_tokens", "Tokens guessed ahead.", counters.drafted),
            ("spec_decode_num_accepted_tokens", "Guesses that were right.", counters.accepted),
            ("near_ties", "Greedy choices whose two best logits lay within bf16 rounding.", counters.near_ties),
            ("vision_tiles_computed", "Tiles that went through the vision tower.", counters.tiles_computed),
        ):
            counter = CounterMetricFamily(_OURS + name, text, labels=("model_name",))
            counter.add_metric((self._model,), value)
            yield counter
        if self._experts:
            experts = CounterMetricFamily(
                _OURS + "expert_tokens", "Tokens that each expert took.", labels=("model_name", "layer", "expert")
            )
            for layer, tokens in engine.expert_load().items():
                for expert, count in enumerate(tokens):
                    experts.add_metric((self._model, str(layer), str(expert)), count)
            yield experts

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        family = GaugeMetricFamily(_OURS + name, text, labels=("model_name",))
        family.add_metric((self._model,), value)
        return family


class _Exposed(CollectorRegistry):
    """A registry as it is shown: without the times at which metrics were made, and if wished with vLLM's names beside ours."""

    def __init__(self, registry: CollectorRegistry, vllm_names: bool) -> None:
        super().__init__(auto_describe=False)
        self._inner, self._vllm_names = registry, vllm_names

    def collect(self) -> Iterator[Metric]:
        for family in self._inner.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family
            if self._vllm_names and family.name.removeprefix(_OURS) in _SHARED:
                theirs = Metric(_theirs(family.name), family.documentation, family.type)
                theirs.samples = [sample._replace(name=_theirs(sample.name)) for sample in family.samples]
                yield theirs


def _theirs(name: str) -> str:
    return _THEIRS + name.removeprefix(_OURS)
