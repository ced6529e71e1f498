"""Values of files as inputs in [0, 1], their statistics, and pictures of them."""

import numpy as np
import pytest
import torch
from torch import Tensor

from residual_ssl.data import Sample
from residual_ssl.errors import ConfigError, DataError
from residual_ssl.perturbations import Photometric
from residual_ssl.tasks.image_channels import ImageChannels


def samples(*images: Tensor) -> list[Sample]:
    return [Sample(image, None, str(number)) for number, image in enumerate(images)]


def test_statistics_are_those_of_the_scaled_training_images() -> None:
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(2, 30, 40, generator=generator) * torch.tensor([[[10.0]], [[4000.0]]]) for _ in range(3)]
    images[0][0, 0, 0] = float("nan")
    found = ImageChannels(2).settled(samples(*images[:1]), samples(*images[1:]))
    together = torch.stack(images).double().transpose(0, 1).flatten(1).numpy()
    low, high = np.nanpercentile(together, [0.1, 99.9], axis=1)
    np.testing.assert_allclose(found["value_range"], [low, high], rtol=1e-5)
    scaled = np.nan_to_num(((together - low[:, None]) / (high - low)[:, None]).clip(0, 1))
    np.testing.assert_allclose(found["mean"], scaled.mean(1), rtol=1e-4)
    np.testing.assert_allclose(found["std"], scaled.std(1), rtol=1e-4)


def test_settled_statistics_make_inputs_of_mean_0_and_deviation_1() -> None:
    image = torch.randn(3, 50, 60, generator=torch.Generator().manual_seed(1)) * 100 + 500
    known = ImageChannels(3, **ImageChannels(3).settled(samples(image)))
    view = known.normalisation(known.scaled(image))
    assert view.mean((1, 2)).abs().max() < 1e-4
    assert (view.std((1, 2)) - 1).abs().max() < 1e-3
    assert known.settled(samples(image)) == {}


def test_bytes_keep_their_range_whatever_values_they_have() -> None:
    image = torch.full((4, 5, 5), 51, dtype=torch.uint8)
    image[0, 0] = 102
    found = ImageChannels(4).settled(samples(image))
    assert found["value_range"] == [[0.0] * 4, [255.0] * 4]
    assert found["mean"] == pytest.approx([0.24, 0.2, 0.2, 0.2])
    assert found["std"] == pytest.approx([0.08, 1 / 255, 1 / 255, 1 / 255], rel=1e-3)
    assert torch.equal(ImageChannels(4).scaled(image), image)


def test_given_values_are_kept_and_what_lies_outside_is_cut_off() -> None:
    channels = ImageChannels(1, value_range=[100, 300])
    image = torch.tensor([[[0.0, 100.0, 150.0, 400.0, float("nan")]]])
    assert channels.scaled(image).flatten().tolist() == [0, 0, 0.25, 1, 0]
    assert channels.settled(samples(image))["value_range"] == [[100.0], [300.0]]
    assert ImageChannels(None).settled(samples(image)) == {}


def test_what_contradicts_itself_or_is_not_known_is_said() -> None:
    with pytest.raises(ConfigError, match=r"mean, std: got 3 values for 5 channels"):
        ImageChannels(5, mean=[0.5] * 3, std=[0.5] * 3)
    with pytest.raises(ConfigError, match=r"value_range: got \[3, 3\], expected \[low, high\]"):
        ImageChannels(1, value_range=[3, 3])
    with pytest.raises(ConfigError, match=r"shown: got \[0, 1, 5\], expected three of the channels 0 to 4"):
        ImageChannels(5, shown=[0, 1, 5])
    with pytest.raises(ConfigError, match="value_range: is not known"):
        ImageChannels(2).scaled(torch.zeros(2, 3, 3))
    with pytest.raises(ConfigError, match="mean, std: are not known"):
        ImageChannels(2).normalisation(torch.zeros(2, 3, 3))
    with pytest.raises(DataError, match="1 of 2 training images have more than 8 bits"):
        ImageChannels(1).settled(samples(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.uint8)))


def test_pictures_show_three_channels_stretched_and_fewer_as_grey() -> None:
    image = torch.arange(5.0)[:, None, None] * 1000 + torch.linspace(0, 1, 101)[None, None]
    red, green, _ = ImageChannels(5).picture(image)  # each by its own values
    assert torch.allclose(red, green, atol=1e-3)
    one = ImageChannels(5, shown=[4, 0, 1]).picture(image * torch.tensor([1, 1, 1, 1, -1.0])[:, None, None])
    assert one[0, 0, 0] == 1  # the fifth channel falls where the others rise
    assert one[1, 0, 0] == 0
    assert one[1, 0, 50].item() == pytest.approx(0.5, abs=1e-3)
    assert one[1, 0, 2].item() == pytest.approx(0, abs=1e-3)  # the 2nd percentile is black
    grey = ImageChannels(2).picture(image[:2])
    assert grey.shape == (3, 1, 101)
    assert torch.equal(grey[0], grey[1])
    photo = torch.randint(0, 256, (3, 4, 4), dtype=torch.uint8)
    assert torch.equal(ImageChannels(None).picture(photo), photo.float() / 255)


def test_views_that_are_of_rgb_are_said_once_where_there_is_no_rgb() -> None:
    assert ImageChannels(3).remarks(Photometric()) == []
    assert ImageChannels(4).remarks(None, Photometric(jitter=(0.2, 0.2, 0, 0), grayscale=0)) == []
    (remark,) = ImageChannels(4).remarks(Photometric(), Photometric())
    assert remark.startswith("dataset.channels: images of 4 channels; views change brightness")
