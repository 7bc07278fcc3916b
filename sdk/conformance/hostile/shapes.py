"""Messages that are small on the wire and large once decoded: every repeated field of every request that is served."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from temporalio.api.workflowservice.v1 import request_response_pb2

# As many bytes as a request may have.
REQUEST_BYTES = 4 << 20
# How many messages deep a field is looked for. Deeper ones are elements of types that were met further up.
DEPTH = 5

SERVED = (
    "GetSystemInfo GetClusterInfo RegisterNamespace DescribeNamespace ListNamespaces UpdateNamespace StartWorkflowExecution SignalWorkflowExecution "
    "SignalWithStartWorkflowExecution RequestCancelWorkflowExecution TerminateWorkflowExecution DescribeWorkflowExecution "
    "GetWorkflowExecutionHistory GetWorkflowExecutionHistoryReverse QueryWorkflow PollWorkflowTaskQueue PollActivityTaskQueue PollNexusTaskQueue "
    "RespondWorkflowTaskCompleted RespondWorkflowTaskFailed RespondQueryTaskCompleted RecordActivityTaskHeartbeat RecordActivityTaskHeartbeatById "
    "RespondActivityTaskCompleted RespondActivityTaskCompletedById RespondActivityTaskFailed RespondActivityTaskFailedById "
    "RespondActivityTaskCanceled RespondActivityTaskCanceledById ResetStickyTaskQueue ShutdownWorker DescribeTaskQueue"
).split()


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def prefixed(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def repeated(message: Descriptor, depth: int = DEPTH, above: tuple[str, ...] = ()) -> Iterator[tuple[FieldDescriptor, ...]]:
    """The paths to the repeated fields below a message, none through one type twice."""
    for field in message.fields:
        if field.is_repeated:
            yield (field,)
        if field.message_type is not None and depth > 1 and field.message_type.full_name not in above:
            for path in repeated(field.message_type, depth - 1, (*above, message.full_name)):
                yield (field, *path)


def smallest(field: FieldDescriptor, number: int) -> bytes:
    """The smallest element of a repeated field; keys of maps differ, or all would be one entry."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key = field.message_type.fields_by_name["key"]
        content = str(number).encode()
        return prefixed(field.number, prefixed(1, content) if key.type == key.TYPE_STRING else varint(8) + varint(number))
    if field.type in (field.TYPE_MESSAGE, field.TYPE_STRING, field.TYPE_BYTES):
        return prefixed(field.number, b"")
    return varint(field.number << 3) + b"\0"


def full(path: tuple[FieldDescriptor, ...], size: int) -> bytes:
    """A request of about `size` bytes that is all elements of the field at the end of `path`."""
    last = path[-1]
    is_map = last.message_type is not None and last.message_type.GetOptions().map_entry
    one = smallest(last, 0)
    if is_map:
        content = b"".join(smallest(last, number) for number in range(size // (len(one) + 7)))
    else:
        content = one * ((size - 8 * len(path)) // len(one))
    for field in reversed(path[:-1]):
        content = prefixed(field.number, content)
    return content


def every_shape() -> Iterator[tuple[str, str, tuple[FieldDescriptor, ...]]]:
    """Method, the field's name, and the path to it."""
    requests = request_response_pb2.DESCRIPTOR.message_types_by_name
    for name in SERVED:
        for path in repeated(requests[f"{name}Request"]):
            yield name, ".".join(field.name for field in path), path
