"""The parts of the Redis broker that need no server."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttg_worker import wire
from ttg_worker.backoff import Outage
from ttg_worker.brokers import open_broker
from ttg_worker.brokers.base import DeliveryOptions, Recorded, Unreadable
from ttg_worker.brokers.redis import connection
from ttg_worker.brokers.redis.connection import Keys, NoGroup, RedisLink
from ttg_worker.brokers.redis.consumer import task_of
from ttg_worker.brokers.redis.observer import RedisObserver, entry_id, position
from ttg_worker.errors import BrokerError, BrokerFull, BrokerUnavailable, Undeliverable


class Answers:
    """A server that answers each command with the next of some replies, as they are on the wire."""

    def __init__(self, *replies: bytes) -> None:
        self._replies = list(replies)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://:s3cret%2Fword@127.0.0.1:{self._listener.getsockname()[1]}/0"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                while data := connection.recv(65536):
                    # The client says who it is in two commands at once; each is one array.
                    for command in [part for part in data.split(b"\r\n*") if part]:
                        connection.sendall(self._reply(command))

    def _reply(self, command: bytes) -> bytes:
        if b"CLIENT" in command or b"AUTH" in command:
            return b"+OK\r\n"
        return self._replies.pop(0) if self._replies else b"+OK\r\n"


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", BrokerUnavailable),
        (b"-READONLY You can't write against a read only replica.\r\n", BrokerUnavailable),
        (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", BrokerFull),
        (b"-MISCONF Errors writing to the AOF file: No space left on device\r\n", BrokerFull),
        (b"-CLUSTERDOWN The cluster is down\r\n", BrokerUnavailable),
        (b"-NOGROUP No such key 'ttg:{r}:tasks' or consumer group 'workers'\r\n", NoGroup),
        (b"-ERR Error running script: @user_script:4: NOGROUP No such key\r\n", NoGroup),
        (b"-NOPERM this user has no permissions to run the 'eval' command\r\n", BrokerError),
        (b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", BrokerError),
        (b"-WRONGPASS invalid username-password pair or user is disabled.\r\n", BrokerError),
        (b"-NOAUTH Authentication required.\r\n", BrokerError),
    ],
)
def test_errors_are_told_apart(reply, kind):
    link = RedisLink(Answers(reply).url)
    with pytest.raises(BrokerError) as caught:
        link.command("PING")
    assert type(caught.value) is kind
    assert link.address in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_password_in_an_error_is_masked():
    answers = Answers(b"-ERR unknown user s3cret/word\r\n", b"-ERR unknown user s3cret%2Fword\r\n")
    link = RedisLink(answers.url)
    for _ in range(2):
        with pytest.raises(BrokerError, match=r"unknown user \*\*\*") as caught:
            link.command("PING")
        assert "s3cret" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_nothing_listens():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    broker = open_broker(f"redis://:pw12345@127.0.0.1:{port}", options=DeliveryOptions())
    with pytest.raises(BrokerUnavailable, match=f"127.0.0.1:{port} does not answer") as caught:
        broker.declare("r")
    assert "pw12345" not in str(caught.value)


def test_a_connection_that_breaks_is_an_outage_and_the_next_call_connects_again():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        link = RedisLink(f"redis://127.0.0.1:{listener.getsockname()[1]}")

        def hang_up() -> None:
            for _ in range(2):
                listener.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        for _ in range(2):
            with pytest.raises(BrokerUnavailable):
                link.command("PING")
        thread.join(5)
        assert not thread.is_alive()


@pytest.mark.parametrize("url", ["redis://host:port", "redis://h:1/notanumber?socket_timeout=soon"])
def test_a_url_that_makes_no_sense(url):
    with pytest.raises(BrokerError):
        open_broker(url, options=DeliveryOptions()).declare("r")


def test_keys_of_a_run_share_a_slot_and_nothing_else():
    keys = Keys("sweep-1")
    assert keys.all == (
        "ttg:{sweep-1}:tasks",
        "ttg:{sweep-1}:retry",
        "ttg:{sweep-1}:dlq",
        "ttg:{sweep-1}:results",
        "ttg:{sweep-1}:heartbeats",
        "ttg:{sweep-1}:begun",
    )
    assert not set(keys.all) & set(Keys("sweep-2").all)


entries = st.tuples(st.integers(0, 2**43 - 1), st.integers(0, 2**20 - 1))


@given(entries, entries)
def test_positions_order_as_entries_do(one, other):
    ids = [f"{milliseconds}-{sequence}".encode() for milliseconds, sequence in (one, other)]
    assert (position(ids[0]) < position(ids[1])) == (one < other)
    assert [entry_id(position(each)).encode() for each in ids] == ids
    assert position(ids[0]) < 2**63  # SQLite keeps it


def test_the_place_before_the_first_is_the_start():
    assert entry_id(-1) == "0-0"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([b"body", b"x"], (b"x", 0)),
        ([b"body", b"x", b"crashes", b"3"], (b"x", 3)),
    ],
)
def test_task_of(fields, expected):
    assert task_of(fields) == expected


@given(st.lists(st.sampled_from([b"body", b"crashes", b"x", b"-1"]), max_size=6))
def test_an_entry_of_other_fields_is_malformed(fields):
    if fields[:1] == [b"body"] and len(fields) == 2:
        return
    with pytest.raises(Undeliverable) as caught:
        task_of(fields)
    assert caught.value.cause == "malformed"


class TestOutage:
    def test_waits_grow_to_two_seconds_and_differ(self):
        outage = Outage()
        pauses = [outage.failed(BrokerUnavailable("gone")) for _ in range(12)]
        assert pauses[0] <= 0.05
        assert all(1.0 <= pause <= 2.0 for pause in pauses[7:])
        assert len(set(pauses[7:])) == 5

    def test_says_once_that_it_began_and_once_that_it_is_over(self):
        said: list[str] = []
        outage = Outage(said.append)
        outage.over()
        assert said == []
        for _ in range(3):
            outage.failed(BrokerUnavailable("Redis at h:1 does not answer"))
        assert outage.seconds >= 0
        outage.over()
        outage.over()
        assert len(said) == 2
        assert said[0].startswith("Redis at h:1 does not answer")
        assert "back" in said[1]
        assert outage.seconds == 0
        assert outage.failed(BrokerUnavailable("again")) <= 0.05


class TestAnObserverOfABrokerThatIsAway:
    @pytest.fixture
    def observer(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        observer = RedisObserver(f"redis://127.0.0.1:{port}", Keys("r"))
        yield observer
        observer.close()

    def test_ticks_and_gives_up_when_its_patience_is_over(self, observer, monkeypatch):
        monkeypatch.setattr("ttg_worker.brokers.redis.observer.PATIENCE_SECONDS", 0.6)
        started = time.monotonic()
        ticks: list[None] = []
        with pytest.raises(BrokerUnavailable):
            ticks.extend(observer.results())
        assert len(ticks) >= 3
        assert set(ticks) == {None}
        assert 0.6 <= time.monotonic() - started < 5

    def test_knows_no_beats_and_does_not_wait_for_them(self, observer):
        started = time.monotonic()
        assert [observer.heartbeats() for _ in range(50)] == [[]] * 50
        assert time.monotonic() - started < 1


def test_what_is_no_result_is_shown_as_unreadable():
    stream = b"ttg:{r}:results"
    entry = b"*2\r\n$3\r\n5-1\r\n*2\r\n$4\r\nbody\r\n$3\r\n{x}\r\n"
    odd = b"*2\r\n$3\r\n6-0\r\n*2\r\n$3\r\nfoo\r\n$3\r\nb\x00r\r\n"
    page = b"*1\r\n*2\r\n$%d\r\n%b\r\n*2\r\n%b%b" % (len(stream), stream, entry, odd)
    observer = RedisObserver(Answers(page).url, Keys("r"))
    results = observer.results()
    first, second = next(results), next(results)
    assert isinstance(first, Recorded)
    assert first.position == 5 << 20 | 1
    assert isinstance(first.message, Unreadable)
    assert first.message.body == "{x}"
    assert isinstance(second.message, Unreadable)
    assert second.message.body == "foo b\\x00r"
    assert "body" in second.message.error


def test_the_client_library_tries_nothing_twice_by_itself():
    # A command that may have been done must not be done again behind our back.
    link = RedisLink("redis://127.0.0.1:1")
    retry = link._client.connection_pool.connection_kwargs["retry"]
    assert retry._retries == 0
    assert connection.TIMEOUT_SECONDS < 10


@pytest.mark.case("C27")
def test_a_heartbeat_that_is_none_informs_of_nothing(monkeypatch):
    good = wire.Heartbeat("r", "w1", "idle", None, (), 0, 0, 1.0, 2.0)
    bodies = [b"{}", b"\xff", wire.encode(good), wire.encode(good).replace(b'"w1"', b'"../w1"')]
    observer = RedisObserver("redis://127.0.0.1:1/0", Keys("r"))
    monkeypatch.setattr(RedisLink, "command", lambda link, *words: bodies)
    assert observer.heartbeats() == [good]
