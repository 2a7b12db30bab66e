"""Slow, obvious KLL: a list a level, lazily compacted, with the coin of the kernel."""

from __future__ import annotations

from itertools import pairwise


def coin(number: int) -> int:
    """MurmurHash3's finaliser on 32 bits, its last bit."""
    z: int = number * 0x9E3779B1 % 2**32
    z = (z ^ z >> 16) * 0x85EBCA6B % 2**32
    z = (z ^ z >> 13) * 0xC2B2AE35 % 2**32
    return int((z ^ z >> 16) & 1)


def capacity(k: int, depth: int) -> int:
    """K (2/3)**depth, rounded half up, at least 8."""
    return max(8, int(2 * k * 2**depth // 3**depth + 1) // 2)


class Kll:
    """``levels[h]`` has the items that stand for 2**h values; level 0 newest first, the others sorted."""

    def __init__(self, k: int) -> None:
        self.k, self.n, self.coins = k, 0, 0
        self.levels: list[list[float]] = [[]]

    def add(self, x: float) -> None:
        """Take a value; room is made when every place is taken."""
        if sum(map(len, self.levels)) == sum(capacity(self.k, d) for d in range(len(self.levels))):
            self._compact()
        self.levels[0].insert(0, x)
        self.n += 1

    def _compact(self) -> None:
        top = len(self.levels) - 1
        h = next(h for h, items in enumerate(self.levels) if len(items) >= capacity(self.k, top - h))
        if h == top:
            self.levels.append([])
        items = self.levels[h]
        odd = len(items) % 2
        pairs = list(pairwise(sorted(items[odd:])))[::2]
        self.coins += 1
        promoted = [pair[coin(self.coins)] for pair in pairs]
        self.levels[h] = items[:odd]
        self.levels[h + 1] = sorted(promoted + self.levels[h + 1])
