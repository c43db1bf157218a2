"""OpenAI's API, as far as this server goes: wire types, and what translates them to and from `puna.pipeline.Ask`."""
