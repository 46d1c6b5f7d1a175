"""What a server counts, as text for Prometheus."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
IMAGES = (1, 2, 4, 8, 16, 32, 64)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


disable_created_metrics()  # a time beside each counter, which nobody reads


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter("resmlp_requests", "Requests by their end", ("endpoint", "status"), registry=registry)
        self.seconds = Histogram(
            "resmlp_request_seconds", "Time until the answer", ("endpoint",), registry=registry, buckets=SECONDS
        )
        self.images = Counter("resmlp_images", "Images and sentences", ("model", "operation"), registry=registry)
        self.batches = Histogram(
            "resmlp_batch_images", "Images of a batch", ("model", "operation"), registry=registry, buckets=IMAGES
        )
        self.queue = Gauge("resmlp_queue_images", "Images that wait for the network", registry=registry)
        self.parts = Histogram(
            "resmlp_part_seconds", "Time of a part of the work", ("part",), registry=registry, buckets=SECONDS
        )
        """decode and resize: of an image; wait: in the queue; model: of a batch"""

    def text(self) -> bytes:
        """In Prometheus' format."""
        return generate_latest(self.registry)
