"""Requests that schemathesis makes of the description at /openapi.json, valid and not: no failure of the server, and no answer that the
description does not know.

PUNA_SCHEMATHESIS_CASES: how many, of all operations together; `make schemathesis` runs 2,000.
"""

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from puna.pipeline import Pipeline
from puna.serve.limits import Limits
from puna.testing.models import tiny_model
from puna.testing.serving import live_server
from puna.testing.tokenizer import byte_tokenizer

CASES = int(os.environ.get("PUNA_SCHEMATHESIS_CASES", "200"))
CHECKS: Any = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def api() -> Iterator[Any]:
    pipeline = Pipeline("tiny", tiny_model(), byte_tokenizer())
    with live_server(pipeline, Limits(default_max_tokens=2, choices=4, answering=4)) as address:
        yield schemathesis.openapi.from_url(f"{address}/openapi.json")


def test_the_server_keeps_to_its_description(api: Any) -> None:
    operations = [result.ok() for result in api.get_all_operations()]
    assert len(operations) >= 15
    asking = [operation for operation in operations if "requestBody" in operation.definition.raw]
    statuses: Counter[int] = Counter()
    # Nearly all cases go to what reads a body, half of them valid by the description: a look-up has nothing to vary.
    for operation in operations:
        if operation in asking:
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                statuses += tried(operation, mode, max(1, CASES // (2 * len(asking))))
        else:
            statuses += tried(operation, GenerationMode.POSITIVE, 2)
    assert statuses.total() >= CASES * 0.9 and {200, 400} <= statuses.keys(), statuses


def tried(operation: Any, mode: GenerationMode, count: int) -> Counter[int]:
    """The statuses of `count` requests."""
    statuses: Counter[int] = Counter()

    @seed(4)
    @settings(max_examples=count, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def once(case: Any) -> None:
        response = case.call(timeout=60)
        statuses[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    once()
    return statuses
