"""A worker without an SDK: polls and answers by hand, so that a test decides every field and every silence."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from temporalio.api.command.v1 import (
    Command,
    CompleteWorkflowExecutionCommandAttributes,
    ContinueAsNewWorkflowExecutionCommandAttributes,
    RequestCancelExternalWorkflowExecutionCommandAttributes,
    ScheduleActivityTaskCommandAttributes,
    SignalExternalWorkflowExecutionCommandAttributes,
    StartChildWorkflowExecutionCommandAttributes,
    StartTimerCommandAttributes,
)
from temporalio.api.common.v1 import ActivityType, WorkflowExecution, WorkflowType
from temporalio.api.enums.v1 import CommandType, TaskQueueKind, TaskQueueType
from temporalio.api.taskqueue.v1 import StickyExecutionAttributes, TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    PollActivityTaskQueueRequest,
    PollActivityTaskQueueResponse,
    PollWorkflowTaskQueueRequest,
    PollWorkflowTaskQueueResponse,
    RespondActivityTaskCompletedRequest,
    RespondWorkflowTaskCompletedRequest,
    RespondWorkflowTaskCompletedResponse,
    RespondWorkflowTaskFailedRequest,
)

from stage import Stage, eventually, payloads


def duration(value: float) -> Duration:
    result = Duration()
    result.FromTimedelta(timedelta(seconds=value))
    return result


def complete_workflow(text: str = "done") -> Command:
    return Command(
        command_type=CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION,
        complete_workflow_execution_command_attributes=CompleteWorkflowExecutionCommandAttributes(
            result=payloads(text)
        ),
    )


def continue_as_new(**fields: Any) -> Command:
    return Command(
        command_type=CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION,
        continue_as_new_workflow_execution_command_attributes=ContinueAsNewWorkflowExecutionCommandAttributes(**fields),
    )


def start_timer(timer_id: str, after_s: float) -> Command:
    return Command(
        command_type=CommandType.COMMAND_TYPE_START_TIMER,
        start_timer_command_attributes=StartTimerCommandAttributes(
            timer_id=timer_id, start_to_fire_timeout=duration(after_s)
        ),
    )


def schedule_activity(stage: Stage, activity_id: str, **fields: Any) -> Command:
    defaults: dict[str, Any] = dict(
        activity_id=activity_id,
        activity_type=ActivityType(name="raw"),
        task_queue=TaskQueue(name=stage.task_queue),
        start_to_close_timeout=duration(20),
    )
    return Command(
        command_type=CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK,
        schedule_activity_task_command_attributes=ScheduleActivityTaskCommandAttributes(**{**defaults, **fields}),
    )


def start_child(stage: Stage, workflow_id: str, **fields: Any) -> Command:
    defaults: dict[str, Any] = dict(
        workflow_id=workflow_id,
        workflow_type=WorkflowType(name="raw"),
        # There are no pollers: children stay as they began.
        task_queue=TaskQueue(name=f"{stage.task_queue}-children"),
    )
    return Command(
        command_type=CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION,
        start_child_workflow_execution_command_attributes=StartChildWorkflowExecutionCommandAttributes(
            **{**defaults, **fields}
        ),
    )


def signal_external(workflow_id: str, name: str = "hello", run_id: str = "", **fields: Any) -> Command:
    return Command(
        command_type=CommandType.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION,
        signal_external_workflow_execution_command_attributes=SignalExternalWorkflowExecutionCommandAttributes(
            execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id), signal_name=name, **fields
        ),
    )


def cancel_external(workflow_id: str, run_id: str = "", **fields: Any) -> Command:
    return Command(
        command_type=CommandType.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION,
        request_cancel_external_workflow_execution_command_attributes=RequestCancelExternalWorkflowExecutionCommandAttributes(
            workflow_id=workflow_id, run_id=run_id, **fields
        ),
    )


class RawWorker:
    """One worker identity with an optional sticky queue."""

    def __init__(self, stage: Stage):
        self.stage = stage
        self.identity = f"raw-{uuid.uuid4().hex[:6]}"
        self.instance_key = uuid.uuid4().hex
        self.sticky_queue = f"{stage.task_queue}-sticky-{uuid.uuid4().hex[:6]}"

    def sticky(self, schedule_to_start_s: float = 5) -> StickyExecutionAttributes:
        return StickyExecutionAttributes(
            worker_task_queue=TaskQueue(
                name=self.sticky_queue,
                kind=TaskQueueKind.TASK_QUEUE_KIND_STICKY,
                normal_name=self.stage.task_queue,
            ),
            schedule_to_start_timeout=duration(schedule_to_start_s),
        )

    async def poll_workflow(
        self, sticky: bool = False, wait_s: float = 20, queue: str | None = None
    ) -> PollWorkflowTaskQueueResponse:
        """The next workflow task, or an empty response when there was none a second before `wait_s` is over."""
        if sticky:
            polled = self.sticky().worker_task_queue
        else:
            name = queue or self.stage.task_queue
            polled = TaskQueue(name=name, kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL)
        return await self.stage.service.poll_workflow_task_queue(
            PollWorkflowTaskQueueRequest(
                namespace=self.stage.namespace,
                task_queue=polled,
                identity=self.identity,
                worker_instance_key=self.instance_key,
            ),
            timeout=timedelta(seconds=wait_s),
        )

    async def polls_sticky(self) -> None:
        """Waits until the server knows of this worker's poll of its sticky queue."""

        async def known() -> bool:
            response = await self.stage.service.describe_task_queue(
                DescribeTaskQueueRequest(
                    namespace=self.stage.namespace,
                    task_queue=self.sticky().worker_task_queue,
                    task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
                )
            )
            return any(poller.identity == self.identity for poller in response.pollers)

        await eventually(known, "the sticky queue is polled")

    async def poll_activity(self, wait_s: float = 20, queue: str | None = None) -> PollActivityTaskQueueResponse:
        return await self.stage.service.poll_activity_task_queue(
            PollActivityTaskQueueRequest(
                namespace=self.stage.namespace,
                task_queue=TaskQueue(name=queue or self.stage.task_queue),
                identity=self.identity,
                worker_instance_key=self.instance_key,
            ),
            timeout=timedelta(seconds=wait_s),
        )

    async def complete(
        self, task: PollWorkflowTaskQueueResponse, *commands: Command, **fields: Any
    ) -> RespondWorkflowTaskCompletedResponse:
        return await self.stage.service.respond_workflow_task_completed(
            RespondWorkflowTaskCompletedRequest(
                namespace=self.stage.namespace,
                task_token=task.task_token,
                commands=list(commands),
                identity=self.identity,
                **fields,
            )
        )

    async def fail(self, task: PollWorkflowTaskQueueResponse, **fields: Any) -> None:
        await self.stage.service.respond_workflow_task_failed(
            RespondWorkflowTaskFailedRequest(
                namespace=self.stage.namespace, task_token=task.task_token, identity=self.identity, **fields
            )
        )

    async def complete_activity(self, task: PollActivityTaskQueueResponse, text: str = "done") -> None:
        await self.stage.service.respond_activity_task_completed(
            RespondActivityTaskCompletedRequest(
                namespace=self.stage.namespace,
                task_token=task.task_token,
                result=payloads(text),
                identity=self.identity,
            )
        )
