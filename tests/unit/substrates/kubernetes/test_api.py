"""The Kubernetes API through a server that answers as one does that is young, busy, or away."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ttgctl.substrates.kubernetes import api as api_module
from ttgctl.substrates.kubernetes.api import ApiAway, ApiRefused, CommandFailed, KubeApi, _check_status

LIST = {"items": [{"metadata": {"name": "w"}}]}


class Server(ThreadingHTTPServer):
    """Answers with ``answers``, one each, an int as an error of that status; then with a list.
    "hang up" closes the connection."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Any] = []
        self.retry_after = ""
        self.asked: list[float] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(time.monotonic())
        answer = self.server.answers.pop(0) if self.server.answers else LIST
        if answer == "hang up":
            self.close_connection = True
            return
        status = answer if isinstance(answer, int) else 200
        body = json.dumps({"message": "said why"} if isinstance(answer, int) else answer).encode()
        self.send_response(status)
        if status == 429 and self.server.retry_after:
            self.send_header("Retry-After", self.server.retry_after)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


@pytest.fixture
def connect(server: Server, tmp_path: Path) -> Iterator[Callable[[], KubeApi]]:
    made: list[KubeApi] = []

    def new() -> KubeApi:
        path = tmp_path / "kubeconfig"
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "c",
                    "clusters": [
                        {"name": "k", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
                    ],
                    "users": [{"name": "u", "user": {}}],
                    "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
                }
            )
        )
        made.append(KubeApi(kubeconfig=path, context="c"))
        return made[-1]

    yield new
    for each in made:
        each.close()


@pytest.mark.parametrize("answer", [429, 500, 502, 503, 504, "hang up"])
def test_what_asks_to_come_later_is_asked_again(server: Server, connect: Any, answer: Any) -> None:
    server.answers = [answer, answer]
    api = connect()
    assert [pod["metadata"]["name"] for pod in api.list("Pod", "ttg")] == ["w"]
    assert len(server.asked) == 3
    assert api.away is None


def test_it_waits_as_long_as_it_is_asked_to(server: Server, connect: Any) -> None:
    server.answers, server.retry_after = [429], "1"
    assert connect().list("Pod", "ttg")
    first, second = server.asked
    assert second - first >= 1.0


@pytest.mark.parametrize("status", [400, 401, 403, 409, 422])
def test_a_refusal_is_final(server: Server, connect: Any, status: int) -> None:
    server.answers = [status]
    with pytest.raises(ApiRefused, match="said why") as refused:
        connect().list("Pod", "ttg")
    assert refused.value.status == status
    assert len(server.asked) == 1


def test_one_that_has_just_come_back_may_not_know_yet_who_may_what(server: Server, connect: Any) -> None:
    server.answers = [503, 403, 403]
    assert connect().list("Pod", "ttg")
    assert len(server.asked) == 4


def test_patience_is_over_at_last_and_begins_with_the_outage(server: Server, connect: Any) -> None:
    server.answers = [503] * 1000
    api = connect()
    api.patience_seconds = 0.5
    began = time.monotonic()
    with pytest.raises(ApiAway, match=r"can't do it just now.*503 said why"):
        api.list("Pod", "ttg")
    assert api.away is not None
    asked = len(server.asked)
    assert asked > 1
    # Who asks next has no patience of its own: the same outage has lasted too long already.
    with pytest.raises(ApiAway):
        api.list("Pod", "ttg")
    assert len(server.asked) == asked + 1
    server.answers.clear()
    assert api.list("Pod", "ttg")
    assert api.away is None
    assert time.monotonic() - began < 30


def test_it_is_told_while_it_is_waited_for(server: Server, connect: Any, monkeypatch: Any) -> None:
    server.answers = [503]
    seen: list[str | None] = []
    api = connect()
    sleep = time.sleep
    monkeypatch.setattr(api_module.time, "sleep", lambda seconds: (seen.append(api.away), sleep(seconds)))
    api.list("Pod", "ttg")
    assert seen
    assert "503" in str(seen[0])


@pytest.mark.parametrize(
    ("status", "exit_code"),
    [
        (
            {
                "status": "Failure",
                "message": "command terminated with exit code 137",
                "details": {"causes": [{"reason": "ExitCode", "message": "137"}]},
            },
            137,
        ),
        ({"status": "Failure", "message": "exec: sh: executable file not found in $PATH"}, None),
    ],
)
def test_a_command_that_failed_is_no_success(status: dict[str, Any], exit_code: int | None) -> None:
    with pytest.raises(CommandFailed, match=r"exit code 137|not found") as failed:
        _check_status(status, "a command in pod w")
    assert failed.value.exit_code == exit_code
    _check_status({"status": "Success"}, "a command in pod w")
