"""SegmentationModel: one forward with a branch of perturbed features, frozen statistics, clear errors."""

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from residual_ssl.errors import InvalidInputError
from residual_ssl.models import SegmentationModel
from residual_ssl.models.segmentation_model import resize


class ThreeLevels(SegmentationModel):
    """Three levels that the decoder adds up, with BatchNorm on both sides."""

    def __init__(self, freeze_batchnorm: bool = False) -> None:
        super().__init__(nn.Sequential(nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6)), 4, freeze_batchnorm)
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Conv2d(6, 4, 1)
        self.encoded: list[int] = []
        self.decoded: list[int] = []

    def encode(self, x):
        self.encoded.append(len(x))
        feature = self.encoder(x)
        return [feature, 2 * feature, 3 * feature]

    def decode(self, features, size):
        self.decoded.append(len(features[0]))
        return resize(self.head(self.norm(torch.relu(features[0] + features[1] + features[2]))), size)


@pytest.fixture
def model() -> ThreeLevels:
    torch.manual_seed(0)
    return ThreeLevels()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(5, 3, 6, 7, generator=torch.Generator().manual_seed(1))


def test_without_perturbation_the_logits_alone_come_back(model, images):
    assert model(images).shape == (5, 4, 6, 7)


def test_an_identity_perturbation_gives_equal_logits_in_eval_mode(model, images):
    model.eval()
    logits, perturbed = model(images, nn.Identity()).tensor_split([len(images)])
    torch.testing.assert_close(perturbed, logits)
    torch.testing.assert_close(logits, model(images))


@pytest.mark.parametrize("first", [0, 2, 4])
def test_only_the_items_from_start_on_are_perturbed(model, images, first):
    model.eval()
    logits, perturbed = model(images, lambda feature: -feature, start=first).tensor_split([len(images)])
    a, b, c = model.encode(images[first:])
    torch.testing.assert_close(perturbed, model.decode([-a, b, -c], (6, 7)))
    torch.testing.assert_close(logits, model(images))


def test_both_branches_share_one_encoder_pass(model, images):
    model(images, nn.Dropout2d(0.5), start=2)
    assert model.encoded == [5]


def test_in_train_mode_the_decoder_normalises_clean_and_perturbed_features_together(model, images):
    model.train()
    logits, perturbed = model(images, lambda feature: 0.1 * feature, start=3).tensor_split([len(images)])
    features = [torch.cat([f, s * f[3:]]) for f, s in zip(model.encode(images), (0.1, 1.0, 0.1), strict=True)]
    torch.testing.assert_close(torch.cat([logits, perturbed]), model.decode(features, (6, 7)))


@pytest.mark.parametrize("first", [0, 2, 4])
def test_perturbed_only_gives_the_second_of_the_pair_without_decoding_the_first(model, images, first):
    model.eval()
    _, expected = model(images, lambda feature: -feature, start=first).tensor_split([len(images)])
    model.decoded.clear()
    perturbed = model(images, lambda feature: -feature, start=first, perturbed_only=True)
    torch.testing.assert_close(perturbed, expected)
    assert model.decoded == [5 - first]


def test_perturbed_only_in_train_mode_normalises_all_images_and_the_perturbed_features_alone(model, images):
    model.train()
    perturbed = model(images, lambda feature: 0.1 * feature, start=3, perturbed_only=True)
    features = [s * f[3:] for f, s in zip(model.encode(images), (0.1, 1.0, 0.1), strict=True)]
    torch.testing.assert_close(perturbed, model.decode(features, (6, 7)))


def test_gradients_of_perturbed_only_reach_encoder_and_head(model, images):
    model(images, nn.Dropout2d(0.5), perturbed_only=True).square().sum().backward()
    assert model.encoder[0].weight.grad.abs().sum() > 0
    assert model.head.weight.grad.abs().sum() > 0


def test_perturbed_only_without_a_perturbation_is_an_error(model, images):
    with pytest.raises(InvalidInputError, match="perturbed_only: got True without a perturbation, expected one"):
        model(images, perturbed_only=True)


def test_gradients_of_both_branches_reach_the_encoder(model, images):
    logits, perturbed = model(images, nn.Dropout2d(0.5), start=2).tensor_split([len(images)])
    from_clean = torch.autograd.grad(logits.square().sum(), model.encoder[0].weight, retain_graph=True)[0]
    from_perturbed = torch.autograd.grad(perturbed.square().sum(), model.encoder[0].weight)[0]
    assert from_clean.abs().sum() > 0
    assert from_perturbed.abs().sum() > 0


def test_distributed_data_parallel_sees_one_forward(model, images):
    def loss(logits):
        clean, perturbed = logits.tensor_split([len(images)])
        return clean.square().mean() + perturbed.square().mean()

    loss(model(images, torch.tanh, start=2)).backward()
    expected = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        loss(DistributedDataParallel(model)(images, torch.tanh, start=2)).backward()
    finally:
        dist.destroy_process_group()
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_frozen_batchnorm_keeps_the_encoders_statistics_and_not_the_decoders(images):
    model = ThreeLevels(freeze_batchnorm=True)
    for mode in (model, model.eval().train()):
        assert mode.training
        mode(images)
    norm = model.encoder[1]
    assert not norm.training
    assert norm.num_batches_tracked == 0
    torch.testing.assert_close(norm.running_mean, torch.zeros(6))
    torch.testing.assert_close(norm.running_var, torch.ones(6))
    assert model.norm.num_batches_tracked == 2


def test_frozen_batchnorm_still_learns_its_affine_parameters(images):
    model = ThreeLevels(freeze_batchnorm=True)
    model(images).square().sum().backward()
    assert model.encoder[1].weight.grad.abs().sum() > 0


def test_batchnorm_moves_without_the_option(model, images):
    model(images)
    assert model.encoder[1].training
    assert model.encoder[1].num_batches_tracked == 1


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (torch.zeros(3, 6, 7), "(3, 6, 7)"),
        (torch.zeros(2, 1, 6, 7), "(2, 1, 6, 7)"),
        (torch.zeros(2, 3, 6, 7, dtype=torch.uint8), "torch.uint8"),
    ],
)
def test_images_of_another_shape_or_dtype_are_named(model, x, said):
    with pytest.raises(InvalidInputError, match=r"^x: got") as raised:
        model(x)
    assert said in str(raised.value)


@pytest.mark.parametrize("first", [-1, 5])
def test_start_outside_the_batch_is_an_error(model, images, first):
    with pytest.raises(InvalidInputError, match=rf"start: got {first}, expected an index in \[0, 5\)"):
        model(images, nn.Identity(), start=first)


def test_no_class_is_an_error():
    class NoClass(ThreeLevels):
        def __init__(self):
            SegmentationModel.__init__(self, nn.Conv2d(3, 6, 1), num_classes=0)

    with pytest.raises(InvalidInputError, match="num_classes: got 0"):
        NoClass()


def test_a_model_without_decode_cannot_be_built():
    class NoDecoder(SegmentationModel):
        def encode(self, x):
            return [x]

    with pytest.raises(TypeError, match="decode"):
        NoDecoder(nn.Identity(), num_classes=2)


def test_resize_keeps_the_corners_and_interpolates_between_them():
    x = torch.tensor([[0.0, 3.0], [6.0, 9.0]])
    rows, columns = torch.linspace(0, 1, 5).unsqueeze(1), torch.linspace(0, 1, 4).unsqueeze(0)
    torch.testing.assert_close(resize(x[None, None], (5, 4))[0, 0], 6 * rows + 3 * columns)
