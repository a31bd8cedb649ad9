"""How RabbitMQ is reached: connection parameters, and its errors in this project's words."""

from __future__ import annotations

import logging
from typing import Final

import pika
import pika.exceptions
from pika.adapters.utils.connection_workflow import AMQPConnectorStackTimeout

from ttg_worker.errors import BrokerError, BrokerUnavailable, QueuesGone

# Every failure is translated and handed on from here; pika would tell of each several times more.
logging.getLogger("pika").setLevel(logging.CRITICAL)

_CONNECT_SECONDS: Final = 5.0
_LOGIN_SECONDS: Final = 10.0
_MISSING: Final = ("no queue", "no exchange")
# Of what is asked again after a 406: other arguments of a queue, and a message that is too large.
_UNFIT: Final = ("inequivalent", "larger than")
# Reply codes that stay the same however often one asks: access refused, not allowed, not implemented.
_REFUSALS: Final = (403, 530, 540)


class Endpoint:
    """A broker's URL, opened up. ``address`` is ``host:port`` and fit for a message; the rest is not.

    Raises :class:`BrokerError` for a URL that can't be read, without quoting it.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        parsed = self.parameters(name="", heartbeat_seconds=0)
        self.address = f"{parsed.host}:{parsed.port}"

    def parameters(self, *, name: str, heartbeat_seconds: int) -> pika.URLParameters:
        """Fresh ones for each connection: pika writes into them."""
        try:
            parameters = pika.URLParameters(self._url)
        except Exception:
            # Whatever pika says of it may quote the password.
            raise BrokerError(
                "the broker URL can't be read; expected amqp://user:password@host:port/vhost"
            ) from None
        parameters.heartbeat = heartbeat_seconds
        parameters.connection_attempts = 1
        parameters.socket_timeout = _CONNECT_SECONDS
        parameters.stack_timeout = _LOGIN_SECONDS
        parameters.client_properties = {"connection_name": name}
        return parameters

    def translated(self, error: BaseException) -> BrokerError:
        """``error`` of pika as one of ours: :class:`BrokerUnavailable` if it may pass."""
        root = _root(error)
        code = getattr(root, "reply_code", None)
        reason = _reason(root)
        if code == 404 and any(word in reason for word in _MISSING):
            return QueuesGone(f"the run's queues are not on the broker at {self.address}: {reason}")
        if code in _REFUSALS or (code == 406 and any(word in reason for word in _UNFIT)):
            return BrokerError(f"the broker at {self.address} refuses: {reason}")
        # pika takes any loss during the login for a wrong password; only the broker's word is proof.
        for text in ("ACCESS_REFUSED", "NOT_ALLOWED"):
            if text in reason:
                return BrokerError(f"the broker at {self.address} refuses: {_from(text, reason)}")
        return BrokerUnavailable(f"the broker at {self.address} does not answer: {reason}")


def _root(error: BaseException) -> BaseException:
    """The innermost error: pika wraps what the socket said in up to four others."""
    while True:
        inner = getattr(error, "exceptions", None) or getattr(error, "exception", None) or error.args
        if isinstance(inner, list | tuple):
            inner = inner[-1] if inner and isinstance(inner[-1], BaseException) else None
        if not isinstance(inner, BaseException) or inner is error:
            return error
        error = inner


def _reason(error: BaseException) -> str:
    text = getattr(error, "reply_text", None)
    if text is None and error.args and isinstance(error.args[0], str):
        text = error.args[0]
    if isinstance(error, ValueError):
        text = "it hung up at once"
    if isinstance(error, AMQPConnectorStackTimeout):
        text = f"it took the connection, but did not answer the login in {_LOGIN_SECONDS:g} s"
    return text or str(error) or type(error).__name__


def _from(word: str, text: str) -> str:
    """``text`` from ``word`` on, without the quotes of the repr that it came in."""
    return text[text.index(word) :].rstrip("'\")")
