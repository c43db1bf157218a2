"""Weights on disk: Hugging Face directories in and out, checked tensor by tensor, safetensors only.

Promises: what is loaded is exactly what the file says or `CheckpointError` names what is wrong; nothing pickled is ever opened.
"""

from puna.checkpoint.config_hf import config_from_hf, config_to_hf
from puna.checkpoint.errors import CheckpointError
from puna.checkpoint.hf import load_model, read_config, save_model

__all__ = ["CheckpointError", "config_from_hf", "config_to_hf", "load_model", "read_config", "save_model"]
