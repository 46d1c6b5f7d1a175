"""`serve()`: open the port, load the networks beside it, and stop without losing a request."""

import contextlib
import errno
import ipaddress
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

import uvicorn

from resmlp.config.precision import Execution
from resmlp.serving.app import make_app
from resmlp.serving.networks import name_sources
from resmlp.serving.protocol import Protocol
from resmlp.serving.state import Settings, State
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError
from resmlp.utils.interruption import Interrupted

LOCAL, UNMEASURED = Settings(), Execution(precision="auto", images=1)
BACKLOG = 1024
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Server(uvicorn.Server):
    """uvicorn's server, which says that it stops, and ends with the exit code of the signal."""

    def __init__(self, state: State, listener: socket.socket):
        config = uvicorn.Config(
            make_app(state),
            http=Protocol,
            log_level="error",
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=int(state.settings.limits.seconds) + 1,
        )
        super().__init__(config)
        self.state, self.listener = state, listener
        self.number: int | None = None
        """of the signal that stops it"""

    def run_here(self) -> None:
        """Serve until it is stopped. Raises `Interrupted` where a signal did that."""
        try:
            self.run(sockets=[self.listener])
        finally:
            self.state.close()
        if self.number is not None:
            raise Interrupted(self.number)

    def stop(self) -> None:
        """Take no new connection, answer what is in hand, and return from `run_here`."""
        self.state.stopping = True
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The first signal stops it; a second Ctrl-C does not wait for the answers."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        heard = [each for each in SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]
        before = {each: signal.signal(each, self.handle_exit) for each in heard}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """As of uvicorn."""
        if self.number is not None and sig == signal.SIGINT:
            self.force_exit = True
        self.number = self.number or sig
        self.stop()


def serve(
    models: Sequence[str],
    settings: Settings = LOCAL,
    execution: Execution = UNMEASURED,
    on_ready: Callable[[str, State], None] = lambda url, state: None,
) -> None:
    """Serve MODELs, each MODEL or NAME=MODEL, until a signal stops the process; then raises `Interrupted`.

    `on_ready(url, state)` is called when all networks are loaded. Raises `UserError` for a model that cannot be
    loaded, a port that is in use, and a host beyond this machine without a token.
    """
    check_settings(settings)
    sources = name_sources(models)
    listener = listen(settings.host, settings.port)
    server = Server(State(settings), listener)
    failures: list[BaseException] = []

    def load() -> None:
        try:
            server.state.load(sources, execution)
            on_ready(address(settings.host, listener.getsockname()[1]), server.state)
        except BaseException as error:  # it ends the server, whatever it is
            failures.append(error)
            server.stop()

    threading.Thread(target=load, name="load", daemon=True).start()
    server.run_here()
    if failures:
        raise failures[0]


def check_settings(settings: Settings) -> None:
    """Raise `UserError` where other machines could reach a server without a token."""
    token = settings.token
    usable = token is None or (token.isascii() and token.isprintable() and token.strip() == token != "")
    demand(usable, "--token is empty, or has a space or a letter beyond ASCII", "give letters and digits")
    demand(0 <= settings.port < 2**16, f"--port {settings.port}", "0 to 65535; 0 takes a free one")
    open_to_all = f"--host {settings.host} lets other machines in, without a token"
    hint = "add --token TOKEN, or set RESMLP_TOKEN; or leave --host out"
    demand(token is not None or is_loopback(settings.host), open_to_all, hint)
    origin = settings.cors is None or settings.cors.startswith(("http://", "https://"))
    demand(origin, f"--cors {settings.cors} is no origin", "give one such as https://example.org")


def is_loopback(host: str) -> bool:
    """Whether an address leads to this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises `UserError` for a port that is in use, and a host that is not here."""
    listener = None
    try:
        ((family, kind, protocol, _, place), *_) = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        listener = socket.socket(family, kind, protocol)
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(BACKLOG)
        return listener
    except OSError as error:
        if listener:
            listener.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"port {port} of {host} is in use", "give another --port; 0 takes a free one") from None
        raise UserError(f"cannot listen at {host}, port {port}: {error.strerror}", "see --host and --port") from None


def address(host: str, port: int) -> str:
    """What to open in a browser."""
    name = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)  # noqa: S104
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
