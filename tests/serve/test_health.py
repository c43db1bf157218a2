"""Probes: a server that lives, that has started, that is ready, and one that is going down."""

import pytest

import puna
from puna.testing.scripted import ScriptedPipeline
from puna.testing.serving import AppClient, assert_error

pytestmark = pytest.mark.anyio
PROBES = ("/health", "/health/live", "/health/start", "/health/ready")


@pytest.mark.parametrize("path", PROBES)
async def test_a_server_that_listens_is_well(path: str) -> None:
    response = await AppClient(ScriptedPipeline("Yes", name="scout-nano")).http.get(path)
    assert response.json() == {"status": "ok", "model": "scout-nano", "requests_in_flight": 0}


async def test_a_server_that_goes_down_lives_but_is_not_ready() -> None:
    client = AppClient(ScriptedPipeline("Yes"))
    await client.core.drain(0)
    for path in PROBES[:3]:
        assert (await client.http.get(path)).json()["status"] == "draining"
    assert_error(await client.http.get("/health/ready"), 503, "shutting_down")


async def test_the_version_is_the_packages() -> None:
    assert (await AppClient(ScriptedPipeline("Yes")).http.get("/version")).json() == {"version": puna.__version__}
