"""The other end of `vllm_side.py`: runs in vLLM's own environment, takes cases as JSON lines on stdin, answers with tokens/s on stdout.

Neither Puna nor anything of it is imported here.
"""

import json
import os
import sys
import time
from typing import Any

_answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)  # what vLLM prints is none

from vllm import LLM, SamplingParams  # noqa: E402 # pyright: ignore[reportMissingImports]


class Worker:
    def __init__(self, directory: str, streams: int, longest: int) -> None:
        llm = LLM(
            model=directory,
            dtype="bfloat16",
            enforce_eager=True,
            enable_prefix_caching=False,
            max_model_len=longest,
            max_num_batched_tokens=max(4096, longest),
            max_num_seqs=streams,
            skip_tokenizer_init=True,
        )
        self._engine: Any = llm.llm_engine
        self._count = 0

    def decode(self, prompts: list[list[int]], steps: int) -> float:
        """Tokens/s in all after each prompt's first token: `steps - 1` steps."""
        names = self._start(prompts, steps)
        began = time.perf_counter()
        for _ in range(steps - 1):
            self._engine.step()
        seconds = time.perf_counter() - began
        self._end(names)
        return len(prompts) * (steps - 1) / seconds

    def prefill(self, prompts: list[list[int]], steps: int) -> float:
        """Tokens/s of a prompt, its next token chosen."""
        began = time.perf_counter()
        names = self._start(prompts, 1)
        seconds = time.perf_counter() - began
        self._end(names)
        return sum(map(len, prompts)) / seconds

    def _start(self, prompts: list[list[int]], most: int) -> list[str]:
        names, waiting = [], set()
        for prompt in prompts:
            self._count += 1
            names.append(name := str(self._count))
            sampling = SamplingParams(temperature=0, max_tokens=most, ignore_eos=True, detokenize=False)
            self._engine.add_request(name, {"prompt_token_ids": prompt}, sampling)
            waiting.add(name)
        while waiting:
            for output in self._engine.step():
                if output.outputs[0].token_ids:
                    waiting.discard(output.request_id)
        return names

    def _end(self, names: list[str]) -> None:
        if self._engine.has_unfinished_requests():
            self._engine.abort_request(names)
        while self._engine.has_unfinished_requests():
            self._engine.step()


def main() -> None:
    worker = Worker(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    print(json.dumps("ready"), file=_answers)
    for line in sys.stdin:
        case = json.loads(line)
        print(json.dumps(getattr(worker, case["what"])(case["prompts"], case["steps"])), file=_answers)


if __name__ == "__main__":
    main()
