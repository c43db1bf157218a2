"""JSON schemas that clients send, of an answer's form or a tool's arguments: how large and how deep they may be.

Also where nothing will be held to them: what is never compiled is still read, written into a prompt and sent back.
"""

import json
from collections.abc import Mapping
from typing import Any

from puna.serve.errors import ApiError
from puna.serve.limits import Limits


def check_schema(schema: Any, limits: Limits, param: str) -> None:
    """Refuses a schema, as it was read from a body, that is larger or deeper than `limits` let it be. `param` is its place in the body."""
    size = len(json.dumps(schema, ensure_ascii=False).encode())
    if size > limits.schema_bytes:
        most = f"more than the {limits.schema_bytes:,} of one schema that this server reads (limits.schema_bytes); make it smaller"
        raise ApiError(400, f"{param} is a schema of {size:,} bytes, {most}", code="schema_too_large", param=param)
    if _is_deeper(schema, limits.schema_depth):
        most = f"the {limits.schema_depth:,} levels that this server reads (limits.schema_depth)"
        message = f"{param} is a schema nested deeper than {most}; put its parts under $defs and refer to them"
        raise ApiError(400, message, code="schema_too_deep", param=param)


def _is_deeper(schema: Any, most: int) -> bool:
    """Whether there are more levels of objects and lists, the schema itself being the first. Level by level: depth is what may do harm."""
    level = [schema]
    for _ in range(most + 1):
        level = [node for node in level if isinstance(node, Mapping | list)]
        if not level:
            return False
        level = [inner for node in level for inner in (node.values() if isinstance(node, Mapping) else node)]
    return True
