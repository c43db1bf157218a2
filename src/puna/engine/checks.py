"""What a request must be before the engine takes it in. Knows the model's shape and the engine's room, nothing of what runs."""

import numpy as np

from puna.config import ModelConfig
from puna.engine.request import CapacityError, PromptError, Request, check_prompt

MAX_PROMPT_LOGPROBS = 20


def check_request(request: Request, config: ModelConfig, most: int) -> int:
    """The length at which the answer must end, `most` being the longest sequence that the engine's memory holds.

    Raises `PromptError`, or one of its kinds, if the request can never be answered.
    """
    prompt = request.prompt
    check_prompt(config, prompt)
    ids = np.asarray(prompt.token_ids)
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise PromptError(f"the prompt's ids are {ids.dtype} of shape {ids.shape}; give one row of whole numbers")
    if ids.min() < 0 or ids.max() >= config.vocab_size:
        wrong = int(ids.min()) if ids.min() < 0 else int(ids.max())
        raise PromptError(f"the prompt holds token id {wrong}; {config.name} knows ids 0 to {config.vocab_size - 1}")
    outside = [i for i in request.stop_ids if not 0 <= i < config.vocab_size]
    if outside:
        raise PromptError(f"stop_ids holds {outside[0]}; {config.name} knows ids 0 to {config.vocab_size - 1}")
    if request.prompt_logprobs is not None and not 0 <= request.prompt_logprobs <= MAX_PROMPT_LOGPROBS:
        raise PromptError(f"prompt_logprobs={request.prompt_logprobs} must lie between 0 and {MAX_PROMPT_LOGPROBS}")
    _check_tiles(request, config, int((ids == config.patch_id).sum()))
    if len(prompt) >= most:
        raise CapacityError(
            f"the prompt has {len(prompt)} tokens, but the memory of this engine holds {most} of one request, answer included; "
            "shorten it, or give the engine more memory (kv_bytes), or int8 pages (kv_dtype='int8')"
        )
    return min(len(prompt) + request.sampling.max_tokens, config.max_positions, most)


def _check_tiles(request: Request, config: ModelConfig, patches: int) -> None:
    prompt, vision = request.prompt, config.vision
    per_tile = vision.tokens_per_tile if vision is not None else 0
    if patches != prompt.num_tiles * per_tile or prompt.num_tiles and not per_tile:
        way_out = f"every tile needs exactly {per_tile}" if per_tile else f"{config.name} has no vision tower"
        raise PromptError(f"the prompt has {patches} patch tokens for {prompt.num_tiles} tiles; {way_out}")
    if prompt.num_tiles and prompt.tiles is not None and vision is not None:
        size = vision.tile_size
        if prompt.tiles.shape[1:] != (3, size, size):
            raise PromptError(f"tiles have shape {prompt.tiles.shape}; {config.name} reads [M, 3, {size}, {size}]")
