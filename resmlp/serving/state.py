"""What the handlers of one server share."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from resmlp.config.precision import Execution
from resmlp.hub.resolve import Source
from resmlp.serving.batching import Batcher
from resmlp.serving.limits import Limits, Room
from resmlp.serving.metrics import Metrics
from resmlp.serving.networks import Networks, load_network


@dataclass(frozen=True)
class Settings:
    """How a server is reached, and what it takes."""

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    cors: str | None = None
    """the origin whose pages may call the API"""
    limits: Limits = Limits()


@dataclass
class State:
    """The networks, the queue before them, the threads that decode, and what is counted."""

    settings: Settings
    networks: Networks = field(default_factory=Networks)
    ready: bool = False
    stopping: bool = False

    def __post_init__(self) -> None:
        self.metrics = Metrics()
        self.room = Room(self.settings.limits)
        self.batcher = Batcher(self.metrics, self.room.observe)
        self.threads = ThreadPoolExecutor(os.cpu_count() or 1, "decode")

    def load(self, sources: Mapping[str, Source], execution: Execution) -> None:
        """Load and warm all networks; from then on the server is ready. Raises `UserError`."""
        for name, source in sources.items():
            network = load_network(name, source, execution, self.metrics)
            network.warm_up()
            self.networks.by_name[name] = network
        self.ready = True

    def close(self) -> None:
        """Finish what waits, and end the threads."""
        self.threads.shutdown(wait=True, cancel_futures=True)
        self.batcher.close()
