"""PastPoints against a list that forgets its head."""

import torch

from residual_ssl.selection.points.past_points import PastPoints


def test_it_holds_the_last_valid_points() -> None:
    past, remembered = PastPoints(10, confidence=torch.float32, label=torch.int64), []
    generator = torch.Generator().manual_seed(0)
    for _ in range(6):
        confidence = torch.rand(2, 4, generator=generator)
        label = torch.randint(5, (2, 4), generator=generator)
        valid = torch.rand(2, 4, generator=generator) < 0.6
        past.add(valid, confidence=confidence, label=label)
        remembered += list(zip(confidence[valid].tolist(), label[valid].tolist(), strict=True))
        held = list(zip(past.confidence[past.filled].tolist(), past.label[past.filled].tolist(), strict=True))
        assert sorted(held) == sorted(remembered[-10:])


def test_of_more_points_than_it_holds_it_takes_an_even_sample() -> None:
    past = PastPoints(10, confidence=torch.float32)
    past.add(torch.ones(25, dtype=torch.bool), confidence=torch.arange(25) / 25)
    torch.testing.assert_close(past.confidence[past.filled], torch.arange(0, 25, 3) / 25)
