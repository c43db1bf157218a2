"""OpenAI's Responses API, its conversations kept in `puna.serve.store`."""
