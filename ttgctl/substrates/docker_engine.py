"""The Docker engine: where it is, and its failures in one line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import docker
from docker.context import ContextAPI
from docker.errors import DockerException
from requests.exceptions import RequestException

from ttgctl.core.ports import SubstrateError

ANSWER_SECONDS: Final = 5
BUILD_SECONDS: Final = 900


def connect(*, timeout_seconds: int = BUILD_SECONDS) -> docker.DockerClient:
    """The engine that the ``docker`` command would use, once it has answered.

    Raises :class:`SubstrateError` when none does.
    """
    with translated("the Docker engine does not answer"):
        client = _client(ANSWER_SECONDS)
        client.ping()
        client.api.timeout = timeout_seconds
        return client


def _client(timeout_seconds: int) -> docker.DockerClient:
    if "DOCKER_HOST" not in os.environ:
        # Docker Desktop, colima and rootless engines are known to the command by its context alone.
        context = ContextAPI.get_current_context()
        if context is not None and context.Host:
            return docker.DockerClient(base_url=context.Host, tls=context.TLSConfig, timeout=timeout_seconds)
    return docker.from_env(timeout=timeout_seconds)


@contextmanager
def translated(failed: str) -> Iterator[None]:
    """Turns the library's errors into a :class:`SubstrateError` that begins with ``failed``."""
    try:
        yield
    except (DockerException, RequestException, OSError) as error:
        explanation = getattr(error, "explanation", None) or error
        raise SubstrateError(f"{failed}: {' '.join(str(explanation).split())}") from error
