"""The burst simulator's own parts: time, buckets, functions, queues, against cases worked out by hand."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from bench.burst.account import Account, Asynchronous, Function, Retries, Throttled
from bench.burst.engine import Act, Beside, Engine
from bench.burst.limits import Quotas, Seconds, TokenBucket
from bench.burst.others import Mapping, Queued
from bench.burst.run import of
from bench.burst.warnings import Warned, burst

if TYPE_CHECKING:
    from collections.abc import Callable

AT_ONCE = Seconds().times(0)
"""Nothing takes any time but what the test is about."""


def account(**quotas: float | tuple[float, float]) -> Account:
    """Return an account in which nothing takes time."""
    return Account(Quotas(**quotas), AT_ONCE, seed=1)  # type: ignore[arg-type]  # whatever quota the test names


def test_a_bucket_is_emptied_and_refilled() -> None:
    """EC2's bucket of 50 with 10 a second: 50 at once, the next after a tenth of a second, never more than 50."""
    bucket = TokenBucket(50, 10)
    assert [bucket.take(0.0) for _ in range(51)] == [True] * 50 + [False]
    assert [bucket.take(0.09), bucket.take(0.1), bucket.take(0.1)] == [False, True, False]
    assert bucket.left(1000.0) == 50


def test_a_thousand_describes_take_95_seconds() -> None:
    """One describe for each of 1,000 events, each as early as the bucket allows, is done after (1,000 - 50) / 10 = 95 s."""
    bucket, tenths = TokenBucket(50, 10), 0
    for _ in range(1000):
        while not bucket.take(tenths / 10):
            tenths += 1
    assert tenths / 10 == 95.0


def test_some_or_none_are_taken() -> None:
    """Where all were asked for, what there is stays; where some will do, there are as many as there are."""
    bucket = TokenBucket(3, 1)
    assert [bucket.take(0.0, 4), bucket.take_some(0.0, 4), bucket.take_some(0.5, 4), bucket.take_some(2.0, 4)] == [False, 3, 0, 2]


def test_things_happen_in_their_order() -> None:
    """Who sleeps shorter goes on first; at the same moment, who came first; what is called meanwhile waits with its caller."""
    engine, seen = Engine(), list[tuple[str, float]]()

    def process(name: str, pauses: tuple[float, ...]) -> Callable[[], None]:
        def run() -> None:
            for pause in pauses:
                engine.sleep(pause)
                seen.append((name, engine.now))

        return run

    engine.start(process("a", (1.0, 2.0)))
    engine.start(process("b", (1.0, 0.5)))
    engine.run()
    assert seen == [("a", 1.0), ("b", 1.0), ("b", 1.5), ("a", 3.0)]


def test_what_is_beside_takes_the_same_time() -> None:
    """Who gives something to an executor goes on; who asks for its result waits until it is there, or has it at once."""
    engine, seen = Engine(), list[tuple[str, float]]()

    def long(name: str) -> str:
        engine.sleep(3.0)
        return name

    def process() -> None:
        with Beside(engine) as beside:
            found = beside.submit(long, "a")
            engine.sleep(1.0)
            seen.append(("meanwhile", engine.now))
            seen.extend((found.result(), engine.now) for _ in range(2))

    engine.start(process)
    engine.run()
    assert seen == [("meanwhile", 1.0), ("a", 3.0), ("a", 3.0)]


def test_a_fault_stops_the_simulation() -> None:
    """What a process raises comes out where the simulation is run: nothing is swallowed."""
    engine = Engine()
    engine.start(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engine.run()


def test_a_room_is_woken_in_order() -> None:
    """Those who wait are woken when somebody says so, as many as he says."""
    engine, room, seen = Engine(), list[Act](), list[int]()
    for number in range(3):
        engine.start(lambda number=number: (engine.wait_in(room), seen.append(number)))  # type: ignore[misc,func-returns-value]
    engine.at(5.0, lambda: engine.wake(room, 2))
    engine.run()
    assert (seen, len(room)) == ([0, 1], 1)


def test_a_throttled_request_is_tried_again_by_its_client() -> None:
    """A client with five tries makes five requests and gives up; all are counted, and their pauses grow as botocore's do."""
    here = account()
    here.engine.start(lambda: here.request("ec2:Any", 1.0, lambda: False, Retries(5, 20.0)))
    with pytest.raises(Throttled):
        here.engine.run()
    assert (here.calls["ec2:Any"], here.throttled) == (5, 5)
    assert 0 < here.engine.now < 1 + 2 + 4 + 8 + 1
    assert {Retries(9, 3.0).pause(tries, Random(1)) <= 3.0 for tries in range(1, 9)} == {True}


def test_concurrency_is_the_accounts() -> None:
    """Two functions share what the account has; an environment that is free is warm."""
    here = Account(Quotas(concurrency=2), Seconds(), seed=1)
    one, other = Function(here, 0.0), Function(here, 0.0)
    starts = one.begin(), other.begin()
    assert all(start is not None and start > 0.0 for start in starts)
    assert one.begin() is None
    here.engine.start(lambda: one.run(0.0, lambda: None))
    here.engine.run()
    assert one.begin() == 0.0


def test_environments_come_at_their_rate() -> None:
    """One function gets 1,000 new environments at once and 100 a second, however large the account's concurrency is."""
    here = account(concurrency=5000)
    function = Function(here, 0.0)
    assert sum(function.begin() is not None for _ in range(1500)) == 1000
    here.engine.at(2.0, lambda: None)
    here.engine.run()
    assert sum(function.begin() is not None for _ in range(1500)) == 200


def test_a_failed_event_comes_three_times() -> None:
    """An asynchronous event that fails is tried again after one minute and two more, then given up."""
    here, tries = account(), list[float]()

    def fail() -> None:
        tries.append(here.engine.now)
        raise Throttled("ec2:Any")

    way = Asynchronous(Function(here, 0.0), longest_age=3600)
    way.deliver(1.0, fail)
    here.engine.run()
    assert [round(at) for at in tries] == [1, 61, 181]
    assert way.dead_letters == 1


def test_a_throttled_event_comes_back_until_it_is_too_old() -> None:
    """An event for which there is no environment is tried after 1, 2, 4, ... s, and given up when it is too old."""
    here = account(concurrency=0)
    way = Asynchronous(Function(here, 0.0), longest_age=3600)
    way.deliver(0.0, lambda: None)
    here.engine.run()
    assert way.dead_letters == 1
    assert here.engine.now > 3600


def test_a_failed_batch_is_visible_again() -> None:
    """A queue's batch that fails comes again 35 s after it was received, and again, until it succeeds."""
    here = account(send_command=(0, 1 / 100))
    queue = Queued(here, Mapping(batch=10, window=0.0, pollers=1))
    queue.warn(Warned("i-1", 0.0))
    here.engine.run(34.0)
    first = here.calls["ssm:SendCommand"]
    here.engine.run(69.0)
    assert (first, here.calls["ssm:SendCommand"]) == (5, 10)
    here.send_command = TokenBucket(1, 1)
    here.engine.run(200.0)
    assert queue.commanded.times == {"i-1": 1}


@pytest.mark.parametrize(("mapping", "batches"), [(Mapping(10, 0.0, 1), 10), (Mapping(100, 1.0, 1), 2)])
def test_batches_are_as_large_as_they_may(mapping: Mapping, batches: int) -> None:
    """A hundred messages are ten describes in batches of 10; in batches of 100, one with two commands, when they are there at once."""
    here = account()
    queue = Queued(here, mapping)
    here.send_command = TokenBucket(1000, 1000)
    for number in range(100):
        queue.warn(Warned(f"i-{number}", 0.0))
    here.engine.run(30.0)
    assert here.calls == {"ec2:DescribeInstances": 10 if mapping.batch == 10 else 1, "ssm:SendCommand": batches}
    assert queue.commanded.times == {f"i-{number}": 1 for number in range(100)}


def test_a_burst_is_two_seconds() -> None:
    """The warnings come within two seconds, in order, and their events' own times have whole seconds."""
    warned = burst(500, Random(1))
    assert [one.at for one in warned] == sorted(one.at for one in warned)
    assert {one.event_time for one in warned} == {0.0, 1.0}
    assert 0 <= warned[0].at <= warned[-1].at < 2
    assert len({one.instance_id for one in warned}) == 500


@pytest.mark.parametrize(("share", "value"), [(0.5, 2.0), (0.75, 3.0), (0.76, None), (1.0, None)])
def test_never_is_the_longest(share: float, value: float | None) -> None:
    """A percentile is that of all warnings: those that never had a command count as the latest."""
    assert of([1.0, 2.0, 3.0, float("inf")], share) == value
