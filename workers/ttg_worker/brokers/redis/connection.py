"""A connection to a Redis or Valkey server: its errors in this project's words, its keys by role."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ttg_worker.errors import BrokerError, BrokerFull, BrokerUnavailable

GROUP: Final = "workers"
# Longer than an answer takes, also when the disk stalls the append-only file for a moment; short
# enough that a worker that is cut off can still leave in time.
TIMEOUT_SECONDS: Final = 3.0
# A server with these errors is there, but not yet or for the moment not able to serve.
# The classes are of errors whose first word redis-py takes away.
_PASSING: Final = (
    redis.exceptions.ReadOnlyError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.MasterDownError,
    redis.exceptions.TryAgainError,
)
_PASSING_WORDS: Final = (
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "BUSY ",
)
# What a server says that is there and takes nothing in, by a piece of its words, and what helps. redis-py
# takes the first word of some of these away.
_FULL: Final = (
    ("used memory > 'maxmemory'", "raise its maxmemory, or free memory in it"),
    ("MISCONF", "make room on its disk"),
    ("Errors writing to the AOF file", "make room on its disk"),
)


class NoGroup(BrokerError):
    """The run's stream or consumer group is not there: never declared, dropped, or lost by the server."""


class Keys:
    """A run's keys. The braces keep them on one node of a cluster, so that scripts can use several."""

    def __init__(self, run_id: str) -> None:
        prefix = f"ttg:{{{run_id}}}"
        self.tasks = f"{prefix}:tasks"
        self.retry = f"{prefix}:retry"
        self.dlq = f"{prefix}:dlq"
        self.results = f"{prefix}:results"
        self.heartbeats = f"{prefix}:heartbeats"
        # How often each suspect chunk was begun, by its id.
        self.begun = f"{prefix}:begun"
        self.probe = f"{prefix}:probe"
        self.all = (self.tasks, self.retry, self.dlq, self.results, self.heartbeats, self.begun)


class RedisLink:
    """Sends commands and scripts and gives the raw replies. Connects when first used, and again after
    an error; tries nothing twice by itself. Not for several threads at a time.

    Raises :class:`BrokerUnavailable`, :class:`NoGroup` or :class:`BrokerError`.
    """

    def __init__(self, url: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        parts = urlsplit(url)
        self._secrets = [s for s in {parts.password, unquote(parts.password or "")} if s]
        with self._translated():
            # RESP2 and no reply callbacks: replies are then the same from redis-py 5 to 8.
            self._client: Any = redis.Redis.from_url(  # Any: redis-py types its commands in some versions
                url,
                protocol=2,
                socket_timeout=timeout_seconds,
                socket_connect_timeout=timeout_seconds,
                socket_keepalive=True,
                retry=Retry(NoBackoff(), 0),
            )
            self._client.response_callbacks.clear()
            self.address = f"{parts.hostname or 'localhost'}:{parts.port or 6379}"

    def command(self, *words: Any) -> Any:
        with self._translated():
            return self._client.execute_command(*words)

    def script(self, text: str, *, keys: Sequence[str], args: Sequence[Any]) -> Any:
        digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        with self._translated():
            try:
                return self._client.execute_command("EVALSHA", digest, len(keys), *keys, *args)
            except redis.exceptions.NoScriptError:
                return self._client.execute_command("EVAL", text, len(keys), *keys, *args)

    def transaction(self, *commands: Sequence[Any]) -> list[Any]:
        with self._translated():
            pipeline = self._client.pipeline(transaction=True)
            for words in commands:
                pipeline.execute_command(*words)
            replies: list[Any] = pipeline.execute()
            return replies

    def declare(self, keys: Keys) -> None:
        """Makes the run's stream and consumer group; does nothing where they are there."""
        try:
            self.command("XGROUP", "CREATE", keys.tasks, GROUP, "0", "MKSTREAM")
        except BrokerError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def close(self) -> None:
        """Lets go of the connection; the next command makes a new one."""
        self._client.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except redis.exceptions.AuthenticationError as error:
            raise BrokerError(f"Redis at {self.address} refused the login: {self._text(error)}") from None
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError) as error:
            raise BrokerUnavailable(f"Redis at {self.address} does not answer: {self._text(error)}") from None
        except redis.exceptions.RedisError as error:
            text = self._text(error)
            cure = next((cure for word, cure in _FULL if word in text), None)
            if cure is not None:
                raise BrokerFull(f"Redis at {self.address} takes no messages: {text}; {cure}") from None
            if isinstance(error, _PASSING) or any(word in text for word in _PASSING_WORDS):
                raise BrokerUnavailable(f"Redis at {self.address} can't serve now: {text}") from None
            kind = NoGroup if "NOGROUP" in text else BrokerError
            raise kind(f"Redis at {self.address} refused: {text}") from None
        except ValueError as error:
            raise BrokerError(f"this is no usable Redis URL: {self._text(error)}") from None

    def _text(self, error: BaseException) -> str:
        text = str(error)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text
