"""Clients that load a server over loopback: many connections of one thread, which cost little beside the server."""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

PATIENCE = 60.0  # seconds


@dataclass
class Seen:
    """What the clients saw."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    """of each good request, from the first byte sent to the last one read"""
    wrong: list[str] = field(default_factory=list)
    """answers that were not what was expected"""
    elapsed: float = 0.0

    def rate(self) -> float:
        """Good requests a second."""
        return len(self.seconds) / self.elapsed


@dataclass(frozen=True)
class Request:
    """What is sent, and the class of the status that must come back: 2 or 4."""

    data: bytes
    expected: int = 2


def request(path: str, body: bytes, kind: str, length: int | None = None) -> bytes:
    """The bytes of a POST; `length` announces another length than that of the body."""
    size = f"Content-Length: {length or len(body)}"
    lines = (f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}", size, "", "")
    return "\r\n".join(lines).encode() + body


def load(port: int, requests: Sequence[Request], connections: int, seconds: float) -> Seen:
    """Send the requests in turn over so many connections at once, each waiting for its answers."""
    return asyncio.run(_load(port, requests, connections, seconds))


async def _load(port: int, requests: Sequence[Request], connections: int, seconds: float) -> Seen:
    seen, started = Seen(), time.monotonic()
    end = started + seconds
    await asyncio.gather(*(_client(port, requests, number, end, seen) for number in range(connections)))
    seen.elapsed = time.monotonic() - started
    return seen


async def _client(port: int, requests: Sequence[Request], turn: int, end: float, seen: Seen) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.monotonic() < end:
        wanted = requests[turn % len(requests)]
        turn += 1
        started = time.monotonic()
        writer.write(wanted.data)
        status, body, keep = await asyncio.wait_for(_answer(reader), PATIENCE)
        seen.statuses[status] += 1
        if status // 100 != wanted.expected or (wanted.expected == 4 and body.count(b"\n")):
            seen.wrong.append(f"{status} {body[:200]!r}")
        elif wanted.expected == 2:
            seen.seconds.append(time.monotonic() - started)
        if not keep:
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    """The status, the body, and whether the connection stays."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = int(head.partition("content-length: ")[2].partition("\r\n")[0] or 0)
    return int(head.split()[1]), await reader.readexactly(length), "connection: close" not in head


def abandon(port: int, data: bytes, count: int) -> None:
    """Send so many requests, and leave each before its answer."""
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
            connection.sendall(data)
