"""A permutation of any length that takes no memory: the order of a data set too large for a list of its places."""

from __future__ import annotations

from residual_ssl.runtime.seeds import mixed_seed

_ROUNDS = 4


class KeyedPermutation:
    """The numbers 0 … N-1 in an order that follows from a seed; each place is computed when it is asked for.

    A Feistel network of four rounds on the next even power of two, which is walked until it falls below N: a bijection
    for every N, some microseconds a number. Not every one of the N! orders is among its orders.

    Args:
        length: N ≥ 1.
        seed: of the order.

    Source: Luby and Rackoff, SIAM J. Comput. 17 (1988); cycle walking, Black and Rogaway, CT-RSA 2002.

    Example:
        >>> order = KeyedPermutation(10, seed=1)
        >>> sorted(order[i] for i in range(10)) == list(range(10))
        True
    """

    def __init__(self, length: int, seed: int) -> None:
        self.length = length
        self._half = max(1, (max(length - 1, 1).bit_length() + 1) // 2)
        self._mask = (1 << self._half) - 1
        self._keys = [mixed_seed(seed, number) for number in range(_ROUNDS)]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, place: int) -> int:
        if not 0 <= place < self.length:
            raise IndexError(place)
        place = self._through(place)
        while place >= self.length:
            place = self._through(place)
        return place

    def _through(self, value: int) -> int:
        left, right = value >> self._half, value & self._mask
        for key in self._keys:
            left, right = right, left ^ mixed_seed(key, right) & self._mask
        return left << self._half | right
