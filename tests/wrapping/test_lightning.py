"""A selector in a Lightning module, whose checkpoints hold its memory."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.wrapped_loops import Rule, classifier, labelled_and_two_views, run, shown
from pytorch_lightning import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader

from residual_ssl import ConvexSelector, FixedThreshold, Selector
from residual_ssl.selection import FreeMatchThreshold

LOOP = shown("Lightning")
# Lightning's own, about loaders without workers and modules without loggers, are not what is tested.
pytestmark = pytest.mark.filterwarnings("ignore")


def module(code: str, rule: Any = None, model: nn.Module | None = None) -> LightningModule:
    made = run(code, LightningModule=LightningModule, FixedThreshold=rule)["FixMatch"]
    return made(model or classifier())


def trainer(epochs: int = 1) -> Trainer:
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    return Trainer(accelerator="cpu", max_epochs=epochs, **dict.fromkeys(quiet, False))


def fitted(learner: LightningModule, epochs: int = 1, ckpt_path: Path | None = None) -> Trainer:
    """The trainer after epochs of four steps."""
    loader = DataLoader(labelled_and_two_views(), batch_size=None)
    run_by = trainer(epochs)
    run_by.fit(learner, loader, ckpt_path=ckpt_path)
    return run_by


def test_three_lines_change() -> None:
    assert len(LOOP.added) == 3


def test_the_rule_of_the_module_trains_it_as_it_did_before() -> None:
    rule = Rule(FixedThreshold, threshold=True)
    before, after = module(LOOP.before), module(LOOP.after, rule)
    fitted(before)
    fitted(after)
    assert not torch.equal(before.model.weight, classifier().weight)
    assert all(0 < coverage < 1 for coverage in rule.coverage)
    torch.testing.assert_close(after.model.state_dict(), before.model.state_dict())


@pytest.mark.parametrize("make", [ConvexSelector, FreeMatchThreshold])
def test_any_other_rule_goes_in_its_place(make: type[Selector]) -> None:
    rule = Rule(make)
    before, after = module(LOOP.before), module(LOOP.after, rule)
    fitted(before)
    fitted(after)
    assert len(rule.coverage) == 4
    assert all(0 < coverage <= 1 for coverage in rule.coverage)
    assert not torch.allclose(after.model.weight, before.model.weight, rtol=1e-3)


def test_a_checkpoint_holds_the_memory_of_the_rule_and_training_goes_on_from_it(tmp_path: Path) -> None:
    rule = Rule(FreeMatchThreshold)
    whole, first, second = (module(LOOP.after, rule) for _ in range(3))
    fitted(whole, 2)
    fitted(first).save_checkpoint(tmp_path / "last.ckpt")
    saved = torch.load(tmp_path / "last.ckpt", weights_only=False)["state_dict"]
    assert torch.equal(saved["selector.mean"], first.selector.mean)
    assert saved["selector.distribution"].shape == (3,)
    assert not torch.equal(first.selector.mean, whole.selector.mean)
    fitted(second, 2, ckpt_path=tmp_path / "last.ckpt")
    torch.testing.assert_close(second.state_dict(), whole.state_dict())


def test_the_memory_rests_during_validation() -> None:
    class Judging(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.selector = FreeMatchThreshold(momentum=0.5)
            self.selector(torch.randn(8, 3))

        def validation_step(self, logits: torch.Tensor, index: int) -> None:
            assert self.selector(logits).coverage > 0

    learner = Judging()
    before = copy.deepcopy(learner.selector.state_dict())
    trainer().validate(learner, DataLoader(5 * torch.randn(32, 3), batch_size=8), verbose=False)
    assert all(torch.equal(value, before[name]) for name, value in learner.selector.state_dict().items())
