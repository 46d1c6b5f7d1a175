"""uvicorn's reader of HTTP, with a limit for the bytes of a request's front, and for the time that it takes."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST = 2**18
"""bytes that may come before the end of the headers, and with the first part of the body"""
SECONDS = 10.0
"""for the headers of the first request of a connection; uvicorn closes those that wait for another request"""


class Protocol(HttpToolsProtocol):
    """Closes a connection whose headers do not end."""

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.front: int | None = 0
        """bytes of the headers so far; None after their end"""
        self.late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As of asyncio."""
        super().connection_made(transport)
        self.late = self.loop.call_later(SECONDS, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """As of asyncio."""
        self._in_time()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """As of httptools."""
        super().on_message_begin()
        self.front = 0

    def on_headers_complete(self) -> None:
        """As of httptools."""
        self.front = None
        self._in_time()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """As of asyncio."""
        super().data_received(data)
        if self.front is not None and not self.transport.is_closing():
            self.front += len(data)
            if self.front > MOST:
                self.send_400_response("The headers are too long.")

    def _in_time(self) -> None:
        if self.late is not None:
            self.late.cancel()
            self.late = None
