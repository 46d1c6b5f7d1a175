"""Many clients at once, at small scale; benchmarks/serving.py does it for minutes."""

import socket
import threading
import time
from collections import Counter

import pytest
from test_refusals import Slow, cut


def test_good_and_bad_requests_together(start, png):
    running = start("plain", "words")
    kinds = [
        lambda: ("good", running.post("/v1/predict", png)),
        lambda: ("bad", running.post("/v1/predict", cut(png))),
        lambda: ("bad", running.post("/v1/predict", b"{", "application/json")),
        lambda: ("good", running.post_json("/v1/translate", text="one")),
        lambda: ("bad", running.post("/v1/predict?model=none", png)),
    ]
    found, same = Counter(), set()

    def client(number: int) -> None:
        for turn in range(10):
            kind, answer = kinds[(number + turn) % len(kinds)]()
            found[kind, answer.status // 100] += 1
            if kind == "bad":
                assert answer.error
            elif b"predictions" in answer.body:
                same.add(answer.body)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {("good", 2): 64, ("bad", 4): 96}
    assert len({body[:40] for body in same}) == 1
    assert (running.state.room.images, running.state.room.bytes) == (0, 0)


def test_work_of_clients_that_left_is_dropped(start, png):
    running = start("plain")
    slow = Slow(running, 0.5)
    first = threading.Thread(target=running.post, args=("/v1/predict", png))
    first.start()
    time.sleep(0.1)
    head = f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: {len(png)}\r\n\r\n"
    clients = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(20)]
    for client in clients:
        client.sendall(head.encode() + png)
    deadline = time.monotonic() + 5
    while len(running.state.batcher._waiting) < 20 and time.monotonic() < deadline:
        time.sleep(0.005)
    for client in clients:
        client.close()
    first.join()
    assert running.post("/v1/predict", png).status == 200
    assert slow.batches == [1, 1]
    assert running.state.room.images == 0
    assert b'status="499"} 20.0' in running.state.metrics.text()


def test_requests_at_once_share_batches(start, png):
    running = start("plain")
    slow = Slow(running, 0.2)
    threads = [threading.Thread(target=running.post, args=("/v1/predict", png)) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(slow.batches) == 24
    assert len(slow.batches) <= 6


def test_a_network_that_fails_is_a_failure_of_the_server_in_one_line(start, png, capsys):
    running = start("plain")
    operation = running.state.networks.by_name["plain"].operations["predict"]

    def broken(kept, options):
        raise RuntimeError("/secret/place/model.onnx is damaged")

    operation.run = broken
    answer = running.post("/v1/predict", png)
    assert (answer.status, answer.error) == (500, "the server failed; its log says why")
    assert "/secret/place" in capsys.readouterr().err
    del operation.run
    assert running.post("/v1/predict", png).status == 200


@pytest.mark.slow
def test_memory_is_given_back_after_abandoned_requests(start, png):
    """Nothing that belongs to a request is kept."""
    running = start("plain")
    head = f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: {len(png)}\r\n\r\n"
    for _ in range(300):
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(head.encode() + png)
    deadline = time.monotonic() + 10
    while (running.state.room.images or running.state.room.bytes) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert (running.state.room.images, running.state.room.bytes) == (0, 0)
    assert not running.state.batcher._waiting
    assert running.post("/v1/predict", png).status == 200
