"""Fixtures: every test gets a stage of its own, in each of the two ways a worker can run workflows."""

import os
import sys

import pytest

sys.dont_write_bytecode = True

from stage import CACHED, REPLAYING, Stage  # noqa: E402


def pytest_generate_tests(metafunc):
    if "stage" in metafunc.fixturenames:
        once = metafunc.definition.get_closest_marker("once")
        modes = [CACHED] if once else [CACHED, REPLAYING]
        metafunc.parametrize("stage", modes, indirect=True, ids=lambda mode: mode.name)


@pytest.fixture
async def stage(request):
    address = os.environ.get("OUTLAST_ADDRESS")
    if not address:
        pytest.exit("OUTLAST_ADDRESS is not set: start the suite with sdk/conformance/run", returncode=2)
    stage = await Stage.open(address, request.param, request.node.name)
    yield stage
    await stage.close(
        replay=request.node.get_closest_marker("no_replay") is None,
        timeouts=request.node.get_closest_marker("timeouts") is not None,
    )
