"""Printed glyphs: the format of the handwritten digits, and legible ones."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from residual_ssl.tasks.segmentation.glyphs import DIGITS, LETTERS, printed_glyphs


def test_format_balance_and_determinism() -> None:
    images, labels = printed_glyphs(LETTERS, 48, np.random.default_rng(0))
    again, _ = printed_glyphs(LETTERS, 48, np.random.default_rng(0))
    assert images.shape == (48, 8, 8)
    assert images.dtype == np.float32
    assert 0 <= images.min() < images.max() <= 1
    assert (np.bincount(labels) == 3).all()
    assert np.array_equal(images, again)


def test_one_letter_can_be_told_from_another() -> None:
    images, labels = printed_glyphs(LETTERS, 640, np.random.default_rng(0))
    model = KNeighborsClassifier(1).fit(images[:480].reshape(480, -1), labels[:480])
    assert model.score(images[480:].reshape(160, -1), labels[480:]) > 0.85


def test_printed_digits_resemble_written_ones_only_in_part() -> None:
    images, labels = printed_glyphs(DIGITS, 400, np.random.default_rng(0))
    written = load_digits()
    model = KNeighborsClassifier(3).fit(images.reshape(400, -1), labels)
    assert 0.3 < model.score(written.data / 16, written.target) < 0.9
