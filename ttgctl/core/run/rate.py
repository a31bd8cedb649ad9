"""How fast something grows, over its last seconds."""

from __future__ import annotations

from collections import deque


class Rate:
    """Growth of a count per second over a sliding window."""

    def __init__(self, *, window_seconds: float = 5.0) -> None:
        self._window_seconds = window_seconds
        self._points: deque[tuple[float, float]] = deque()

    def add(self, at: float, count: float) -> None:
        """``at`` in seconds of any clock that does not go back."""
        self._points.append((at, count))
        # The newest point outside the window stays: growth is measured from there.
        while len(self._points) > 2 and self._points[1][0] <= at - self._window_seconds:
            self._points.popleft()

    def per_second(self) -> float:
        """0 while fewer than two points are known."""
        if len(self._points) < 2:
            return 0.0
        (first_at, first), (last_at, last) = self._points[0], self._points[-1]
        return max(0.0, (last - first) / (last_at - first_at)) if last_at > first_at else 0.0
