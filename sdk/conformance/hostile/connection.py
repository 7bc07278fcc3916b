"""One HTTP/2 connection with every frame in our hands: requests that stop anywhere, answers that are not read."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

WORKFLOW_SERVICE = "temporal.api.workflowservice.v1.WorkflowService"
# The largest piece that fits into a frame of any peer.
FRAME = 16_384


def message(content: bytes) -> bytes:
    """A gRPC message: not compressed, its length, its bytes."""
    return struct.pack(">BI", 0, len(content)) + content


@dataclass
class Answer:
    """What came back on one stream."""

    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: int | None = None

    @property
    def code(self) -> int | None:
        """The gRPC status, once there is one."""
        text = self.headers.get("grpc-status")
        return None if text is None else int(text)


class Connection:
    """A client that does what the test says and nothing by itself, but for acknowledging settings."""

    def __init__(self, address: tuple[str, int], stream_window: int = 65_535, acknowledge: bool = True):
        self.socket = socket.create_connection(address, timeout=10)
        self.acknowledge = acknowledge
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.http.local_settings.initial_window_size = stream_window
        self.answers: dict[int, Answer] = {}
        self.closed = False
        self.http.initiate_connection()
        self.flush()

    def flush(self) -> None:
        data = self.http.data_to_send()
        if data:
            try:
                self.socket.sendall(data)
            except OSError:
                self.closed = True

    def open(self, method: str, service: str = WORKFLOW_SERVICE, headers: tuple[tuple[str, str], ...] = ()) -> int:
        """Begins a request; its body comes by `send`."""
        stream = self.http.get_next_available_stream_id()
        self.answers[stream] = Answer()
        self.http.send_headers(stream, [
            (":method", "POST"), (":scheme", "http"), (":path", f"/{service}/{method}"), (":authority", "hostile"),
            ("content-type", "application/grpc"), ("te", "trailers"), *headers,
        ])
        self.flush()
        return stream

    def send(self, stream: int, data: bytes, end: bool = False, give_up_after_s: float = 5.0) -> bool:
        """Sends as flow control allows. False when the server took no more, or ended the stream."""
        rest = memoryview(data)
        while rest:
            if self.closed or self.answers[stream].ended or self.answers[stream].reset is not None:
                return False
            try:
                room = min(self.http.local_flow_control_window(stream), FRAME, len(rest))
                if room > 0:
                    self.http.send_data(stream, bytes(rest[:room]))
                    rest = rest[room:]
                    self.flush()
                    continue
            except h2.exceptions.ProtocolError:
                return False
            if not self.receive(give_up_after_s):
                return False
        if end and not self.answers[stream].ended:
            try:
                self.http.end_stream(stream)
            except h2.exceptions.ProtocolError:
                return False
            self.flush()
        return True

    def receive(self, within_s: float) -> bool:
        """Takes what has come, waiting for it so long at most. False when nothing has."""
        self.socket.settimeout(within_s)
        try:
            data = self.socket.recv(65_536)
        except (TimeoutError, OSError):
            return False
        if not data:
            self.closed = True
            return False
        try:
            events = self.http.receive_data(data)
        except h2.exceptions.ProtocolError:
            self.closed = True
            return False
        for event in events:
            self.note(event)
        self.flush()
        return True

    def note(self, event: h2.events.Event) -> None:
        stream = getattr(event, "stream_id", None)
        answer = self.answers.get(stream) if stream else None
        if isinstance(event, h2.events.ConnectionTerminated):
            self.closed = True
        if answer is None:
            return
        if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
            answer.headers.update(dict(event.headers))
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data
            if self.acknowledge:
                self.http.acknowledge_received_data(event.flow_controlled_length, stream)
        elif isinstance(event, h2.events.StreamEnded):
            answer.ended = True
        elif isinstance(event, h2.events.StreamReset):
            answer.reset = event.error_code

    def finish(self, stream: int, within_s: float = 30.0) -> Answer:
        """The answer, when it is whole or nothing has come for so long."""
        answer = self.answers[stream]
        while not answer.ended and answer.reset is None and not self.closed:
            if not self.receive(within_s):
                break
        return answer

    def call(self, method: str, content: bytes, service: str = WORKFLOW_SERVICE) -> Answer:
        """One whole request."""
        stream = self.open(method, service)
        self.send(stream, message(content), end=True)
        return self.finish(stream)

    def close(self) -> None:
        self.socket.close()
