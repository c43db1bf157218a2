"""Tokens/s of a prompt, beside other programs on the same weights.

    python benchmarks/prefill.py [--llama-cpp DIR] [--transformers auto] [--lengths 512 4096] [--rounds 5] [--threads 2] [--json]

From a prompt that nobody has seen to its next token. Models, contestants, rounds and headlines as in `decode.py`. Of the machine, in
each round: torch's products alone, at the rows that a prompt gives the matrices (an expert of 16 sees a sixteenth of them), in fp32 and
in whatever is faster here. Attention's own products are left out, which weigh more in a long prompt. Prints a card, one JSON line last.
"""

from collections.abc import Sequence
from typing import Any

from peers.field import Field, card, fields, made_models, parser, run_case
from peers.limits import fast_kinds, products_limit


def speed(field: Field, length: int, kinds: tuple[str, ...], options: Any, say: Any) -> dict[str, Any]:
    contestants = field.rates(
        lambda side, place: side.prefill(length, seed=place),
        lambda llama, path: llama.prefill(path, length),
        (lambda side, place: side.prefill(length, seed=place)) if length <= options.transformers_most else None,
    )
    limits = {f"torch's {kind} products": lambda place, kind=kind: products_limit(field.config, length, 1, kind) for kind in kinds}
    return run_case(f"{field.name}, prompt of {length:,} tokens", contestants, limits, field.flags, options.rounds, say)


def main(line: Sequence[str] | None = None) -> None:
    made = parser("Tokens/s of a prompt, beside other programs on the same weights.", rounds=5)
    made.add_argument("--lengths", nargs="+", type=int, default=[512, 4096])
    made.add_argument("--transformers-most", type=int, default=512, help="longest prompt that `transformers` enters")
    options = made.parse_args(line)
    with card(options, "prefill") as (say, figures):
        kinds = fast_kinds()
        for field, _ in fields(options, made_models(options)):
            told = figures["models"][field.name] = {"lengths": {}}
            for length in options.lengths:
                told["lengths"][str(length)] = speed(field, length, kinds, options, say)


if __name__ == "__main__":
    main()
