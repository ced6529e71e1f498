"""ClassMix: which points of which labelled sample are pasted."""

import pytest
import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.perturbations import ClassMix
from residual_ssl.runtime.global_batch import batch_part


def labels(count: int, classes: int = 7, seed: int = 0) -> Tensor:
    """Blocks of random classes, some of them without a label; the first sample has one class alone."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(classes + 1, (count, 3, 4), generator=generator)
    ids[ids == classes] = 255
    ids[0] = 2
    return ids.repeat_interleave(4, 1).repeat_interleave(4, 2)


def test_half_of_the_classes_of_a_sample_are_pasted_whole_and_nothing_else() -> None:
    target = labels(40)
    torch.manual_seed(0)
    partners, pasted = ClassMix()(target, 7, 255, 40)
    assert partners.tolist() == list(range(40))
    for mask, where in zip(target, pasted, strict=True):
        present = set(mask.unique().tolist()) - {255}
        shown = set(mask[where].tolist())
        assert len(shown) == (len(present) + 1) // 2
        assert 255 not in shown
        for k in shown:
            assert where[mask == k].all()
        for k in present - shown:
            assert not where[mask == k].any()


def test_every_class_is_drawn_as_often_as_any_other() -> None:
    target = torch.arange(4).repeat(4000, 1)
    torch.manual_seed(0)
    _, pasted = ClassMix()(target, 4, 255, 4000)
    assert pasted.float().mean(0).tolist() == pytest.approx([0.5] * 4, abs=0.03)


def test_a_sample_without_labels_pastes_nothing() -> None:
    target = torch.full((2, 5, 5), 255)
    assert not ClassMix()(target, 7, 255, 2)[1].any()


@pytest.mark.parametrize("count", [4, 8, 16])
@pytest.mark.parametrize("parts", [2, 4])
def test_parts_of_a_batch_are_pasted_as_the_whole(parts: int, count: int) -> None:
    target = labels(8)

    def shown(parts: int) -> tuple[Tensor, Tensor]:
        found = []
        for part, own in enumerate(target.chunk(parts)):
            with batch_part(5, part, parts):
                partners, pasted = ClassMix()(own, 7, 255, count // parts)
                found.append((own[partners], pasted))
        sources, masks = zip(*found, strict=True)
        return torch.cat(sources), torch.cat(masks)

    for divided, whole in zip(shown(parts), shown(1), strict=True):
        assert torch.equal(divided, whole)


def test_labels_of_whole_samples_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"target: got shape \(4,\), expected \(B, \*S\)"):
        ClassMix()(torch.zeros(4, dtype=torch.int64), 3, 255, 4)
