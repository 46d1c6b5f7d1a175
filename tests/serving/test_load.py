"""Many clients at once, at small scale; benchmarks/serving.py does it for minutes."""

import socket
import threading
from collections import Counter

import pytest
from clients import Held, Together, cut, head, until


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
    held = Held(running)
    first = Together(lambda: running.post("/v1/predict", png))
    until(lambda: held.batches == [1])
    clients = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(20)]
    for client in clients:
        client.sendall(head(len(png)) + png)
    until(lambda: held.waiting() == 20)
    for client in clients:
        client.close()
    until(lambda: held.waiting() == 0)
    held.go.set()
    assert first.all()[0].status == 200
    assert running.post("/v1/predict", png).status == 200
    assert held.batches == [1, 1]
    until(lambda: running.state.room.images == 0)
    assert b'status="499"} 20.0' in running.state.metrics.text()


def test_requests_at_once_share_a_batch(start, png):
    running = start("plain")
    held = Held(running)
    first = Together(lambda: running.post("/v1/predict", png))
    until(lambda: held.batches == [1])
    others = Together(lambda: running.post("/v1/predict", png), 24)
    until(lambda: held.waiting() == 24)
    held.go.set()
    assert {answer.body for answer in others.all()} == {first.all()[0].body}
    assert held.batches == [1, 24]


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
    for _ in range(300):
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(head(len(png)) + png)
    until(lambda: (running.state.room.images, running.state.room.bytes) == (0, 0))
    assert not running.state.batcher._waiting
    assert running.post("/v1/predict", png).status == 200
