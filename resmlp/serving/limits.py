"""What a server takes at most, and the refusals of requests."""

from dataclasses import dataclass

from resmlp.utils.checks import ANY, POSITIVE, check_range
from resmlp.utils.errors import brief

DAY = 86_400.0


@dataclass(frozen=True)
class Limits:
    """What a server takes at most; the status of what is refused is named."""

    bytes: int = 32 * 2**20
    """of the body of a request; 413, before it is read"""
    pixels: int = 50_000_000
    """of an image; 413, before it is decoded"""
    images: int = 64
    """images, or sentences, of a request; 413"""
    queue: int = 256
    """images and sentences of all requests that are not answered yet; 429"""
    memory: int = 2**30
    """bytes of the bodies of all these requests, and of the images that segmenters hold whole; 429"""
    seconds: float = 30.0
    """until a request is answered; 504"""

    def __post_init__(self) -> None:
        whole = dict.fromkeys(("bytes", "pixels", "images", "queue", "memory"), (1, ANY))
        check_range("--limits.", self, **whole, seconds=(POSITIVE, DAY))


class Refusal(Exception):  # noqa: N818  (not a failure of the server)
    """A request is not answered: the status of HTTP, and one line that says why."""

    def __init__(self, status: int, line: str, retry_after: int | None = None):
        super().__init__(line)
        self.status, self.line, self.retry_after = status, brief(line), retry_after


class Room:
    """Counts what all requests hold, against the limits. Of its methods the model's thread calls `observe` alone."""

    def __init__(self, limits: Limits):
        self.limits = limits
        self.images = self.bytes = 0
        self.seconds_per_image = 0.0
        """of the network, an average over the last batches"""

    def observe(self, images: int, seconds: float) -> None:
        """A batch took so long."""
        self.seconds_per_image += 0.2 * (seconds / images - self.seconds_per_image)

    def retry_after(self) -> int:
        """Seconds until what is held now will be answered, 1 to 60."""
        return min(60, max(1, round(self.images * self.seconds_per_image)))

    def hold(self) -> "Held":
        """The share of a new request, empty."""
        return Held(self)


class Held:
    """What one request holds; given back when the block ends."""

    def __init__(self, room: Room):
        self.room = room
        self.images = self.bytes = 0

    def __enter__(self) -> "Held":
        return self

    def __exit__(self, *error: object) -> None:
        self.room.images -= self.images
        self.room.bytes -= self.bytes

    def add(self, images: int = 0, size: int = 0) -> None:
        """Hold more. Raises `Refusal` 429 where all requests together would hold too much."""
        room, limits = self.room, self.room.limits
        if room.images + images > limits.queue:
            raise Refusal(429, f"{room.images} images are waiting, as many as the server takes", room.retry_after())
        if room.bytes + size > limits.memory:
            raise Refusal(429, "the requests that are waiting fill the server's memory", room.retry_after())
        self.images += images
        self.bytes += size
        room.images += images
        room.bytes += size
