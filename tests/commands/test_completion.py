"""Completion in a shell: what is offered for a line that is being typed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from residual_ssl.cli import command_parser, main
from residual_ssl.cli.completion import SHELLS, candidates
from residual_ssl.commands.catalogue import GROUPS, choices
from residual_ssl.config.settings import Settings


def offered(*words: str) -> list[str]:
    return candidates(command_parser(), words)


def test_commands_options_and_choices_of_options_are_offered() -> None:
    assert offered("pr") == ["predict"]
    assert "train" in offered("")
    assert offered("train", "--print") == ["--print-config"]
    assert offered("predict", "run", "--format", "") == ["onnx", "png", "pt2"]
    assert offered("list", "opt") == ["optimizers"]


def test_keys_and_the_choices_of_groups_are_offered() -> None:
    assert offered("train", "algorithm=uni") == ["algorithm=unimatch", "algorithm=unimatch_v2"]
    assert offered("train", "selector=") == [f"selector={name}" for name in choices("selectors")]
    assert {f"{group}=" for group in GROUPS.values()} <= set(offered("train", ""))
    assert {f"{name}=" for name in ("steps", "seed", "run_dir")} <= set(offered("train", "--quiet", ""))
    assert {word.rstrip("=") for word in offered("train", "")} <= {*Settings.__dataclass_fields__, *GROUPS.values()}
    assert offered("explain", "opt") == ["optimizer"]
    assert offered("explain", "steps", "opt") == ["optimizer="]


def test_own_choices_are_offered(tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "mine.yaml").write_text("# Mine.\n")
    assert "dataset=mine" in offered("train", "--config-dir", str(tmp_path), "dataset=m")
    assert offered("train", "--config-dir", "/nowhere", "dataset=m") == []


def test_values_that_are_files_are_left_to_the_shell() -> None:
    assert offered("predict", "runs/a", "--out", "x") == []
    assert offered("train", "dataset.root=/da") == []


def test_candidates_need_no_torch() -> None:
    code = "import sys; from residual_ssl.cli import main; main(['complete', 'train', 'algorithm=c'])"
    script = f"{code}; sys.exit('torch' in sys.modules or 'hydra' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "algorithm=csl\n" in done.stdout


@pytest.mark.parametrize("shell", sorted(SHELLS))
def test_each_shell_understands_its_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    check = "--no-execute" if shell == "fish" else "-n"
    subprocess.run([shell, check], input=script, text=True, check=True)


def test_bash_completes_what_stands_behind_an_equal_sign(tmp_path: Path) -> None:
    (tmp_path / "residual-ssl").write_text(f'#!/bin/sh\nexec {sys.executable} -m residual_ssl "$@"\n')
    (tmp_path / "residual-ssl").chmod(0o755)
    for line, expected in (
        ("residual-ssl train algorithm=unim", ["unimatch", "unimatch_v2"]),
        ("residual-ssl expl", ["explain"]),
        ("residual-ssl train ste", ["steps="]),
    ):
        script = (
            f"export PATH={tmp_path}:$PATH; {SHELLS['bash']}\n"
            f"COMP_LINE='{line}' COMP_POINT={len(line)}; compopt() {{ :; }}; _residual_ssl; "
            "printf '%s\\n' \"${COMPREPLY[@]}\""
        )
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout.split() == expected
