"""A trained run as a folder to give to others, or as a repository on the Hugging Face hub."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from residual_ssl import __version__
from residual_ssl.engine.records.result import RESULT_NAME
from residual_ssl.engine.records.shared_model import is_shared, write_shared
from residual_ssl.engine.records.trained import TrainedRun
from residual_ssl.errors import MissingDataError

_PIPELINES = {"miou": "image-segmentation", "accuracy": "image-classification"}


def share(trained: TrainedRun, folder: str | Path) -> Path:
    """Write a trained network with the memory of its selector, its configuration and a model card.

    Args:
        trained: as of ``load_run``.
        folder: made where it is not there.

    Returns:
        The folder, which :func:`residual_ssl.load`, ``evaluate`` and ``predict`` take in place of a run.

    Raises:
        CheckpointError: a folder that cannot be written to.
    """
    place = Path(folder)
    told = _told(trained)
    description = {
        "library": f"residual_ssl {__version__}",
        "class_names": list(trained.task.class_names),
        "step": trained.step,
        "metrics": told.get("metrics", {}),
        "config": {**trained.config, "run_dir": "run", "init_from": None},
    }
    selector = getattr(trained.algorithm, "selector", None)
    write_shared(place, trained.model, selector, description, model_card(trained, told))
    return place


def push_to_hub(trained: TrainedRun, repository: str, *, private: bool = False, token: str | None = None) -> str:
    """Write a trained run to a repository on the Hugging Face hub, made where it is not there.

    Args:
        trained: as of ``load_run``.
        repository: ``"user/model"``.
        private: whether a new repository is.
        token: of the user; None for the one that ``hf auth login`` stored.

    Returns:
        Its address.

    Raises:
        MissingDataError: the hub refuses, or cannot be reached.
    """
    import tempfile

    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    hub = HfApi(token=token)
    with tempfile.TemporaryDirectory() as folder:
        share(trained, folder)
        try:
            address = hub.create_repo(repository, private=private, exist_ok=True)
            hub.upload_folder(repo_id=repository, folder_path=folder, commit_message="Model of residual_ssl")
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise MissingDataError(f"hub: {repository} cannot be written, {error}") from error
    return str(address)


def fetched(run: str | Path) -> Path:
    """The folder of a run: the path itself, or that of a repository on the hub, downloaded once.

    Raises:
        MissingDataError: neither, or the hub cannot be reached.
    """
    if Path(run).exists():
        return Path(run)
    parts = str(run).split("/")
    if len(parts) != 2 or not all(parts) or str(run).startswith((".", "~")):
        raise MissingDataError(f"run: got {run}, no such run directory, shared folder or checkpoint file")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(str(run), allow_patterns=["*.safetensors", "*.json"]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise MissingDataError(
            f"run: got {run}, no such run directory, shared folder or checkpoint file, and the hub does not give it: "
            f"{said}"
        ) from error
    if not is_shared(folder):
        raise MissingDataError(f"run: {run} on the hub holds no model that residual-ssl share wrote")
    return folder


def model_card(trained: TrainedRun, told: Mapping[str, Any]) -> str:
    """Markdown with the front matter of the hub: what the network does, how well, from what, and how to use it."""
    task, metric = trained.task, trained.task.main_metric
    algorithm, selector = trained.algorithm, getattr(trained.algorithm, "selector", None)
    metrics = {name: value for name, value in told.get("metrics", {}).items() if name != "step"}
    pipeline = [f"pipeline_tag: {_PIPELINES[metric]}"] if metric in _PIPELINES else []
    rows = [f"| {name} | {value:.2f} |" for name, value in metrics.items()]
    measured = ["", "## Metrics", "", "On the validation set, in per cent.", "", "| metric | |", "|---|---|", *rows]
    origin = [f"- {name}: `{told[name]}`" for name in ("command", "commit", "python") if told.get(name)]
    return "\n".join(
        [
            "---",
            "library_name: residual_ssl",
            *pipeline,
            "tags: [semi-supervised-learning]",
            "---",
            "",
            f"# {type(trained.model).__name__}, {len(task.class_names)} classes",
            "",
            f"Trained with residual_ssl {__version__}: {type(algorithm).__name__}"
            + (f" with {type(selector).__name__}" if selector is not None else "")
            + f", step {trained.step}.",
            "",
            f"Classes: {', '.join(task.class_names)}.",
            *(measured if rows else []),
            "",
            "## Use",
            "",
            "```python",
            "import residual_ssl",
            "",
            'model = residual_ssl.load("FOLDER OR user/model")',
            'result = model.predict("photo.jpg")  # result.label, result.confidence, result.trust, result.plot()',
            "```",
            "",
            "`model.safetensors` holds the network and the memory of the selector, `config.json` all settings.",
            *(["", "## Origin", "", *origin] if origin else []),
            "",
        ]
    )


def _told(trained: TrainedRun) -> dict[str, Any]:
    """What ``result.json`` beside the checkpoint says of the evaluation at its step, and of its origin."""
    try:
        record: dict[str, Any] = json.loads((trained.path.parent / RESULT_NAME).read_text())
    except (OSError, ValueError):
        return {}
    found = [record.get(name) or {} for name in ("best", "last")]
    record["metrics"] = next((metrics for metrics in found if metrics.get("step") == trained.step), {})
    return record
