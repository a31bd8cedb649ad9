"""The three kinds of answer that a check of a machine or cluster gives."""

from __future__ import annotations

from ttgctl.core.ports import Check


def ok(check: str, detail: str) -> Check:
    return Check(check=check, status="ok", detail=detail)


def warn(check: str, detail: str, fix: str) -> Check:
    return Check(check=check, status="warn", detail=detail, fix=fix)


def fail(check: str, detail: str, fix: str) -> Check:
    return Check(check=check, status="fail", detail=detail, fix=fix)
