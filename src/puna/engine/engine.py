"""The engine: many requests at once over one model. Token ids in, token ids out.

    engine = Engine(model)
    engine.generate([Request(prompt=stream), ...])        # all answers, in order
    for token in engine.stream(Request(prompt=stream)):   # as they come; leaving the loop cancels

A step (`step`) packs work of many requests into one batch: the next token of each that decodes, with its drafts, and pieces of prompts.
Whoever waits for tokens drives it: any number of threads may, one steps at a time, and a step serves all of them. `puna.engine.aio` is
the front for asyncio.

One request's mistake ends that request alone: damaged logits, a grammar that can't be met, a picture without its rows.
"""

import itertools
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from puna.engine.checks import check_request
from puna.engine.choice import Chooser
from puna.engine.counters import Counters, Counts, Load, PoolUse
from puna.engine.grammar import GrammarCompiler, GrammarError
from puna.engine.kv_memory import KVMemory
from puna.engine.memory import Plan, Settings, plan_memory
from puna.engine.request import FinishReason, Generation, PromptError, PromptLogprob, Request, Token
from puna.engine.runner import Computed, ModelRunner
from puna.engine.sampling import Chosen, Sampler, SamplingError, token_logprobs
from puna.engine.scheduler import Scheduler, Work, total_tokens
from puna.engine.sequence import Sequence
from puna.engine.speculate import Drafter
from puna.model import Model
from puna.model.packed import packed_names, weight_bytes

_log = logging.getLogger(__name__)


class Engine:
    """Requests over `model`, in the memory that `settings` allow (see `puna.engine.memory`). `drafter` guesses tokens ahead, `grammars`
    gives what compiles the grammars that requests ask for; without it such a request is refused.
    """

    def __init__(
        self,
        model: Model,
        settings: Settings | None = None,
        *,
        drafter: Drafter | None = None,
        grammars: Callable[[], GrammarCompiler] | None = None,
    ) -> None:
        self.model = model.eval()
        self.config = model.config
        self.settings = settings or Settings()
        self.drafter, self.grammars = drafter, grammars
        self.device = model.text.embed.weight.device
        self.plan: Plan = plan_memory(self.config, self.settings, model.dtype, self.device, weight_bytes(model))
        layout = self.plan.layout
        self.memory = KVMemory(
            self.config, layout, self.plan.num_global, self.plan.num_local, self.plan.kv_dtype, self.device, self.settings.keep_prefixes
        )
        self.runner = ModelRunner(model, self.memory, layout, self.settings)
        self.scheduler = Scheduler(self.memory, self.settings.max_streams, self.settings.step_tokens, self._propose if drafter else None)
        self._sequences: dict[int, Sequence] = {}
        self._held: dict[int, Generation] = {}  # by number: whose prompt is to be computed first
        self._numbers, self._arrivals = itertools.count(), itertools.count()
        self._counts = Counts()
        self._chooser = Chooser(self._counts, near_ties=self.runner.rounds)
        self._lock = threading.RLock()
        self._busy = 0
        self._unwanted: list[Generation] = []

    # Asking

    def submit(self, request: Request) -> Generation:
        """Put a request in line. Raises `PromptError`, `GrammarError` or `SamplingError` for one that can never be answered; what goes
        wrong later ends the generation.
        """
        generation = self.prepare(request)
        self.enter(generation)
        return generation

    def prepare(self, request: Request) -> Generation:
        """Everything that `submit` does but entering the line: checks, and reading the grammar, which may take a while."""
        limit = check_request(request, self.config, self.plan.tokens_per_stream)
        sampler = self._sampler(request)
        generation = Generation(next(self._numbers), request)
        generation.sequence = Sequence(generation, sampler, self.plan.layout, self.config.patch_id, limit)
        return generation

    def enter(self, generation: Generation, after: Generation | None = None) -> None:
        """Put a prepared request in line; with `after`, as soon as the prompt of that one is computed and its pages can be shared."""
        with self._exclusive():
            if generation.is_done:  # cancelled before it came here
                return
            sequence = generation.sequence
            assert sequence is not None and generation.id not in self._sequences, f"generation {generation.id} has been in line already"
            sequence.rank = (generation.request.priority, next(self._arrivals))
            self._sequences[generation.id] = sequence
            if after is None:
                self.scheduler.add(sequence)
            else:
                self._held[generation.id] = after

    def submit_samples(self, request: Request, count: int) -> list[Generation]:
        """`count` answers to one prompt, which is computed once. With a seed, answer i has the seed plus i."""
        with self._lock:
            leader, *others = self.prepare_samples(request, count)
            self.enter(leader)
            for other in others:
                self.enter(other, after=leader)
        return [leader, *others]

    def prepare_samples(self, request: Request, count: int) -> list[Generation]:
        """What `submit_samples` puts in line: enter the first, and the others after it. The first alone reports the prompt."""
        if count < 1:
            raise PromptError(f"n={count} must be at least 1")
        seed = request.sampling.seed
        leader = self.prepare(request)
        others = []
        for i in range(1, count):
            sampling = request.sampling if seed is None else replace(request.sampling, seed=_next_seed(seed, i))
            others.append(self.prepare(replace(request, sampling=sampling, prompt_logprobs=None)))
        return [leader, *others]

    def cancel(self, generation: Generation) -> None:
        """Nobody wants it any more: its pages are free at once. Harmless when it is done."""
        with self._lock:
            if self._busy:  # the garbage collector closed somebody's `follow` amid a step of this very thread: after it
                self._unwanted.append(generation)
                return
        with self._exclusive():
            self._cancel(generation)

    def _cancel(self, generation: Generation) -> None:
        if generation.id in self._sequences:
            self._end(self._sequences[generation.id], "cancelled")
        elif not generation.is_done:  # it never entered the line
            generation.finish_reason = "cancelled"

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Nobody else changes who waits and runs, not even this thread by a finalizer: what is cancelled meanwhile ends at the end."""
        with self._lock:
            self._busy += 1
            try:
                yield
            finally:
                while self._busy == 1 and self._unwanted:
                    self._cancel(self._unwanted.pop())
                self._busy -= 1

    def cancel_all(self) -> None:
        """Cancel whatever waits or runs."""
        with self._exclusive():
            for sequence in list(self._sequences.values()):
                self._end(sequence, "cancelled")

    def fail_all(self, error: Exception) -> None:
        """End whatever waits or runs with an error that is nobody's own: the machine ran out of memory, say."""
        with self._exclusive():
            for sequence in list(self._sequences.values()):
                self._fail(sequence, error)

    def generate(self, requests: Iterable[Request]) -> list[list[int]]:
        """Answer all, in order. A request that can never be answered raises before any is in line; the first error under way, after all."""
        generations = [self.prepare(request) for request in requests]
        try:
            for generation in generations:
                self.enter(generation)
            for generation in generations:
                self.wait(generation)
        finally:
            for generation in generations:
                self.cancel(generation)
        return [generation.result() for generation in generations]

    def stream(self, request: Request) -> Iterator[Token]:
        """Tokens as they come. Mistakes in the request raise at once; errors under way, where they happen. Leaving the loop cancels."""
        return self.follow(self.prepare(request))

    def wait(self, generation: Generation) -> None:
        """Step until it is done. Enters the line if need be."""
        self._enter_if_new(generation)
        while not generation.is_done:
            with self._lock:
                if not generation.is_done:
                    self.step()

    def _release_held(self) -> None:
        for number, leader in list(self._held.items()):
            if leader.is_done or self._sequences[leader.id].num_computed >= len(leader.request.prompt):
                del self._held[number]
                self.scheduler.add(self._sequences[number])

    def follow(self, generation: Generation) -> Iterator[Token]:
        """The tokens of a request that nobody has taken yet, and those to come. Enters the line if need be; leaving the loop cancels."""
        self._enter_if_new(generation)
        try:
            while True:
                with self._lock:
                    while not generation.pending and not generation.is_done:
                        self.step()
                while generation.pending:
                    yield generation.pending.popleft()
                if generation.is_done and not generation.pending:
                    break
            if generation.error is not None:
                raise generation.error
        finally:
            self.cancel(generation)

    def _enter_if_new(self, generation: Generation) -> None:
        with self._lock:
            if generation.sequence is not None and generation.id not in self._sequences:
                self.enter(generation)

    # Stepping

    @property
    def has_work(self) -> bool:
        return self.scheduler.has_work or bool(self._held)

    def step(self) -> int:
        """One batch; the number of tokens it computed, 0 if there was nothing to do."""
        with self._exclusive():
            self._release_held()
            work = self.scheduler.next_step()
            if not work:
                assert not self.scheduler.running, "pages are missing though nothing runs"
                return 0
            with torch.inference_mode(), self.runner.mode():
                self._run(work)
            computed = total_tokens(work)
            for each in work:
                each.sequence.drafts = []
            self._counts.steps += 1
            return computed

    def _run(self, work: list[Work]) -> None:
        """Compute and choose. What fails with several requests in it runs again one by one, to find whose fault it is."""
        try:
            computed = self.runner.compute(work)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            if len(work) == 1:
                self._fail(work[0].sequence, error)
            else:
                for each in work:
                    self._run([each])
            return
        self._find_damage(work, computed)
        self._report_prompts(work, computed)
        self._report_experts(work, computed)
        self._choose(work, computed)
        self._counts.tokens_computed += total_tokens(work)

    def _choose(self, work: list[Work], computed: Computed) -> None:
        """Tokens for those whose known tokens are all computed now; then what was computed is theirs."""

        def is_ready(each: Work) -> bool:
            return not each.sequence.generation.is_done and each.count == each.sequence.num_left

        ready = [(each, first) for each, first in zip(work, computed.first_rows, strict=True) if is_ready(each)]
        rows = [row for each, first in ready for row in range(first + each.count - 1, first + each.count + len(each.sequence.drafts))]
        chosen: dict[Sequence, list[Chosen | SamplingError]] = {}
        if ready:
            hidden_TD = computed.hidden_TD
            logits_BV = self.runner.logits(hidden_TD if len(rows) == len(hidden_TD) else hidden_TD[torch.tensor(rows, device=self.device)])
            sequences = [each.sequence for each, _ in ready]
            chosen = dict(zip(sequences, self._chooser.choose(sequences, logits_BV), strict=True))
        for sequence, count in work:
            if sequence.generation.is_done:  # found damaged
                continue
            before, tokens = sequence.num_computed, chosen.get(sequence, [])
            sequence.num_computed += count + max(0, len(tokens) - 1)  # of drafts, those that were chosen
            if any(isinstance(token, SamplingError) for token in tokens):
                self._take(sequence, tokens)
                continue
            reason = self._take(sequence, tokens)
            names = sequence.name_pages(sequence.num_computed, self.plan.layout.tokens_per_page)
            self.memory.commit(sequence.pages, names, before, sequence.num_computed)
            if reason is not None:
                self._end(sequence, reason)

    def _take(self, sequence: Sequence, tokens: list[Chosen | SamplingError]) -> FinishReason | None:
        """Hand chosen tokens out; why the answer ends with them, if it does. A damaged choice ends it here."""
        generation = sequence.generation
        for place, chosen in enumerate(tokens, 1):
            if not isinstance(chosen, Chosen):
                self._fail(sequence, chosen)
                return "error"
            sequence.append(chosen.token)
            reason: FinishReason | None = None
            # The sampler has moved on by all of them: what it says is said of the last.
            if chosen.token in generation.request.stop_ids or place == len(tokens) and sequence.sampler.finished:
                reason = "stop"
            elif sequence.length >= sequence.limit:
                reason = "length"
            generation.token_ids.append(chosen.token)
            generation.logprobs.append(chosen.logprob)
            generation.pending.append(Token(chosen.token, chosen.logprob, chosen.top, reason))
            self._counts.tokens_sampled += 1
            if reason is not None:
                return reason
        return None

    def _end(self, sequence: Sequence, reason: FinishReason, damaged: bool = False) -> None:
        del self._sequences[sequence.generation.id]
        sequence.generation.sequence = None
        if self._held.pop(sequence.generation.id, None) is None:
            self.scheduler.remove(sequence, damaged)
        if self.drafter is not None:
            self.drafter.forget(sequence.generation.id)
        self._counts.tokens_cached += sequence.generation.cached_tokens
        sequence.generation.finish_reason = reason

    def _fail(self, sequence: Sequence, error: Exception) -> None:
        sequence.generation.error = error
        self._end(sequence, "error", damaged=True)

    # Parts of a step

    def _propose(self, sequence: Sequence, most: int) -> list[int]:
        assert self.drafter is not None
        watch = sequence.generation.request.watch
        if watch.expert_ids or watch.attention_rows:
            return []  # every token that is looked at is computed as itself, once
        if sequence.draft_rest:
            sequence.draft_rest -= 1
            return []
        try:
            drafts = self.drafter.draft(sequence.generation.id, sequence.ids, most)[:most]
        except Exception:  # a draft decides nothing: the answer goes on without it, and somebody is told
            _log.exception("the drafter failed on generation %d; it goes on without drafts", sequence.generation.id)
            sequence.draft_rest = sequence.limit
            return []
        # No answer holds a patch, which has no row to stand for; nor an id that only a drafter knows.
        known = (token != self.config.patch_id and 0 <= token < self.config.vocab_size for token in drafts)
        return drafts[: next((place for place, is_known in enumerate(known) if not is_known), len(drafts))]

    def _find_damage(self, work: list[Work], computed: Computed) -> None:
        """End requests with a NaN at any token, not only where a choice is made: pieces of prompts are offered to others before that.

        A NaN reaches backwards, too: masked products are zero times NaN.
        """
        # A row's sum is finite if all of it is: behind the last norm no number is so large that a sum could overflow. In numpy, whose calls
        # cost a fifth of torch's.
        is_sound_T = np.isfinite(computed.hidden_TD.float().cpu().numpy().sum(-1)).tolist()
        for (sequence, count), row in zip(work, computed.first_rows, strict=True):
            if not all(is_sound_T[row : row + count]):
                self._fail(sequence, SamplingError("the hidden states contain NaN: the weights or the input are damaged"))

    def _report_prompts(self, work: list[Work], computed: Computed) -> None:
        """Log-probabilities of prompt tokens, each from the hidden state before it."""
        for (sequence, count), row in zip(work, computed.first_rows, strict=True):
            top = sequence.generation.request.prompt_logprobs
            first = sequence.num_computed
            end = min(first + count, sequence.num_prompt - 1)
            if top is None or end <= first or sequence.generation.is_done:
                continue
            logits_TV = self.runner.logits(computed.hidden_TD[row : row + end - first])
            next_ids = torch.from_numpy(sequence.ids[first + 1 : end + 1].copy())
            known = len(sequence.generation.prompt_logprobs)
            try:
                reported = [PromptLogprob(*each) for each in token_logprobs(logits_TV, next_ids, top)]
            except SamplingError as error:
                self._fail(sequence, error)
                continue
            sequence.generation.prompt_logprobs += reported[max(0, known - first) :]  # after a preemption some are known already

    def _report_experts(self, work: list[Work], computed: Computed) -> None:
        for (sequence, count), row in zip(work, computed.first_rows, strict=True):
            if sequence.generation.request.watch.expert_ids:
                layers = [computed.experts[layer][row : row + count] for layer in sorted(computed.experts)]
                chosen = np.stack(layers, axis=1) if layers else np.zeros((count, 0), np.int16)
                before = sequence.generation.expert_ids
                kept = chosen[:0] if before is None else before[: sequence.num_computed]
                sequence.generation.expert_ids = np.concatenate([kept, chosen])

    def _sampler(self, request: Request) -> Sampler:
        constraint = None
        if request.grammar is not None:
            if self.grammars is None:
                raise GrammarError("this engine has no grammar compiler, since it was given no tokenizer; load the model through puna.load")
            constraint = self.grammars().compile(request.grammar)
        # A patch stands for a row of a picture, and an answer has no pictures.
        banned: Collection[int] = (self.config.patch_id,)
        return Sampler(request.sampling, np.asarray(request.prompt.token_ids), self.config.vocab_size, banned, constraint)

    # Seams

    @property
    def counters(self) -> Counters:
        c = self._counts
        tiles = self.runner.vision.num_computed if self.runner.vision is not None else 0
        return Counters(
            c.steps,
            c.tokens_computed,
            c.tokens_sampled,
            c.tokens_cached,
            c.drafted,
            c.accepted,
            self.scheduler.num_preempted,
            c.near_ties,
            tiles,
        )

    def load(self) -> Load:
        """Waits for the step under way."""
        with self._lock:
            pages = {}
            for kind, pool in self.memory.pools.items():
                kept = self.memory.prefixes.num_spare(kind)
                pages[kind] = PoolUse(pool.num_pages, pool.num_pages - pool.num_free - kept, kept, pool.num_free)
            return Load(len(self.scheduler.running), len(self.scheduler.waiting) + len(self._held), pages)

    def count_experts(self, enabled: bool = True) -> None:
        """Count from now on how many tokens each expert takes (`expert_load`), from zero."""
        with self._lock:
            for router in self.runner.routers.values():
                router.tokens_per_expert = torch.zeros(self.config.num_experts, dtype=torch.int64, device=self.device) if enabled else None

    def expert_load(self) -> dict[int, list[int]]:
        """Tokens that each expert took, by MoE layer, since `count_experts`."""
        with self._lock:
            loads = {layer: router.tokens_per_expert for layer, router in self.runner.routers.items()}
            return {layer: load.tolist() for layer, load in loads.items() if load is not None}

    def update_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Put new weights in place, by the model's own parameter names, between two steps; those not named stay.

        Nothing computed under the old ones is kept: running requests go on from their tokens, whose keys are computed anew.
        """
        with self._exclusive():
            own = dict(self.model.named_parameters())
            unknown = sorted(set(weights) - set(own))
            if unknown and (packed := packed_names(self.model)) & set(unknown):
                name = min(packed & set(unknown))
                raise ValueError(f"{name} is packed integers here, which no floats replace; puna.checkpoint.load_model undoes them")
            if unknown:
                raise ValueError(f"the model has no parameter {unknown[0]!r}; its names are those of model.named_parameters()")
            wrong = [name for name, tensor in weights.items() if tensor.shape != own[name].shape]
            if wrong:
                raise ValueError(f"{wrong[0]} has shape {tuple(weights[wrong[0]].shape)}; the model's is {tuple(own[wrong[0]].shape)}")
            self.memory.prefixes.clear()
            for sequence in list(self.scheduler.running):
                self.scheduler.preempt(sequence)
            with torch.no_grad():
                for name, tensor in weights.items():
                    own[name].copy_(tensor)
            self.runner.refresh()


def _next_seed(seed: int, step: int) -> int:
    """Seeds have 64 bits, and a negative one counts down from 2**64."""
    return (seed + step) % 2**64
