"""An adapter is short, and the page on methods says how long each of them is."""

import io
import runpy
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "methods.md").read_text()
SCRIPT = runpy.run_path(str(ROOT / "docs" / "scripts" / "task_tables.py"))
# Kinds of tasks, of which nothing below them may know.
WORDS = ("detection", "keypoint", "segmentation", "classification", "adaptation")
# A network that gives one feature vector a sample, and scikit-learn's check of labels.
ALLOWED = ("ClassificationModel", "classification_model", "check_classification_targets")


def test_the_page_is_as_the_script_writes_it() -> None:
    assert SCRIPT["rewritten"](PAGE) == PAGE, "docs/methods.md is out of date: run python docs/scripts/task_tables.py"
    edited = PAGE.replace(
        "| [`DetectionTask`](../tasks/detection/task.py) | ", "| [`Detector`](../tasks/detection/task.py) | "
    )
    assert edited != PAGE
    assert SCRIPT["rewritten"](edited) == PAGE


def test_an_adapter_takes_at_most_150_lines_of_code() -> None:
    lengths = {name: SCRIPT["lines_of_code"](path.read_text()) for name, path in SCRIPT["adapters"]()}
    assert {"SegmentationTask", "ClassificationTask", "FeatureTask", "DetectionTask", "KeypointTask"} <= set(lengths)
    assert {name: length for name, length in lengths.items() if length > 150} == {}


def test_lines_of_code_are_those_that_hold_some() -> None:
    texts = '"""Text.\n\nMore."""\n\nimport os  # why\n\n# comment\n'
    source = f'{texts}\ndef f():\n    """Text."""\n    return (\n        1\n    )\n'
    assert SCRIPT["lines_of_code"](source) == 5  # import, def, and the three of the return


def test_the_engine_algorithms_and_selectors_run_no_line_that_names_a_task() -> None:
    found = []
    for folder in ("engine", "algorithms", "selection", "perturbations", "losses"):
        for path in sorted((ROOT / "residual_ssl" / folder).rglob("*.py")):
            for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
                named = token.type == tokenize.NAME and any(word in token.string.lower() for word in WORDS)
                if named and token.string not in ALLOWED:
                    found.append(f"{path.relative_to(ROOT)}:{token.start[0]} {token.string}")
    assert found == []
