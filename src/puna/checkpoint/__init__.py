"""Weights on disk: Hugging Face directories in and out, as floats or as integers, checked tensor by tensor, safetensors only.

Promises: what is loaded is exactly what the file says or `CheckpointError` names what is wrong; nothing pickled is ever opened.
"""

from puna.checkpoint.compressed import Mix
from puna.checkpoint.config_hf import config_from_hf, config_to_hf
from puna.checkpoint.errors import CheckpointError
from puna.checkpoint.hf import STORAGES, Written, convert_model, load_model, save_model
from puna.checkpoint.quantized import INT8, Scheme
from puna.checkpoint.stored import Storage, StoredModel, open_model, read_config

__all__ = [
    "INT8",
    "STORAGES",
    "CheckpointError",
    "Mix",
    "Scheme",
    "Storage",
    "StoredModel",
    "Written",
    "config_from_hf",
    "config_to_hf",
    "convert_model",
    "load_model",
    "open_model",
    "read_config",
    "save_model",
]
