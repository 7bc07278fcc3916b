"""What a caller attaches to a workflow is carried through, can be changed by its code, and is shown by Describe."""

import datetime

import pytest
from temporalio import activity, workflow
from temporalio.api.common.v1 import Header, Link, Memo, Payload, Priority as ApiPriority, SearchAttributes
from temporalio.api.enums.v1 import TaskQueueKind
from temporalio.api.sdk.v1 import EventGroupMarker, UserMetadata
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.common import Priority, SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode

import laws
from raw import RawWorker, schedule_activity, start_timer
from stage import Stage, eventually, payload

KEYWORD = SearchAttributeKey.for_keyword("ConformanceKeyword")
NUMBER = SearchAttributeKey.for_int("ConformanceInt")
FLAG = SearchAttributeKey.for_bool("ConformanceBool")
MOMENT = SearchAttributeKey.for_datetime("ConformanceDatetime")
LIST = SearchAttributeKey.for_keyword_list("ConformanceKeywordList")
WHEN = datetime.datetime(2026, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc)


@workflow.defn
class Upserts:
    def __init__(self) -> None:
        self.go = False

    @workflow.signal
    def finish(self) -> None:
        self.go = True

    @workflow.run
    async def run(self) -> dict:
        before = dict(workflow.memo())
        workflow.upsert_memo({"added": 2, "removed": None})
        workflow.upsert_search_attributes(
            [KEYWORD.value_set("changed"), NUMBER.value_unset(), FLAG.value_set(True), LIST.value_set(["a", "b"])]
        )
        await workflow.wait_condition(lambda: self.go)
        attributes = workflow.info().typed_search_attributes
        return {
            "before": before,
            "after": {name: value for name, value in workflow.memo().items()},
            "keyword": attributes.get(KEYWORD),
            "number": attributes.get(NUMBER),
            "priority": workflow.info().priority.priority_key,
            "headers": sorted(workflow.info().headers),
        }


async def test_memo_and_search_attributes_are_carried_and_upserted(stage: Stage):
    initial = TypedSearchAttributes(
        [SearchAttributePair(KEYWORD, "first"), SearchAttributePair(NUMBER, 7), SearchAttributePair(MOMENT, WHEN)]
    )
    async with stage.worker([Upserts]):
        handle = await stage.start(
            Upserts.run,
            memo={"kept": 1, "removed": "soon"},
            search_attributes=initial,
            priority=Priority(priority_key=4),
            static_summary="a summary",
            static_details="some details",
        )
        described = await handle.describe()
        assert described.typed_search_attributes[MOMENT] == WHEN

        async def upserted():
            names = await stage.names(handle)
            return {"UpsertWorkflowSearchAttributes", "WorkflowPropertiesModified"} <= set(names)

        await eventually(upserted, "both upserts are in the history")
        described = await handle.describe()
        assert await described.memo() == {"kept": 1, "added": 2}
        assert described.typed_search_attributes[KEYWORD] == "changed"
        assert described.typed_search_attributes[FLAG] is True
        assert list(described.typed_search_attributes[LIST]) == ["a", "b"]
        assert described.typed_search_attributes.get(NUMBER) is None
        assert await described.static_summary() == "a summary"
        assert await described.static_details() == "some details"
        await handle.signal(Upserts.finish)
        result = await handle.result()
    assert result["before"] == {"kept": 1, "removed": "soon"}
    assert result["after"] == {"kept": 1, "added": 2}
    assert result["keyword"] == "changed" and result["number"] is None and result["priority"] == 4
    first = (await stage.history(handle))[0]
    assert first.user_metadata.summary.data == b'"a summary"'
    assert laws.attributes(first).memo.fields["kept"].data == b"1"


@pytest.mark.once
async def test_header_links_and_user_metadata_of_a_raw_start_are_kept_byte_for_byte(stage: Stage):
    link = Link(batch_job=Link.BatchJob(job_id="some job"))
    await stage.start_raw(
        header=Header(fields={"trace": payload("t-1")}),
        links=[link],
        user_metadata=UserMetadata(summary=payload("s"), details=payload("d")),
        memo=Memo(fields={"m": Payload(metadata={"encoding": b"binary/odd"}, data=b"\x00\xff\x01")}),
        # Beyond the last level: served with it, and kept as it is.
        priority=ApiPriority(priority_key=6, fairness_key="tenant", fairness_weight=2.5),
    )
    [first, *_] = await stage.history(stage.id())
    started = laws.attributes(first)
    assert started.header.fields["trace"].data == b'"t-1"'
    assert started.memo.fields["m"].data == b"\x00\xff\x01"
    assert started.memo.fields["m"].metadata["encoding"] == b"binary/odd"
    assert started.priority.priority_key == 6 and started.priority.fairness_key == "tenant"
    assert list(first.links) == [link]
    assert first.user_metadata.details.data == b'"d"'


@pytest.mark.once
async def test_a_predefined_search_attribute_of_the_wrong_type_is_refused(stage: Stage):
    wrong = Payload(metadata={"encoding": b"json/plain", "type": b"KeywordList"}, data=b"7")
    with pytest.raises(RPCError) as caught:
        await stage.start_raw(search_attributes=SearchAttributes(indexed_fields={"TemporalChangeVersion": wrong}))
    assert caught.value.status == RPCStatusCode.INVALID_ARGUMENT


@pytest.mark.once
async def test_system_search_attributes_cannot_be_set(stage: Stage):
    value = Payload(metadata={"encoding": b"json/plain", "type": b"Keyword"}, data=b'"x"')
    with pytest.raises(RPCError) as caught:
        await stage.start_raw(search_attributes=SearchAttributes(indexed_fields={"WorkflowType": value}))
    assert caught.value.status == RPCStatusCode.INVALID_ARGUMENT


@pytest.mark.once
async def test_a_start_on_a_sticky_queue_waits_on_the_normal_one_of_that_name(stage: Stage):
    queue = TaskQueue(name=stage.task_queue, kind=TaskQueueKind.TASK_QUEUE_KIND_STICKY, normal_name="other")
    await stage.start_raw(task_queue=queue)
    assert (await RawWorker(stage).poll_workflow()).task_token
    started, scheduled, *_ = await stage.history(stage.id())
    assert laws.attributes(started).task_queue == queue
    assert laws.attributes(scheduled).task_queue.kind == TaskQueueKind.TASK_QUEUE_KIND_NORMAL


@pytest.mark.once
async def test_group_markers_of_commands_are_on_their_events(stage: Stage):
    await stage.start_raw()
    worker = RawWorker(stage)
    marker = EventGroupMarker(label=EventGroupMarker.Label(id="group-1"))
    commands = [start_timer("t", 60), schedule_activity(stage, "a")]
    for command in commands:
        command.event_group_markers.append(marker)
    await worker.complete(await worker.poll_workflow(), *commands)
    marked = [laws.name(event) for event in await stage.history(stage.id()) if list(event.event_group_markers) == [marker]]
    assert marked == ["TimerStarted", "ActivityTaskScheduled"]


@workflow.defn
class Summarised:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(
            nothing, start_to_close_timeout=datetime.timedelta(seconds=10), summary="an activity",
            priority=Priority(priority_key=1),
        )
        await workflow.sleep(0.01, summary="a timer")


@activity.defn
async def nothing() -> None:
    """Does what it says."""


async def test_summaries_and_priorities_of_commands_are_on_their_events(stage: Stage):
    async with stage.worker([Summarised], [nothing]):
        handle = await stage.start(Summarised.run)
        await handle.result()
    events = {laws.name(event): event for event in await stage.history(handle)}
    assert events["ActivityTaskScheduled"].user_metadata.summary.data == b'"an activity"'
    assert events["TimerStarted"].user_metadata.summary.data == b'"a timer"'
    assert laws.attributes(events["ActivityTaskScheduled"]).priority.priority_key == 1
