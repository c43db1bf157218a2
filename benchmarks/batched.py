"""Tokens/s of many streams side by side, against one, beside other programs on the same weights.

    python benchmarks/batched.py [--llama-cpp DIR] [--transformers auto] [--streams 32] [--context 160] [--rounds 5] [--threads 2] [--json]

Timed are the `--steps` tokens of each stream that end at the context, all streams in step; tokens of all streams are counted. Models,
contestants, rounds and headlines as in `decode.py`. Of the machine, in each round: what reading the weights that such a step needs allows
(32 tokens hit 14 of 16 experts on average), and torch's products at its row counts (two an expert) alone, their weights in cache.
Prints a card, one JSON line last.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peers.field import MACHINE, Field, card, fields, made_models, parser, run_case
from peers.limits import fast_kinds, products_limit, weights_limits
from peers.puna_side import quantized
from peers.rounds import Rate


def limits_of(field: Field, streams: int, directories: dict[str, Path], kinds: tuple[str, ...]) -> dict[str, Rate]:
    found = weights_limits(directories, streams)
    for kind in kinds:
        found[f"torch's {kind} products"] = lambda place, kind=kind: products_limit(field.config, streams, streams, kind)
    return found


def speed(field: Field, streams: int, directories: dict[str, Path], kinds: tuple[str, ...], options: Any, say: Any) -> dict[str, Any]:
    contestants = field.rates(
        lambda side, place: side.decode(streams, options.context, options.steps),
        lambda llama, path: llama.batched(path, streams, options.context, options.steps),
        lambda side, place: side.decode(streams, options.context, options.steps),
    )
    title = f"{field.name}, {streams} streams, the last {options.steps} tokens of {options.context:,}"
    limits = limits_of(field, streams, directories, kinds)
    return run_case(title, contestants, limits, field.flags, options.rounds, say)


def main(line: Sequence[str] | None = None) -> None:
    made = parser("Tokens/s of many streams side by side, beside other programs on the same weights.", rounds=5)
    made.add_argument("--streams", type=int, default=32)
    made.add_argument("--context", type=int, default=160)
    made.add_argument("--steps", type=int, default=32, help="tokens of each stream timed")
    options = made.parse_args(line)
    with card(options, "batched") as (say, figures):
        kinds = fast_kinds()
        for field, directory in fields(options, made_models(options), options.streams):
            directories = {kind: quantized(directory, kind) for kind in options.puna}
            many, one = (speed(field, streams, directories, kinds, options, say) for streams in (options.streams, 1))
            gains = {
                name: round(rates["median"] / one["tokens_per_s"][name]["median"], 2)
                for name, rates in many["tokens_per_s"].items()
                if not name.startswith(MACHINE)
            }
            say(f"  {options.streams} streams over one: " + ", ".join(f"{name} {gain:.1f} x" for name, gain in gains.items()))
            figures["models"][field.name] = {"many": many, "one": one, "many_over_one": gains}


if __name__ == "__main__":
    main()
