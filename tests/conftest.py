"""Fixtures for data that is kept beside the repository; tests that need it skip where it is absent."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Modules of the tests that configurations name, in processes started from here as well.
os.environ["RESIDUAL_SSL_ALLOW"] = "helpers,waves"

# Examples are the same in every run; ``long``, of the slow tier, takes many.
settings.register_profile("fast", deadline=None, derandomize=True)
settings.register_profile("long", deadline=None, derandomize=True, max_examples=2500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


def _beside_the_repository(folder: str) -> Path:
    variable = f"RESIDUAL_SSL_{folder.upper()}"
    path = Path(os.environ.get(variable, Path(__file__).parents[2] / "shared" / folder))
    if not path.is_dir():
        pytest.skip(f"{path} is absent; set {variable} to the folder")
    return path


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real datasets: camvid, pacs, samples, splits…"""
    return _beside_the_repository("data")


@pytest.fixture(scope="session")
def shared_golden() -> Path:
    """Reference vectors."""
    return _beside_the_repository("golden")


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """Pretrained weights."""
    return _beside_the_repository("weights")
