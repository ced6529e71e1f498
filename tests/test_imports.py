"""What is not used is not imported: a selector costs torch and nothing else."""

import subprocess
import sys

import pytest

HEAVY = (
    "accelerate", "cvxpy", "datasets", "hydra", "matplotlib", "pandas", "sklearn", "tensorboard", "timm",
    "torch._dynamo", "torchmetrics", "torchvision",
)  # fmt: skip


def imported(code: str) -> set[str]:
    """Which heavy modules a new process has after running code."""
    script = f"{code}\nimport sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import residual_ssl.selection",
        "import torch; from residual_ssl import ConvexSelector; ConvexSelector()(torch.randn(4, 3))",
        "import torch; from residual_ssl import FixedThreshold, TrustedMask; FixedThreshold()(torch.randn(4, 3))",
        "from residual_ssl import EMATeacher, Selection, Selector, prediction_features, selected_cross_entropy",
    ],
)
def test_a_selector_costs_torch_and_nothing_else(code: str) -> None:
    assert imported(code) == set()


def test_the_help_of_the_command_needs_not_even_torch() -> None:
    help_text = "try:\n    main(['--help'])\nfinally:\n    assert 'torch' not in sys.modules"
    script = f"import sys\nfrom residual_ssl.cli import main\n{help_text}"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 0
