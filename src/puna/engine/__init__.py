"""Token ids in, token ids out: many requests at once over one model. Text and HTTP are other rooms' business.

`Engine` takes `Request`s; `HybridCache` and `generate` are its naive twin, one sequence in contiguous memory.
"""

from puna.engine.aio import AsyncEngine
from puna.engine.cache import HybridCache
from puna.engine.counters import Counters, Load, PoolUse
from puna.engine.draft_model import DraftModel
from puna.engine.engine import Engine
from puna.engine.generate import generate
from puna.engine.grammar import Constraint, Grammar, GrammarCompiler, GrammarError
from puna.engine.memory import MemoryPlanError, Plan, Settings, plan_memory
from puna.engine.request import CapacityError, ContextError, Generation, PromptError, PromptLogprob, Request, Token, Watch, check_prompt
from puna.engine.sampling import Chosen, NoTokenError, Sampler, Sampling, SamplingError, TokenLogprobs, choose_many, token_logprobs
from puna.engine.snapshot import Snapshot, SnapshotError, load_cache, save_cache
from puna.engine.speculate import Drafter, PromptLookup

__all__ = [
    "AsyncEngine",
    "CapacityError",
    "Chosen",
    "Constraint",
    "ContextError",
    "Counters",
    "DraftModel",
    "Drafter",
    "Engine",
    "Generation",
    "Grammar",
    "GrammarCompiler",
    "GrammarError",
    "HybridCache",
    "Load",
    "MemoryPlanError",
    "NoTokenError",
    "Plan",
    "PoolUse",
    "PromptError",
    "PromptLogprob",
    "PromptLookup",
    "Request",
    "Sampler",
    "Sampling",
    "SamplingError",
    "Settings",
    "Snapshot",
    "SnapshotError",
    "Token",
    "TokenLogprobs",
    "Watch",
    "check_prompt",
    "choose_many",
    "generate",
    "load_cache",
    "plan_memory",
    "save_cache",
    "token_logprobs",
]
