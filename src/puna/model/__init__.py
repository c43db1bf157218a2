"""Single-device mathematics of a Llama-4-shaped model: `Model(config)(batch, cache) -> hidden`, one implementation for all uses.

Knows nothing of devices, meshes, files or requests.
"""

from puna.model.batch import Batch, KVCache
from puna.model.model import Model

__all__ = ["Batch", "KVCache", "Model"]
