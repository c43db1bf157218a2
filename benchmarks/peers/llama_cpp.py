"""llama.cpp as a peer: its own programs, which the user has built, run as they are.

`docs/benchmarks.md` says how to build them. Every figure is from one run of `llama-bench` or `llama-batched-bench`. Its best flags differ
by case (weights repacked at loading or not, flash attention or not), so each case tries them all once and keeps the fastest; one of more
than 4,096 tokens, which takes minutes, keeps those of a case of 2,048 or more, if there was one.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from peers.quality import Divergence

KINDS = ("bf16", "Q8_0", "Q4_0", "Q4_K_M")
PROGRAMS = ("llama-bench", "llama-batched-bench", "llama-quantize", "llama-perplexity")
_LONG = 4096
# The converter knows tokenizers by a hash of what they do, so not this one; any name will do where only ids are asked for.
_CONVERT = """
import runpy, sys
source = sys.argv.pop(1)
sys.path[:0] = [source, source + "/gguf-py"]
from conversion.base import TextModel
TextModel.get_vocab_base_pre = lambda self, tokenizer: "llama4"
runpy.run_path(source + "/convert_hf_to_gguf.py", run_name="__main__")
"""


class PeerError(Exception):
    """A program that is not there or fails; the message says what it said."""


class Flags(NamedTuple):
    repack: bool
    flash: bool

    def __str__(self) -> str:
        return f"{'repacked' if self.repack else 'not repacked'}, flash attention {'on' if self.flash else 'off'}"


@dataclass(slots=True)
class LlamaCpp:
    """`build`: the directory that cmake built in. `threads`: of each run."""

    build: Path
    threads: int
    _flags: dict[tuple[Path, str], dict[int, Flags]] = field(default_factory=dict)  # by model and kind of case, then its tokens

    def __post_init__(self) -> None:
        missing = [name for name in PROGRAMS if not (self.build / "bin" / name).is_file()]
        if missing:
            raise PeerError(f"no {missing[0]} in {self.build / 'bin'}; docs/benchmarks.md says how to build llama.cpp")

    @property
    def source(self) -> Path:
        """Where the build's source lies, by cmake's own record."""
        for line in (self.build / "CMakeCache.txt").read_text().splitlines():
            if line.startswith("CMAKE_HOME_DIRECTORY:"):
                return Path(line.partition("=")[2])
        raise PeerError(f"{self.build / 'CMakeCache.txt'} does not say where the source is")

    def model(self, directory: Path, kind: str) -> Path:
        """The GGUF file of a bf16 Hugging Face directory in `kind`, made beside it unless it is there."""
        target = directory.with_name(f"{directory.name.removesuffix('-bf16')}-{kind}.gguf")
        if target.is_file():
            return target
        partial = target.with_suffix(".partial")
        if kind == "bf16":
            line = [str(directory), "--outtype", "bf16", "--outfile", str(partial)]
            _run("llama.cpp's converter", [sys.executable, "-c", _CONVERT, str(self.source), *line])
        else:
            self._program("llama-quantize", str(self.model(directory, "bf16")), str(partial), kind, str(self.threads))
        return partial.rename(target)

    def decode(self, model: Path, context: int, steps: int) -> tuple[float, Flags]:
        """Tokens/s of the `steps` tokens that end at `context`, one stream; and the flags that it took."""
        line = ("-p", "0", "-n", str(steps), "-d", str(context - steps))
        return self._at_best(lambda flags: self._bench(model, line, flags)["avg_ts"], model, "decode", context)

    def prefill(self, model: Path, tokens: int) -> tuple[float, Flags]:
        """Tokens/s of a prompt, the logits of its last token included; and the flags that it took."""
        line = ("-p", str(tokens), "-n", "0")
        return self._at_best(lambda flags: self._bench(model, line, flags)["avg_ts"], model, "prefill", tokens)

    def batched(self, model: Path, streams: int, context: int, steps: int) -> tuple[float, Flags]:
        """Tokens/s in all of `streams` side by side, of the `steps` tokens of each that end at `context`; and the flags that it took."""

        def rate(flags: Flags) -> float:
            out = self._program(
                *("llama-batched-bench", "-m", str(model), "-t", str(self.threads), "-c", str(streams * context)),
                *("-npp", str(context - steps), "-ntg", str(steps), "-npl", str(streams), "--output-format", "jsonl"),
                *("-fa", "on" if flags.flash else "off", *(() if flags.repack else ("--no-repack",))),
            )
            return json.loads(next(line for line in out.splitlines() if line.startswith("{")))["speed_tg"]

        return self._at_best(rate, model, f"{streams} streams", context)

    def weights(self, model: Path) -> tuple[int, int]:
        """Bytes of a model's tensors, scales included, and how many weights they are."""
        entry = self._bench(model, ("-p", "1", "-n", "0"), Flags(repack=False, flash=False))
        return entry["model_size"], entry["model_n_params"]

    def divergence(self, model: Path, base: Path) -> Divergence:
        """From the distributions in `base` (see `peers.quality`), over the same tokens."""
        line = ("-m", str(model), "-t", str(self.threads), "--kl-divergence-base", str(base), "--kl-divergence")
        found: dict[str, float] = {}
        for row in self._program("llama-perplexity", *line).splitlines():
            name, _, rest = row.partition(":")
            if rest and rest.split():
                found[" ".join(name.split())] = _number(rest.split()[0])
        try:
            return Divergence(found["Mean KLD"], found["Same top p"] / 100)
        except KeyError as error:
            raise PeerError(f"llama-perplexity printed no {error.args[0]!r} for {model}") from None

    def _bench(self, model: Path, line: tuple[str, ...], flags: Flags) -> dict[str, Any]:
        options = ("-fa", "on" if flags.flash else "off", "--repack", str(int(flags.repack)), "-r", "1", "-o", "json")
        return json.loads(self._program("llama-bench", "-m", str(model), "-t", str(self.threads), *line, *options))[0]

    def _at_best(self, rate: Callable[[Flags], float], model: Path, case: str, tokens: int) -> tuple[float, Flags]:
        known = self._flags.setdefault((model, case), {})
        if tokens not in known:
            longest = max(known, default=0)
            if tokens > _LONG and longest >= _LONG // 2:
                known[tokens] = known[longest]
            else:
                known[tokens] = max((Flags(*each) for each in product((True, False), repeat=2)), key=rate)
        return rate(known[tokens]), known[tokens]

    def _program(self, name: str, *line: str) -> str:
        return _run(name, [str(self.build / "bin" / name), *line])


def _run(name: str, command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise PeerError(f"{name} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def _number(word: str) -> float:
    try:
        return float(word.rstrip("%"))
    except ValueError:
        return float("nan")
