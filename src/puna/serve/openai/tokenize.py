"""Text, or a conversation, to token ids and back, as vLLM's server has it: for clients that count, cut or score by tokens."""

from puna.serve.core import Core
from puna.serve.errors import ApiError
from puna.serve.openai.chat import described_tools, read_messages
from puna.serve.openai.completions import check_ids
from puna.serve.openai.options import parsed
from puna.serve.openai.wire import Detokenized, DetokenizeRequest, Tokenized, TokenizeRequest


def tokenize(core: Core, body: bytes) -> Tokenized:
    request = parsed(TokenizeRequest, body)
    core.check_model(request.model)
    pipeline = core.pipeline
    if (request.prompt is None) == (request.messages is None):
        raise ApiError(400, "send either prompt or messages", code="invalid_value", param="prompt")
    if request.messages is not None:
        if request.add_special_tokens is not None:
            message = "add_special_tokens is only for a prompt: a conversation is nothing without them; leave it out"
            raise ApiError(400, message, code="invalid_value", param="add_special_tokens")
        tools = described_tools(request.tools or [], core)
        stream = pipeline.chat_format.encode(read_messages(request.messages, core), tools, request.add_generation_prompt is not False)
        ids = [int(token_id) for token_id in stream.token_ids]
    else:
        assert request.prompt is not None
        for name in ("tools", "add_generation_prompt"):
            if getattr(request, name) is not None:
                raise ApiError(400, f"{name} is only for messages; leave it out", code="invalid_value", param=name)
        begin = [] if request.add_special_tokens is False else [pipeline.config.bos_id]
        ids = [*begin, *pipeline.tokenizer.encode(request.prompt)]
    known = pipeline.tokenizer.vocab_size
    texts = [pipeline.tokenizer.decode([token_id] if token_id < known else [], keep_special=True) for token_id in ids]
    return Tokenized(
        count=len(ids),
        max_model_len=pipeline.config.max_positions,
        tokens=ids,
        token_strs=texts if request.return_token_strs else None,
    )


def detokenize(core: Core, body: bytes) -> Detokenized:
    request = parsed(DetokenizeRequest, body)
    core.check_model(request.model)
    check_ids(request.tokens, core, "tokens")
    tokenizer = core.pipeline.tokenizer
    known = (token_id for token_id in request.tokens if token_id < tokenizer.vocab_size)  # a model may have more rows than there are tokens
    return Detokenized(prompt=tokenizer.decode(known, keep_special=True))
