"""When a process counts as hanging, by a clock that the test sets."""

import time

import pytest
import torch.distributed as dist

from resmlp.utils.heartbeat import ENDED, Heartbeat, Peer, Sign, watched


def sign(beats: int, arrivals: int) -> Sign:
    return Sign(beats, arrivals, "host a", 7)


def test_a_sign_is_read_as_it_was_written():
    assert Sign.read(str(sign(3, 4))) == sign(3, 4)


def test_a_process_hangs_when_it_is_silent():
    peer = Peer(sign(1, 5), heard=0)
    peer.update(sign(2, 5), own_arrivals=5, now=50)
    peer.update(sign(2, 5), own_arrivals=5, now=100)
    assert not peer.hangs(60, now=110)
    assert peer.hangs(60, now=111)


def test_a_process_hangs_when_the_others_wait_for_it_too_long():
    """Long steps are no reason, as long as all take them."""
    peer = Peer(sign(0, 5), heard=0)
    for now in range(1, 500, 10):
        peer.update(sign(now, 5), own_arrivals=5, now=now)
    assert not peer.hangs(60, now=500)
    for now in range(500, 570, 10):
        assert not peer.hangs(60, now=now)
        peer.update(sign(now, 5), own_arrivals=6, now=now)
    assert peer.hangs(60, now=561)
    peer.update(sign(1000, 6), own_arrivals=6, now=570)
    assert not peer.hangs(60, now=571)
    peer.update(sign(1001, 6), own_arrivals=7, now=580)
    peer.update(sign(1002, 7), own_arrivals=8, now=630)  # it came, and is waited for anew
    assert not peer.hangs(60, now=650)


def test_processes_that_have_not_begun_or_have_ended_are_not_watched():
    store = dist.HashStore()
    beat = Heartbeat(store, rank=0, world=3, seconds=60, arrivals=lambda: 0)
    store.set("heartbeat/1", str(sign(1, 0)))
    beat._listen()
    assert list(beat._peers) == [1]
    assert str(beat.error([1])).startswith("rank 1 of 3 (process 7 on host a) has not answered for 60 s (")
    store.set("heartbeat/1", ENDED)
    beat._listen()
    assert not beat._peers


def test_the_last_sign_is_the_end():
    store = dist.HashStore()
    with Heartbeat(store, rank=0, world=2, seconds=0.05, arrivals=lambda: 4):
        deadline = time.monotonic() + 60
        while not store.check(["heartbeat/0"]) and time.monotonic() < deadline:
            time.sleep(0.001)
        assert Sign.read(store.get("heartbeat/0").decode()).arrivals == 4
    while store.get("heartbeat/0").decode() != ENDED and time.monotonic() < deadline:
        time.sleep(0.001)
    assert store.get("heartbeat/0").decode() == ENDED


def test_one_process_is_not_watched():
    with watched(1, lambda: 0):
        pass
    with pytest.raises(RuntimeError, match="gloo/"), watched(1, lambda: 0):
        raise RuntimeError("gloo/")
