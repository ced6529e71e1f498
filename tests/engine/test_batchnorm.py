"""BatchNorm across processes, as far as one process on a CPU shows it."""

import pytest
import torch
from torch import nn

from residual_ssl.algorithms.consistency import frozen_running_statistics
from residual_ssl.engine.setup.batchnorm import average_running_statistics, synchronised
from residual_ssl.errors import ConfigError
from residual_ssl.models import DeepLabV3Plus, SmallSegmenter

GPU = torch.device("cuda")


def statistics(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items() if "running" in name}


@pytest.mark.parametrize("kind", ["small", "mobilenet"])
def test_synchronised_layers_compute_the_same_under_the_same_names(kind: str) -> None:
    torch.manual_seed(0)
    # timm's layers hold an activation, which torch's own conversion drops.
    make = SmallSegmenter if kind == "small" else lambda k: DeepLabV3Plus(k, backbone="mobilenetv2_100", weights=None)
    model, x = make(3), torch.rand(2, 3, 64, 64)
    names, before = list(model.state_dict()), model(x)[0].detach()
    converted = synchronised(model, GPU, 2)
    layers = [m for m in converted.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert layers
    assert all(isinstance(layer, nn.SyncBatchNorm) for layer in layers)
    assert list(converted.state_dict()) == names
    torch.testing.assert_close(converted(x)[0].detach(), before, rtol=1e-4, atol=1e-4)


def test_frozen_statistics_and_frozen_layers_stay_so_when_synchronised() -> None:
    torch.manual_seed(0)
    x = torch.rand(4, 3, 32, 32)
    model = synchronised(SmallSegmenter(3), GPU, 2)
    before, in_training = statistics(model), model(x).detach()
    assert any(not torch.equal(before[name], value) for name, value in statistics(model).items())
    before = statistics(model)
    with frozen_running_statistics(model):
        torch.testing.assert_close(model(x).detach(), in_training)
    assert all(torch.equal(before[name], value) for name, value in statistics(model).items())

    frozen = synchronised(SmallSegmenter(3, freeze_batchnorm=True), GPU, 2).train()
    before = statistics(frozen)
    frozen(x)
    moved = {name.split(".")[0] for name, value in statistics(frozen).items() if not torch.equal(before[name], value)}
    assert moved == {"decoder"}


def test_one_process_keeps_its_layers_and_processes_on_cpus_are_refused() -> None:
    model = SmallSegmenter(3)
    assert synchronised(model, torch.device("cpu"), 1) is model
    with pytest.raises(ConfigError, match=r"sync_batchnorm: got true for processes on CPUs"):
        synchronised(model, torch.device("cpu"), 2)
    before = statistics(model)
    average_running_statistics(model)
    assert all(torch.equal(before[name], value) for name, value in statistics(model).items())
