"""Just enough of the CQL native protocol (v4) to ask a node whether it is there. Not a driver."""

from __future__ import annotations

import socket
import ssl
import struct

ERROR, STARTUP, QUERY, RESULT, READY = 0x00, 0x01, 0x07, 0x08, 0x02
AUTHENTICATE, AUTH_RESPONSE, AUTH_SUCCESS = 0x03, 0x0F, 0x10
CONSISTENCY = {"one": 1, "quorum": 4, "all": 5, "local_quorum": 6}


class Refused(Exception):
    """The node answered with an error."""


class Connection:
    """One connection, one request at a time."""

    def __init__(
        self,
        address: str,
        port: int,
        login: tuple[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        timeout_s: float = 5.0,
    ):
        self.socket = socket.create_connection((address, port), timeout=timeout_s)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket)
        opcode, _ = self.request(STARTUP, struct.pack(">H", 1) + string("CQL_VERSION") + string("3.0.0"))
        if opcode == AUTHENTICATE and login is not None:
            token = "\0{}\0{}".format(*login).encode()
            opcode, _ = self.request(AUTH_RESPONSE, struct.pack(">I", len(token)) + token)
        if opcode not in (READY, AUTH_SUCCESS):
            raise Refused(f"a node answered STARTUP with opcode {opcode}")

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def query(self, text: str, consistency: str = "one") -> list[list[bytes | None]]:
        """The rows, each a list of undecoded cells."""
        encoded = text.encode()
        body = struct.pack(">I", len(encoded)) + encoded + struct.pack(">HB", CONSISTENCY[consistency], 0)
        opcode, answer = self.request(QUERY, body)
        if opcode != RESULT:
            raise Refused(f"a node answered {text!r} with opcode {opcode}")
        return rows(answer)

    def request(self, opcode: int, body: bytes) -> tuple[int, bytes]:
        self.socket.sendall(struct.pack(">BBhBI", 4, 0, 0, opcode, len(body)) + body)
        _, _, _, answered, length = struct.unpack(">BBhBI", self.read(9))
        answer = self.read(length)
        if answered == ERROR:
            code, size = struct.unpack_from(">IH", answer)
            raise Refused(f"error {code:#06x}: {answer[6:6 + size].decode(errors='replace')}")
        return answered, answer

    def read(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            more = self.socket.recv(length - len(data))
            if not more:
                raise ConnectionError("the node closed the connection")
            data += more
        return data


def string(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">H", len(encoded)) + encoded


def rows(body: bytes) -> list[list[bytes | None]]:
    """The cells of a Rows result. Columns of a collection type are not understood."""
    kind, = struct.unpack_from(">I", body)
    if kind != 2:
        return []
    flags, columns = struct.unpack_from(">II", body, 4)
    at = 12

    def skip_string(at: int) -> int:
        return at + 2 + struct.unpack_from(">H", body, at)[0]

    if flags & 2:
        at += 4 + max(struct.unpack_from(">i", body, at)[0], 0)
    if flags & 1:
        at = skip_string(skip_string(at))
    for _ in range(columns):
        if not flags & 1:
            at = skip_string(skip_string(at))
        at = skip_string(at)
        option, = struct.unpack_from(">H", body, at)
        at += 2
        if option == 0 or option >= 0x20:
            raise Refused(f"a column of type {option:#06x} is not understood here: select simple columns")
    count, = struct.unpack_from(">I", body, at)
    at += 4
    found: list[list[bytes | None]] = []
    for _ in range(count):
        row: list[bytes | None] = []
        for _ in range(columns):
            length, = struct.unpack_from(">i", body, at)
            at += 4
            row.append(None if length < 0 else body[at:at + length])
            at += max(length, 0)
        found.append(row)
    return found
