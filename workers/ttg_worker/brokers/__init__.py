"""Brokers by URL. Each client library is imported by its own broker alone, when that is opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from ttg_worker.brokers.base import Broker, DeliveryOptions
from ttg_worker.errors import BrokerError

# Opens the broker of a URL; nothing is connected before it is used.
Opener = Callable[[str, DeliveryOptions], Broker]


def _open_rabbitmq(url: str, options: DeliveryOptions) -> Broker:
    from ttg_worker.brokers.rabbitmq.broker import RabbitMQBroker

    return RabbitMQBroker(url, options=options)


def _open_redis(url: str, options: DeliveryOptions) -> Broker:
    from ttg_worker.brokers.redis.broker import RedisBroker

    return RedisBroker(url, options=options)


def _open_static(url: str, options: DeliveryOptions) -> Broker:
    from ttg_worker.brokers.static.broker import StaticBroker

    return StaticBroker(url, options=options)


BACKEND_OF_SCHEME: Final = {
    "amqp": "rabbitmq",
    "amqps": "rabbitmq",
    "redis": "redis",
    "rediss": "redis",
    "static": "static",
}
OPENERS: dict[str, Opener] = {"rabbitmq": _open_rabbitmq, "redis": _open_redis, "static": _open_static}


def register_backend(backend: str, *, scheme: str, opener: Opener) -> None:
    """Makes URLs of ``scheme`` open a broker of another kind from now on, in this process."""
    BACKEND_OF_SCHEME[scheme] = backend
    OPENERS[backend] = opener


def backend_of(url: str) -> str:
    """The backend by the URL's scheme; :class:`BrokerError` for one that there is not."""
    scheme = urlsplit(url).scheme
    try:
        return BACKEND_OF_SCHEME[scheme]
    except KeyError:
        known = ", ".join(f"{s}://" for s in BACKEND_OF_SCHEME)
        raise BrokerError(f"no broker for {scheme or 'an empty'!r} URLs; known are {known}") from None


def open_broker(url: str, *, options: DeliveryOptions) -> Broker:
    """The broker that ``url`` names; connects when first used."""
    return OPENERS[backend_of(url)](url, options)
