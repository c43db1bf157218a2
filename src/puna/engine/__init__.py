"""Token ids in, token ids out: caches, sampling, and the loop that decodes one sequence. Text and HTTP are other rooms' business."""

from puna.engine.cache import HybridCache
from puna.engine.generate import ContextError, check_prompt, generate
from puna.engine.sampling import Sampling, SamplingError

__all__ = ["ContextError", "HybridCache", "Sampling", "SamplingError", "check_prompt", "generate"]
