"""Brokers by URL. Each client library is imported by its own broker alone, when that is opened."""

from __future__ import annotations

from urllib.parse import urlsplit

from ttg_worker.brokers.base import Broker, DeliveryOptions
from ttg_worker.errors import BrokerError

BACKEND_OF_SCHEME = {
    "amqp": "rabbitmq",
    "amqps": "rabbitmq",
    "redis": "redis",
    "rediss": "redis",
    "memory": "memory",
    "static": "static",
}


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
    backend = backend_of(url)
    if backend == "rabbitmq":
        from ttg_worker.brokers.rabbitmq.broker import RabbitMQBroker

        return RabbitMQBroker(url, options=options)
    if backend == "redis":
        from ttg_worker.brokers.redis.broker import RedisBroker

        return RedisBroker(url, options=options)
    if backend == "static":
        from ttg_worker.brokers.static.broker import StaticBroker

        return StaticBroker(url, options=options)
    from ttg_worker.brokers.memory import MemoryBroker

    return MemoryBroker.at(url, options=options)
