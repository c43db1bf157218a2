"""Meta's Llama API, under a prefix of its own: its chat has the path of OpenAI's and another form."""
