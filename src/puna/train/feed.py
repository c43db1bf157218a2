"""Batches ahead of time: while a step trains, the next one's rows are made, packed and brought near the device.

Everything depends on nothing but the stage, the step and the cursor, so what was made ahead for a step that never comes is thrown away.
With `row_processes` rows are made beside the training process, in chunks of consecutive indices; a run's numbers are the same with any
number of them.
"""

import multiprocessing
import os
import signal
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

from puna.train.packing import Row, RowSource, TrainingBatch, pack_step
from puna.train.run import Run

_CHUNK = 64  # rows made by one call to a process
_AHEAD = 3  # chunks asked for ahead, for each process


class Feed:
    """Hands out the batches of each step."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="puna-feed")
        self.sources = [stage.source for stage in run.stages]
        self.processes = _processes(self.sources, run.row_processes) if run.row_processes else None
        if self.processes is not None:
            ahead = _AHEAD * run.row_processes
            self.sources = [PooledRows(source, place, self.processes, ahead) for place, source in enumerate(self.sources)]
        self.next: tuple[tuple[int, int], Future[list[TrainingBatch]]] | None = None

    def take(self, stage: int, step: int, cursor: int, next_stage: int | None) -> list[TrainingBatch]:
        """The batches of `step`, on the run's device. `next_stage` is where the step after it will probably be, None if there is none."""
        is_ready = self.next is not None and self.next[0] == (stage, step)
        packed = self.next[1].result() if self.next is not None and is_ready else self._pack(stage, step, cursor)
        if next_stage is not None:
            self.next = ((next_stage, step + 1), self.thread.submit(self._pack, next_stage, step + 1, packed[-1].cursor))
        return packed if self.run.device == "cpu" else [data.to(self.run.device) for data in packed]

    def again(self, stage: int, step: int, cursor: int) -> list[TrainingBatch]:
        """The batches of a step that is over, in the host's memory."""
        return pack_step(self.run.stages[stage].source, cursor, step, self.run.tokens_per_batch, self.run.batches_per_step)

    def _pack(self, stage: int, step: int, cursor: int) -> list[TrainingBatch]:
        packed = pack_step(self.sources[stage], cursor, step, self.run.tokens_per_batch, self.run.batches_per_step)
        return [data.pinned() for data in packed] if self.run.device.startswith("cuda") else packed

    def close(self) -> None:
        self.thread.shutdown(cancel_futures=True)
        if self.processes is not None:
            self.processes.shutdown(cancel_futures=True)


def rows_of(packed: Sequence[TrainingBatch], cursor: int) -> list[tuple[int, str, int]]:
    """(index, kind, tokens) of each row of a step's batches; filler has index -1."""
    found: list[tuple[int, str, int]] = []
    for data in packed:
        indices = [*range(cursor, data.cursor), -1][: len(data.kinds)]
        found += zip(indices, data.kinds, data.batch.lengths, strict=True)
        cursor = data.cursor
    return found


def batches_of(run: Run, record: Mapping[str, Any]) -> list[TrainingBatch]:
    """The batches of a step again, from a record of `spikes.jsonl` (its stage, step and cursor)."""
    source = next(stage.source for stage in run.stages if stage.name == record["stage"])
    return pack_step(source, record["cursor"], record["step"] - 1, run.tokens_per_batch, run.batches_per_step)


class PooledRows:
    """A source whose rows other processes make, a few chunks ahead of the one asked for. Filler is made here."""

    def __init__(self, source: RowSource, place: int, processes: ProcessPoolExecutor, ahead: int) -> None:
        self.source, self.place, self.processes, self.ahead = source, place, processes, ahead
        self.chunks: dict[int, Future[list[Row]]] = {}

    def row(self, index: int) -> Row:
        wanted = index // _CHUNK
        for passed in [chunk for chunk in self.chunks if not wanted <= chunk <= wanted + self.ahead]:
            self.chunks.pop(passed).cancel()
        for chunk in range(wanted, wanted + self.ahead + 1):
            if chunk not in self.chunks:
                self.chunks[chunk] = self.processes.submit(_make_rows, self.place, chunk * _CHUNK)
        return self.chunks[wanted].result()[index % _CHUNK]

    def filler(self, index: int, num_tokens: int) -> Row:
        return self.source.filler(index, num_tokens)


def _processes(sources: Sequence[RowSource], count: int) -> ProcessPoolExecutor:
    """Started at once. Forked where the system can, so that sources need not be pickled: they make rows alone and never touch a GPU."""
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    pool = ProcessPoolExecutor(count, multiprocessing.get_context(method), initializer=_start_process, initargs=(sources,))
    pool.submit(int).result()
    return pool


_sources: Sequence[RowSource] = ()  # in a process that makes rows: of what


def _start_process(sources: Sequence[RowSource]) -> None:
    global _sources
    _sources = sources
    # The run decides when to stop, and needs rows for its last step: what stops a whole group, as `timeout` does, must not come here.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)


def _make_rows(place: int, first: int) -> list[Row]:
    return [_sources[place].row(index) for index in range(first, first + _CHUNK)]
