"""Who takes part: Puna in several precisions, the peers that the user has, and how a case between them is run and told."""

import argparse
import json
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import puna
from peers import llama_cpp, puna_side, shapes
from peers.llama_cpp import Flags, LlamaCpp, PeerError
from peers.puna_side import PunaSide
from peers.rounds import Rate, Rates, contest
from peers.vllm_side import VllmSide
from puna.checkpoint.stored import read_config
from puna.config import ModelConfig
from puna.kernels import native

# What competes with what: about the same bits a weight.
CLASSES = {
    "16 bits": ("Puna bf16", "llama.cpp bf16", "vLLM", "transformers"),
    "8 bits": ("Puna int8", "Puna int8-g32", "llama.cpp Q8_0"),
    "4 bits": ("Puna int4", "Puna int4-dense", "Puna int4-all", "llama.cpp Q4_0", "llama.cpp Q4_K_M"),
}
MACHINE = "machine: "


def parser(description: str, rounds: int) -> argparse.ArgumentParser:
    """The options that all programs share."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--shapes", nargs="+", choices=shapes.SHAPES, default=list(shapes.SHAPES), help="reference models to make and use")
    made.add_argument(
        "--models", nargs="+", type=Path, metavar="DIR", help="bf16 Hugging Face directories instead; what is made of them lies beside them"
    )
    made.add_argument("--cache", type=Path, default=shapes.default_cache(), help="where models are made and kept; default: %(default)s")
    made.add_argument("--puna", nargs="*", choices=puna_side.KINDS, default=["bf16", "int8", "int4"], help="kinds of weights to enter")
    made.add_argument("--llama-cpp", type=Path, metavar="DIR", help="the directory that llama.cpp was built in (docs/benchmarks.md)")
    made.add_argument("--gguf", nargs="*", choices=llama_cpp.KINDS, default=list(llama_cpp.KINDS), help="its kinds of weights")
    made.add_argument(
        "--transformers", choices=["auto", "bfloat16", "float32"], help="enter `transformers`; auto: in the faster of the two"
    )
    made.add_argument("--vllm", type=Path, metavar="PYTHON", help="enter vLLM, from the environment of this python (docs/benchmarks.md)")
    made.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of every contestant")
    made.add_argument("--rounds", type=int, default=rounds)
    made.add_argument("--json", action="store_true", help="print the JSON line alone")
    return made


@dataclass(slots=True)
class Field:
    """Contestants over one model. `flags`: what llama.cpp ran fastest with, by contestant."""

    name: str
    config: ModelConfig
    puna: dict[str, PunaSide]
    llama: LlamaCpp | None
    ggufs: dict[str, Path]
    transformers: Any  # a TransformersSide, or None
    vllm: VllmSide | None
    flags: dict[str, Flags] = field(default_factory=dict)

    def rates(
        self,
        ours: Callable[[PunaSide | VllmSide, int], float],
        llamas: Callable[[LlamaCpp, Path], tuple[float, Flags]],
        theirs: Callable[[Any, int], float] | None,
    ) -> dict[str, Rate]:
        """The contestants of a case; each call gets its side (and the round's number). `theirs` None: too slow for `transformers`."""
        found: dict[str, Rate] = {f"Puna {kind}": lambda place, side=side: ours(side, place) for kind, side in self.puna.items()}
        for kind, path in self.ggufs.items():
            found[f"llama.cpp {kind}"] = lambda place, name=f"llama.cpp {kind}", path=path: self._remembered(name, llamas, path)
        if (vllm := self.vllm) is not None:
            found["vLLM"] = lambda place: ours(vllm, place)
        if self.transformers is not None and theirs is not None:
            found["transformers"] = lambda place: theirs(self.transformers, place)
        return found

    def _remembered(self, name: str, llamas: Callable[[LlamaCpp, Path], tuple[float, Flags]], path: Path) -> float:
        assert self.llama is not None
        rate, self.flags[name] = llamas(self.llama, path)
        return rate


def made_models(options: argparse.Namespace) -> list[Path]:
    """The directories that --models names, or else those of --shapes, made if need be."""
    return options.models or [shapes.make_model(name, options.cache) for name in options.shapes]


def fields(options: argparse.Namespace, directories: Iterable[Path], streams: int = 1) -> Iterator[tuple[Field, Path]]:
    """One field a model, and its directory in bf16; one after the other: a large model's weights are not kept beside the next one's."""
    torch.set_num_threads(options.threads)
    if native.available():
        native.set_threads(options.threads)
    llama = LlamaCpp(options.llama_cpp, options.threads) if options.llama_cpp else None
    for directory in directories:
        if not (directory / "config.json").is_file():
            raise PeerError(f"{directory}: no config.json in it; a Hugging Face directory in bf16 is expected")
        ours = {kind: PunaSide(puna_side.quantized(directory, kind), streams) for kind in options.puna}
        ggufs = {kind: llama.model(directory, kind) for kind in options.gguf} if llama else {}
        peer = None
        if options.transformers:
            from peers.transformers_side import TransformersSide

            peer = TransformersSide(directory, None if options.transformers == "auto" else options.transformers)
        vllm = VllmSide(options.vllm, directory, streams, options.threads) if options.vllm else None
        yield Field(directory.name.removesuffix("-bf16"), read_config(directory), ours, llama, ggufs, peer, vllm), directory


@contextmanager
def card(options: argparse.Namespace, benchmark: str) -> Iterator[tuple[Callable[[str], None], dict[str, Any]]]:
    """Says lines as they come, unless --json; prints what was collected as one JSON line last."""
    figures: dict[str, Any] = {
        "benchmark": benchmark,
        "puna": puna.__version__,
        "torch": torch.__version__,
        "machine": platform.processor() or platform.machine(),
        "kernels": native.isa() if native.available() else None,
        "threads": options.threads,
        "rounds": options.rounds,
        "models": {},
    }

    def say(line: str) -> None:
        if not options.json:
            print(line, flush=True)

    say(f"{benchmark}: {figures['machine']}, {options.threads} threads, native kernels {figures['kernels']}, torch {torch.__version__}")
    try:
        yield say, figures
    except PeerError as error:
        raise SystemExit(f"{benchmark}: {error}") from None
    print(json.dumps(figures))


def headlines(rates: Rates) -> dict[str, dict[str, Any]]:
    """By class: Puna's best, the best peer, and the median over rounds of the one's rate over the other's."""
    found = {}
    for bits, names in CLASSES.items():
        present = [name for name in names if name in rates.values]
        ours, theirs = ([name for name in present if name.startswith("Puna") is is_ours] for is_ours in (True, False))
        if ours and theirs:
            mine, best = rates.best(ours), rates.best(theirs)
            found[bits] = {"puna": mine, "peer": best, "ratio": round(rates.ratio(mine, best), 2)}
    return found


def run_case(
    title: str,
    contestants: Mapping[str, Rate],
    limits: Mapping[str, Rate],
    flags: Mapping[str, Flags],
    rounds: int,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Contestants and limits in turns; says the card's part and returns the figures."""
    rates = contest({**{MACHINE + name: rate for name, rate in limits.items()}, **contestants}, rounds)
    say(title)
    for name in contestants:
        least, most = min(rates.values[name]), max(rates.values[name])
        how = f"  {flags[name]}" if name in flags else ""
        say(f"  {name:18s} {rates[name]:9,.1f} tokens/s  ({least:,.1f} to {most:,.1f}){how}")
    for name in limits:
        say(f"  {MACHINE + name:38s} {rates[MACHINE + name]:9,.1f} tokens/s")
    found = headlines(rates)
    for bits, headline in found.items():
        say(f"  {bits}: {headline['puna']} is {headline['ratio']:.2f} x {headline['peer']}")
    return {"tokens_per_s": rates.figures(), "flags": {name: str(each) for name, each in flags.items()}, "headlines": found}
