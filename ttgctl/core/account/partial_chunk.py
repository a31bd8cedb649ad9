"""A chunk of which some parameters have values, or are given up, and others not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class PartialChunk:
    """What is known of each of its ``size`` parameters, by offset: a value beats having been given up."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._ok = bytearray(size)
        self._given_up = bytearray(size)
        self.ok = 0
        self.failed = 0
        self.redelivered = 0

    @property
    def whole(self) -> bool:
        """Whether every parameter has a value."""
        return self.ok == self.size

    @property
    def accounted(self) -> bool:
        """Whether every parameter has a value or is given up."""
        return self.ok + self.failed == self.size

    def new(self, offsets: Iterable[int]) -> list[int]:
        """Those of the offsets that have no value yet."""
        return [offset for offset in offsets if not self._ok[offset]]

    def have(self, offsets: Iterable[int]) -> None:
        """These have values from now on; none of them had one."""
        for offset in offsets:
            self._ok[offset] = 1
            self.ok += 1
            self.failed -= self._given_up[offset]

    def give_up(self, offsets: Iterable[int]) -> None:
        """These are given up, unless they have values."""
        for offset in offsets:
            if not self._given_up[offset]:
                self._given_up[offset] = 1
                self.failed += not self._ok[offset]

    def gains_from(self, offsets: Iterable[int]) -> bool:
        """Whether computing these again can give a value that there is not."""
        return any(not self._ok[offset] for offset in offsets)

    @property
    def outstanding_offsets(self) -> tuple[int, ...]:
        """Those that have no value and are not given up; empty where that is true of all of them."""
        if not self.ok and not self.failed:
            return ()
        return tuple(o for o in range(self.size) if not self._ok[o] and not self._given_up[o])

    @property
    def failed_offsets(self) -> Sequence[int]:
        """Those that are given up and have no value."""
        return [o for o in range(self.size) if self._given_up[o] and not self._ok[o]]
