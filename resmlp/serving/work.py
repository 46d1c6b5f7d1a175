"""From a request to its answer: prepare its inputs, run the network, and give up when nobody waits any more."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from starlette.requests import Request

from resmlp.serving.bodies import Body
from resmlp.serving.images import Upload, image_size
from resmlp.serving.limits import Held, Refusal
from resmlp.serving.networks import Network
from resmlp.serving.options import read_options
from resmlp.serving.state import State

T = TypeVar("T")
RGB = 3  # bytes of a pixel


class ClientLeft(Exception):  # noqa: N818  (not a failure of the server)
    """The client has closed the connection, or will not read the answer."""


async def answered(state: State, request: Request, operation: str, read: Callable[..., Awaitable[Body]]) -> Any:
    """The answer to a request of an operation. Raises `Refusal`, and `ClientLeft`.

    What waits for a client that left, or whose time is over, is taken out of the queue.
    """
    if not state.ready or state.stopping:
        raise Refusal(503, "the models are not loaded yet" if not state.stopping else "the server is stopping", 1)
    with state.room.hold() as held:
        try:
            async with asyncio.timeout(state.settings.limits.seconds):
                body = await read(request, held)
                return await _while_connected(request, _work(state, held, operation, body))
        except TimeoutError:
            raise Refusal(504, f"no answer within {state.settings.limits.seconds:g} seconds") from None


async def _while_connected(request: Request, work: Awaitable[T]) -> T:
    """The result of `work`, which is canceled when the client closes the connection."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientLeft
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _work(state: State, held: Held, name: str, body: Body) -> Any:
    """Check, prepare, run, answer."""
    network, options = _chosen(state, name, body)
    _check_count(len(body.inputs), state.settings.limits.images)
    held.add(images=len(body.inputs))
    loop = asyncio.get_running_loop()
    if getattr(options, "size", None) is not None:
        network = await loop.run_in_executor(state.threads, network.at, options.size)
    operation = network.operations[name]
    group = operation.group(options)
    if isinstance(body.inputs[0], Upload):
        pixels = await loop.run_in_executor(state.threads, _count_pixels, body.inputs, state.settings.limits.pixels)
        held.add(size=RGB * pixels * operation.holds_images)

    async def one(given: Any) -> tuple[Any, Any]:
        prepared = await loop.run_in_executor(state.threads, operation.prepare, given)
        kept = getattr(prepared, "kept", prepared)
        return prepared, await asyncio.wrap_future(state.batcher.submit(operation, group, kept))

    prepared, results = zip(*await _all([one(given) for given in body.inputs]))
    return await loop.run_in_executor(state.threads, operation.answer, prepared, results, options)


def _chosen(state: State, name: str, body: Body) -> tuple[Network, Any]:
    """The network that is asked for, and the options of the operation. Raises `Refusal`."""
    wanted = body.values.get("model", body.words.get("model"))
    if wanted is not None and not isinstance(wanted, str):
        raise Refusal(422, "model should be a string")
    network = state.networks.choose(name, wanted)
    return network, read_options(network.operations[name].options, body.words, body.values)


def _check_count(count: int, most: int) -> None:
    if not count:
        raise Refusal(422, "the request has no input")
    if count > most:
        raise Refusal(413, f"the request has {count} inputs: at most {most}")


def _count_pixels(uploads: Sequence[Upload], most: int) -> int:
    """Of all images, as their headers say. Raises `Refusal` where one has more than `most`."""
    return sum(width * height for width, height in (image_size(upload, most) for upload in uploads))


async def _all(works: Sequence[Awaitable[T]]) -> list[T]:
    """The results in order; where one fails, the others are canceled."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
