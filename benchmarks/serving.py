"""A server under load, as many clients see it: time to the first token, time a token, goodput, errors, memory over time.

    puna serve --streams 32 &
    python benchmarks/serving.py --url http://localhost:8000/v1 --pid $! [--peer http://localhost:8080/v1] [--clients 64] [--seconds 600]

Any server that speaks OpenAI's chat completions with streams. Requests are questions of mixed lengths, each unlike the others so that
no kept prefix helps, answered greedily with at most --tokens tokens; a share of them (--leave) goes away after its first token.

1. *Capacity*: --clients clients, each with one request after another, for --warm seconds: requests that ended, per second.
2. *Load*: requests come in by chance (Poisson), whether earlier ones have ended or not, at --share of the first server's capacity, for
   --seconds. The same times and questions for every server, one server after the other.

A request is good if its first token comes within 2 s and the others within 100 ms each, on average; goodput is good requests per second.
Exit code 1 if a request failed, memory grew by more than 3 % after the warm-up, or the 99th percentile of the time to the first token
exceeds 4 times its median. Prints a card, and one JSON line last. On one machine the clients' work is the server's loss: both are told.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx

FIRST_TOKEN_S, TOKEN_S = 2.0, 0.1
MOST_GROWTH, MOST_TAIL = 0.03, 4.0
_WORDS = (
    "llama river mountain bread window yellow seven horse music table winter garden letter bridge paper silver night "
    "market ocean forest hammer candle island button pepper thunder blanket mirror rocket pencil camel flute"
).split()


class Unmeasurable(Exception):
    """A server that answers nothing, or an error before any load."""


@dataclass(slots=True)
class Outcome:
    """One request: seconds from its start, tokens (pieces of text) that came, and what went wrong."""

    first_s: float | None = None
    whole_s: float = 0.0
    tokens: int = 0
    left: bool = False
    error: str = ""

    @property
    def token_s(self) -> float | None:
        """Seconds a token after the first."""
        return (self.whole_s - self.first_s) / (self.tokens - 1) if self.first_s is not None and self.tokens > 1 else None

    @property
    def is_good(self) -> bool:
        return not self.error and self.first_s is not None and self.first_s <= FIRST_TOKEN_S and (self.token_s or 0) <= TOKEN_S


@dataclass(slots=True)
class Report:
    """A server's figures."""

    url: str
    capacity: float
    rate: float
    seconds: float
    outcomes: list[Outcome] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    @property
    def growth(self) -> float | None:
        """Of resident memory, from the first tenth of the load to its last."""
        tenth = max(1, len(self.memory) // 10)
        if len(self.memory) < 2:
            return None
        return (sum(self.memory[-tenth:]) - sum(self.memory[:tenth])) / sum(self.memory[:tenth])

    def figures(self) -> dict[str, Any]:
        firsts = [each.first_s for each in self.outcomes if each.first_s is not None]
        gaps = [each.token_s for each in self.outcomes if each.token_s is not None and not each.left]
        errors = [each.error for each in self.outcomes if each.error]
        return {
            "url": self.url,
            "capacity": self.capacity,
            "rate": self.rate,
            "requests": len(self.outcomes),
            "errors": len(errors),
            "first_error": errors[0] if errors else None,
            "left": sum(each.left for each in self.outcomes),
            "first_token_s": quantiles(firsts),
            "token_s": quantiles(gaps),
            "goodput": sum(each.is_good for each in self.outcomes) / self.seconds,
            "memory_mib": max(self.memory) / 2**20 if self.memory else None,
            "memory_growth": self.growth,
        }

    def misses(self) -> list[str]:
        """What a server must hold and did not."""
        figures, missed = self.figures(), []
        if figures["errors"]:
            missed.append(f"{figures['errors']} requests failed: {figures['first_error']}")
        if (growth := self.growth) is not None and growth > MOST_GROWTH:
            missed.append(f"memory grew by {growth:.1%}, more than {MOST_GROWTH:.0%}")
        first = figures["first_token_s"]
        if first and first["p99"] > MOST_TAIL * first["p50"]:
            missed.append(f"p99 of the first token is {first['p99'] / first['p50']:.1f} times the median, more than {MOST_TAIL:g}")
        return missed


def quantiles(values: Sequence[float]) -> dict[str, float] | None:
    """Median and 99th percentile; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return {f"p{share}": ordered[min(len(ordered) - 1, len(ordered) * share // 100)] for share in (50, 99)}


def question(rng: random.Random) -> str:
    """Some 20 to 200 tokens that no other request begins with."""
    return f"{rng.randrange(10**6)}: tell me about " + ", ".join(rng.choices(_WORDS, k=rng.randint(4, 40))) + "."


async def ask(client: httpx.AsyncClient, url: str, text: str, tokens: int, leaves: bool) -> Outcome:
    """One streamed answer. Whatever goes wrong is the outcome's error."""
    outcome, began = Outcome(left=leaves), time.perf_counter()
    body = {"messages": [{"role": "user", "content": text}], "max_tokens": tokens, "stream": True, "temperature": 0}
    try:
        async with client.stream("POST", f"{url}/chat/completions", json=body) as response:
            if response.status_code != 200:
                outcome.error = f"status {response.status_code}: {(await response.aread())[:200].decode(errors='replace')}"
                return outcome
            async with aclosing(pieces(response)) as texts:
                async for piece in texts:
                    outcome.tokens += bool(piece)
                    outcome.whole_s = time.perf_counter() - began
                    if outcome.first_s is None:
                        outcome.first_s = outcome.whole_s
                        if leaves:
                            return outcome
        if outcome.first_s is None:
            outcome.error = "the answer ended without a token"
    except (httpx.HTTPError, ValueError) as error:
        outcome.error = f"{type(error).__name__}: {error}"
    return outcome


async def pieces(response: httpx.Response) -> AsyncGenerator[str, None]:
    """The texts of a stream of chunks, empty ones left out but for the last that says why it ended. `ValueError` for an error in it."""
    async for line in response.aiter_lines():
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or data == "[DONE]":
            continue
        event = json.loads(data)
        if "error" in event:
            raise ValueError(f"an error in the stream: {event['error']}")
        for choice in event.get("choices", ()):
            if text := (choice.get("delta") or {}).get("content"):
                yield text
            elif choice.get("finish_reason"):
                yield ""


async def capacity(client: httpx.AsyncClient, url: str, clients: int, seconds: float, tokens: int, seed: int) -> float:
    """Requests a second that end while `clients` clients ask one after another."""
    deadline, ended = time.perf_counter() + seconds, 0

    async def one(rng: random.Random) -> None:
        nonlocal ended
        while time.perf_counter() < deadline:
            outcome = await ask(client, url, question(rng), tokens, leaves=False)
            if outcome.error:
                raise Unmeasurable(f"{url} cannot be measured: {outcome.error}")
            ended += time.perf_counter() < deadline

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(one(random.Random(f"{seed} {number}")))
    return ended / seconds


async def load(client: httpx.AsyncClient, report: Report, pid: int | None, options: argparse.Namespace) -> None:
    """Open-loop arrivals at the report's rate."""
    rng = random.Random(options.seed)
    watching = asyncio.create_task(watch(pid, report.memory))
    deadline = time.perf_counter() + report.seconds
    async with asyncio.TaskGroup() as group:
        tasks = []
        at = time.perf_counter()
        while (at := at + rng.expovariate(report.rate)) < deadline:
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            leaves = rng.random() < options.leave
            tasks.append(group.create_task(ask(client, report.url, question(rng), options.tokens, leaves)))
            show(f"{report.url}: {len(tasks)} requests")
    watching.cancel()
    report.outcomes = [task.result() for task in tasks]


async def watch(pid: int | None, memory: list[int]) -> None:
    """Resident bytes, once a second."""
    while pid is not None:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        memory.append(int(status.split("VmRSS:")[1].split()[0]) * 1024)
        await asyncio.sleep(1)


async def measure(options: argparse.Namespace) -> list[Report]:
    reports: list[Report] = []
    servers = [(options.url, options.pid), *((peer, None) for peer in options.peer)]
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=options.clients)
    async with httpx.AsyncClient(timeout=httpx.Timeout(600), limits=limits, trust_env=False) as client:
        for url, pid in servers:
            show(f"{url}: capacity, {options.warm:g} s")
            found = await capacity(client, url, options.clients, options.warm, options.tokens, options.seed)
            if not found:
                raise Unmeasurable(f"{url} ended no request in {options.warm:g} s: give it more with --warm")
            rate = options.rate or options.share * (reports[0].capacity if reports else found)
            reports.append(Report(url, found, rate, options.seconds))
            await load(client, reports[-1], pid, options)
    return reports


def show(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:<70}", end="", file=sys.stderr, flush=True)


def card(report: Report) -> str:
    figures = report.figures()

    def of(name: str) -> str:
        found = figures[name]
        return "none came" if found is None else f"median {found['p50'] * 1000:,.0f} ms, p99 {found['p99'] * 1000:,.0f} ms"

    lines = [
        f"{report.url}: {figures['capacity']:.2f} requests/s at most; {figures['rate']:.2f} came each second for {report.seconds:g} s",
        f"  requests            {figures['requests']}, {figures['errors']} failed, {figures['left']} left after their first token",
        f"  first token         {of('first_token_s')}",
        f"  each token          {of('token_s')}",
        f"  goodput             {figures['goodput']:.2f} requests/s",
    ]
    if report.memory:
        growth = "" if report.growth is None else f", {report.growth:+.1%} over the load"
        lines.append(f"  memory              {figures['memory_mib']:,.0f} MiB at most{growth}")
    return "\n".join([*lines, *(f"  MISSED: {missed}" for missed in report.misses())])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://localhost:8000/v1", help="the server's base URL; default: %(default)s")
    parser.add_argument("--pid", type=int, help="the server's process, whose memory is watched (Linux)")
    parser.add_argument("--peer", action="append", default=[], help="another server's base URL, measured after the first; several times")
    parser.add_argument("--clients", type=int, default=64, help="clients at once while capacity is measured; default: %(default)s")
    parser.add_argument("--seconds", type=float, default=600, help="of load; default: %(default)s")
    parser.add_argument("--warm", type=float, default=60, help="seconds of measuring capacity; default: %(default)s")
    parser.add_argument("--share", type=float, default=0.7, help="of the first server's capacity that is offered; default: %(default)s")
    parser.add_argument("--rate", type=float, help="requests a second instead")
    parser.add_argument("--tokens", type=int, default=64, help="of an answer at most; default: %(default)s")
    parser.add_argument("--leave", type=float, default=0.05, help="share of requests that leave after a token; default: %(default)s")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    try:
        reports = asyncio.run(measure(options))
    except* Unmeasurable as failures:
        parser.exit(1, f"{failures.exceptions[0]}\n")
    show("")
    for report in reports:
        print(card(report))
    first, *peers = reports
    for peer in peers:
        other = peer.figures()["goodput"]
        ratio = f"{first.figures()['goodput'] / other:.2f} x" if other else "beyond comparison: the peer had none"
        print(f"goodput against {peer.url}: {ratio}")
    print(json.dumps({"benchmark": "serving", "servers": [report.figures() for report in reports]}))
    sys.exit(any(report.misses() for report in reports[:1]))


if __name__ == "__main__":
    main()
