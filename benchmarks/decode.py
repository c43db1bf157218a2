"""Tokens/s of one stream, beside other programs on the same weights; and what fewer bits cost.

    python benchmarks/decode.py [--llama-cpp DIR] [--transformers auto] [--contexts 128 2048 8192] [--rounds 5] [--threads 2] [--json]

The reference models are made at the first run (`--cache`; 5 GB, some minutes); `--models` takes others. Puna is what `puna.load` gives of
the bf16 directory and of those that `puna quantize` writes. Peers: llama.cpp, in a build of the user's (docs/benchmarks.md), each kind of
weights with its fastest flags; vLLM; `transformers`, to `--transformers-most` tokens. Timed are the `--steps` tokens that end at a
context; the prompt is not. Puna, vLLM and `transformers` choose the likeliest token, llama.cpp's program none.

Rounds are interleaved, so that a neighbour on the machine hits all contestants alike, and memory is read in each: what that rate allows is
printed too. Figures are medians over rounds, headlines the medians of each round's ratio of Puna to the best peer of as many bits.
*Fidelity*: bits a weight, scales included, and the KL divergence from the bf16 weights computed in fp32, over the same tokens of text. Of
scout-nano, since random weights tell little: in them rounding grows from layer to layer, so that bf16 is far from fp32 already. Chunks of
256 tokens, where llama.cpp, which has Scout's chunk and floor scale in its code, computes the nano's function. Prints a card, one JSON line
last.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from peers import quality
from peers.field import Field, card, fields, made_models, parser, run_case
from peers.limits import weights_limits
from peers.llama_cpp import PeerError
from peers.puna_side import PunaSide, quantized, stored_bits
from peers.shapes import nano_in_bf16

from puna.evals.likeness import SAMPLE
from puna.tokens.bpe import Tokenizer

CHUNK = 256  # the nano's own, and llama.cpp knows no other than 8,192


def speed(field: Field, context: int, directories: dict[str, Path], options: Any, say: Any) -> dict[str, Any]:
    steps = min(options.steps, context - 1)
    contestants = field.rates(
        lambda side, place: side.decode(1, context, steps),
        lambda llama, path: llama.decode(path, context, steps),
        (lambda side, place: side.decode(1, context, steps)) if context <= options.transformers_most else None,
    )
    title = f"{field.name}, the last {steps} tokens of {context:,}"
    return run_case(title, contestants, weights_limits(directories, streams=1), field.flags, options.rounds, say)


def fidelity(field: Field, directory: Path, options: Any, say: Any) -> dict[str, Any]:
    """Bits and divergence of each kind, Puna's through the engine that is timed elsewhere."""
    try:
        text = options.text.read_text(encoding="utf-8") if options.text else "\n".join(SAMPLE)
    except (OSError, UnicodeDecodeError) as error:
        raise PeerError(f"--text {options.text} cannot be read as UTF-8: {error}") from error
    token_ids = Tokenizer.from_hf(directory).encode(text)
    ids_CT = quality.chunks_of(token_ids, field.config.bos_id, options.chunks, CHUNK)
    if not len(ids_CT):
        raise PeerError(f"--text {options.text} is {len(token_ids)} tokens long; a chunk of {CHUNK} is needed")
    base = quality.all_logits(PunaSide(directory, dtype="float32", native=False), ids_CT)
    found: dict[str, Any] = {}
    for kind, side in field.puna.items():
        away = quality.divergence(base, quality.all_logits(side, ids_CT))
        found[f"Puna {kind}"] = (stored_bits(quantized(directory, kind)), away)
    if field.llama is not None:
        with TemporaryDirectory() as folder:
            file = quality.write_base(Path(folder) / "base", ids_CT, base)
            for kind, path in field.ggufs.items():
                size, count = field.llama.weights(path)
                found[f"llama.cpp {kind}"] = (8 * size / count, field.llama.divergence(path, file))
    say(f"{field.name}, fidelity over {len(ids_CT)} x {CHUNK // 2 - 1} places of text")
    for name, (bits, away) in found.items():
        say(f"  {name:18s} {bits:6.2f} bits a weight  KL {away.kl:.2e}  likeliest token the same at {away.same_best:.1%}")
    return {name: {"bits": round(bits, 3), "kl": away.kl, "same_best": round(away.same_best, 4)} for name, (bits, away) in found.items()}


def main(line: Sequence[str] | None = None) -> None:
    made = parser("Tokens/s of one stream, beside other programs on the same weights.", rounds=5)
    made.add_argument("--contexts", nargs="*", type=int, default=[128, 2048, 8192])
    made.add_argument("--steps", type=int, default=32, help="tokens timed")
    made.add_argument("--transformers-most", type=int, default=2048, help="longest context that `transformers` enters")
    made.add_argument("--chunks", type=int, default=8, help=f"of {CHUNK} tokens compared for fidelity; 0 leaves it out")
    made.add_argument("--fidelity-models", nargs="+", type=Path, metavar="DIR", help="bf16 directories; default: scout-nano")
    made.add_argument("--text", type=Path, metavar="FILE", help="what fidelity is measured over; default: questions in 12 languages")
    options = made.parse_args(line)
    with card(options, "decode") as (say, figures):
        if options.contexts:
            for field, directory in fields(options, made_models(options)):
                kinds = {kind: quantized(directory, kind) for kind in options.puna}
                figures["models"][field.name] = {str(each): speed(field, each, kinds, options, say) for each in options.contexts}
        if options.chunks:
            options.transformers = options.vllm = None  # they compute the bf16 weights as they are
            told = figures["fidelity"] = {}
            for field, directory in fields(options, options.fidelity_models or [nano_in_bf16(options.cache)]):
                told[field.name] = fidelity(field, directory, options, say)


if __name__ == "__main__":
    main()
