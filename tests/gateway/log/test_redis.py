"""What the Redis log promises beyond the contract: compaction, lost answers, other set-ups."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from gateway.errors import LogUnavailable
from gateway.log.location import RedisLocation, parse_location
from gateway.log.record import verify
from gateway.log.redis import RedisLog
from gateway.routing.events import Draft, RouteDisabled
from tests.redis_server import RedisServer, free_port


@contextmanager
def server(folder: Path, **options: str) -> Iterator[RedisServer]:
    made = RedisServer(folder, **options)
    try:
        yield made.start()
    finally:
        made.kill()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with server(tmp_path_factory.mktemp("redis")) as made:
        yield made


def open_log(url: str) -> RedisLog:
    location = parse_location(url)
    assert isinstance(location, RedisLocation)
    return RedisLog(location)


def fill(log: RedisLog, count: int) -> list[Any]:
    start = log.head()
    return [
        log.append(Draft(RouteDisabled(f"w{n}"), "ada", "why", 1.0), expected=n)
        for n in range(start, start + count)
    ]


def test_compaction_bounds_the_stream_and_loses_no_history(plain: RedisServer) -> None:
    log = open_log(f"{plain.url}?namespace=compaction")
    events = fill(log, 50)
    assert log.compact(keep=10, segment=8) == 40
    assert plain.client().xlen("{compaction}:events") == 10
    events += fill(log, 10)
    assert log.compact(keep=10, segment=8) == 8
    assert list(log.read()) == events
    for after in (0, 7, 8, 39, 41, 48, 59, 60):
        assert list(log.read(after=after)) == events[after:]
        assert list(log.read(after=after, limit=3)) == events[after : after + 3]
        waited = log.wait(after=after, timeout_s=0.01)
        assert [r.revision for r in waited] == [e.revision for e in events[after:]]
    assert verify(log.records()) is None
    assert log.head() == 60


def test_replicas_that_compact_at_once_archive_each_segment_once(plain: RedisServer) -> None:
    log = open_log(f"{plain.url}?namespace=racing")
    events = fill(log, 100)
    moved: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: moved.append(
                open_log(f"{plain.url}?namespace=racing").compact(keep=4, segment=8)
            )
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(moved) == 96
    assert list(log.read()) == events


def test_a_log_that_lacks_an_entry_is_not_compacted_and_says_so(plain: RedisServer) -> None:
    log = open_log(f"{plain.url}?namespace=gap")
    fill(log, 30)
    plain.client().xdel("{gap}:events", "3-0")
    with pytest.raises(LogUnavailable, match=r"lacks entries between revisions 1 and 9"):
        log.compact(keep=4, segment=8)


@pytest.mark.parametrize("damaged", ["no base64", "bm8gemxpYg==", ""])
def test_a_damaged_archive_segment_is_named(plain: RedisServer, damaged: str) -> None:
    log = open_log(f"{plain.url}?namespace=damaged")
    if log.head() == 0:
        fill(log, 20)
        assert log.compact(keep=4, segment=8) == 16
    plain.client().hset("{damaged}:archive", "1", damaged)
    with pytest.raises(LogUnavailable, match=r"archive segment 1 .*\{damaged\}:archive"):
        log.records()
    assert [r.revision for r in log.records(after=8, limit=3)] == [9, 10, 11]


def test_an_append_whose_answer_was_lost_is_found_to_have_arrived(
    plain: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log(f"{plain.url}?namespace=lost")
    run = redis.Redis.eval

    def cut(client: redis.Redis, *arguments: Any) -> Any:
        run(client, *arguments)
        raise redis.ConnectionError("cut after the script ran")

    monkeypatch.setattr(redis.Redis, "eval", cut)
    event = log.append(Draft(RouteDisabled("w"), "ada", "why", 1.0), expected=0)
    assert list(log.read()) == [event]


def test_an_append_that_never_arrived_says_that_it_is_not_known(
    plain: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log(f"{plain.url}?namespace=never")

    def cut(*_: Any) -> Any:
        raise redis.ConnectionError("cut before the script ran")

    monkeypatch.setattr(redis.Redis, "eval", cut)
    with pytest.raises(LogUnavailable, match=r"not known whether revision 1"):
        log.append(Draft(RouteDisabled("w"), "ada", "why", 1.0), expected=0)
    assert log.head() == 0


def test_a_redis_that_is_away_stops_no_start_and_is_named_without_its_password() -> None:
    log = open_log(f"redis://ann:secret@127.0.0.1:{free_port()}")
    with pytest.raises(LogUnavailable, match=r"ann:\*\*\*@127\.0\.0\.1") as caught:
        log.head()
    assert "secret" not in str(caught.value)


def test_a_closed_log_ends_a_wait(plain: RedisServer) -> None:
    log = open_log(f"{plain.url}?namespace=closing")
    ended = threading.Event()

    def wait() -> None:
        try:
            log.wait(after=0, timeout_s=60)
        except LogUnavailable:
            ended.set()

    thread = threading.Thread(target=wait)
    thread.start()
    while not plain.client().client_list(_type="normal") or not any(
        c["cmd"] == "xread" for c in plain.client().client_list()
    ):
        pass
    log.close()
    assert ended.wait(5)
    thread.join()


def test_a_password_is_used_and_a_wrong_one_is_told(tmp_path: Path) -> None:
    with server(tmp_path, requirepass='"s3:/#cret"') as locked:
        log = open_log(f"redis://:s3%3A%2F%23cret@127.0.0.1:{locked.port}")
        assert len(fill(log, 2)) == 2
        with pytest.raises(LogUnavailable, match="password"):
            open_log(f"redis://:wrong@127.0.0.1:{locked.port}").head()


def test_an_entry_that_is_no_event_is_named(plain: RedisServer) -> None:
    plain.client().xadd("{foreign}:events", {"a": "b"}, id="1-0")
    with pytest.raises(LogUnavailable, match=r"1-0.*namespace"):
        open_log(f"{plain.url}?namespace=foreign").read()


def test_a_cluster_holds_the_log(tmp_path: Path) -> None:
    with server(tmp_path, **{"cluster-enabled": "yes"}) as node:
        client: Any = node.client()
        client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
        while "cluster_state:ok" not in str(client.execute_command("CLUSTER", "INFO")):
            pass
        log = open_log(f"redis+cluster://127.0.0.1:{node.port}")
        events = fill(log, 20)
        assert log.compact(keep=4, segment=8) == 16
        assert list(log.read()) == events
        assert [r.revision for r in log.wait(after=19, timeout_s=5)] == [20]


def test_sentinels_name_the_server_that_holds_the_log(tmp_path: Path, plain: RedisServer) -> None:
    watcher = RedisServer(tmp_path)
    watcher.options = {"sentinel": f"monitor main 127.0.0.1 {plain.port} 1"}
    try:
        watcher.start("--sentinel")
        log = open_log(f"redis+sentinel://127.0.0.1:{watcher.port}/main?namespace=watched")
        assert len(fill(log, 3)) == 3
        with pytest.raises(LogUnavailable, match="other"):
            open_log(f"redis+sentinel://127.0.0.1:{watcher.port}/other").head()
    finally:
        watcher.kill()
