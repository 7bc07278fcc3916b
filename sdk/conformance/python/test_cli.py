"""The official CLI shows of this server what it shows of the public one, but for differences that are meant."""

import asyncio
import os
import re

import pytest

import official_cli

NOT_SERVED = "a feature that is not served yet, and says so"
LINKED = "an answer says which run gave it"
CHECKED = "the refusal names field, value and what is allowed; it begins as the public server's where clients compare it"

# Where outputs may differ, as a pattern of `step: path`, and why. One that explains nothing any more fails the test.
EXPLAINED = {
    r".*: .*namespaceInfo\.capabilities\.(syncUpdate|asyncUpdate|workerHeartbeats|reportedProblemsSearchAttribute|standaloneActivities"
    r"|pollerAutoscaling|standaloneActivityStartDelay|standaloneActivityBatchOperations|standaloneActivityOperatorCommands)": NOT_SERVED,
    r".*: .*namespaceInfo\.(supportsSchedules|limits\.workflowTaskCompletionSizeLimitError)": NOT_SERVED,
    r".*: .*namespaceInfo\.capabilities\.workerPollCompleteOnShutdown": "served here, and off by default there",
    r"list: .*": NOT_SERVED,
    r".*: .*autoResetPoints.*": "resets are not served yet",
    r".*: .*searchAttributes(\..*)?": NOT_SERVED,
    r"query.*: out\.link\..*": LINKED,
    r".*: .*(taskId|historySizeBytes|stateTransitionCount)": "how a server counts what it has stored is its own affair",
    r"(show|describe) .*: .*workflowExecutionSignaledEventAttributes\.requestId": "a signal without a request id is given one, so that nodes may try again",
    r"task queue .*: out\.pollers\[\d\]\.ratePerSecond": "there is no limit unless a worker asks for one",
    r"namespace (create without a name|create in short|update to too little): error": CHECKED,
    r"start with (a bad cron|a long id): error": CHECKED,
    r".* of a bad run: error": CHECKED,
}


# Two servers, and a hundred and fifty processes of the CLI.
@pytest.mark.timeout(600)
@pytest.mark.once
async def test_the_official_cli_shows_what_it_shows_of_the_public_server():
    async with official_cli.public_server() as public:
        there, here = await asyncio.gather(
            official_cli.run_all(public), official_cli.run_all(os.environ["OUTLAST_ADDRESS"])
        )
    assert list(there) == list(here)
    used = set()
    unexplained = []
    for step in there:
        one, other = official_cli.flattened(there[step]), official_cli.flattened(here[step])
        for path in dict.fromkeys([*one, *other]):
            if one.get(path, "<absent>") == other.get(path, "<absent>"):
                continue
            reasons = [pattern for pattern in EXPLAINED if re.fullmatch(pattern, f"{step}: {path}")]
            used.update(reasons)
            if not reasons:
                unexplained.append(f"{step}: {path}: {one.get(path, '<absent>')!r}, here {other.get(path, '<absent>')!r}")
    assert not unexplained, "\n".join(unexplained)
    assert used == set(EXPLAINED), f"explained, and not so: {set(EXPLAINED) - used}"
