"""A draw of labelled images under which every class has labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from residual_ssl.errors import ConfigError


def draw_covering(present: Sequence[frozenset[int]], count: int, seed: int) -> list[int]:
    """Draw ``count`` images such that as many classes as possible are seen, the rare ones first.

    As long as a class is uncovered: of the images that hold the rarest uncovered class (that of the fewest images) the
    one with the most uncovered classes, at random among equals. The rest is drawn uniformly. With ``count`` no less
    than the number of classes that occur, all of these are covered. With one seed, a smaller draw is part of every
    larger one.

    Args:
        present: for each image, the classes that it holds.
        count: images to draw, 1 … their number.
        seed: of the draw.

    Returns:
        Positions in ``present``, ascending.

    Raises:
        ConfigError: a count outside 1 … the number of images.

    Example:
        >>> images = [frozenset({0}), frozenset({0}), frozenset({0, 1}), frozenset({0}), frozenset({2})]
        >>> draw_covering(images, 2, seed=0)
        [2, 4]
    """
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= len(present):
        raise ConfigError(f"labelled: got {count!r}, expected 1 … {len(present)}, the training images that have a mask")
    order = torch.randperm(len(present), generator=torch.Generator().manual_seed(seed)).tolist()
    position_of = {image: position for position, image in enumerate(order)}
    holders: dict[int, list[int]] = {}
    for image in order:
        for label in present[image]:
            holders.setdefault(label, []).append(image)
    uncovered = set(holders)
    drawn: list[int] = []
    while uncovered and len(drawn) < count:
        rarest = min(uncovered, key=lambda label: (len(holders[label]), label))
        best = max(holders[rarest], key=lambda image: (len(present[image] & uncovered), -position_of[image]))
        drawn.append(best)
        uncovered -= present[best]
    taken = set(drawn)
    rest = [image for image in order if image not in taken]
    return sorted(drawn + rest[: count - len(drawn)])
