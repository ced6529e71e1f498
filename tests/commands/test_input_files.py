"""Files behind files, folders and patterns, and results that never overwrite each other."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residual_ssl.commands.input_files import input_files, result_names
from residual_ssl.errors import MissingDataError

SUFFIXES = (".png", ".jpg")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    images = ("top.png", "a/1.png", "a/2.JPG", "b/1.png", "b/deep/3.jpg", "a[1]/4.png")
    for name in (*images, "a/notes.txt", "empty/x.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*inputs: str) -> list[str]:
    return [file.as_posix() for file in input_files(inputs, SUFFIXES)]


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (["top.png"], ["top.png"]),
        (["a/notes.txt"], ["a/notes.txt"]),  # asked for by name
        (["a"], ["a/1.png", "a/2.JPG"]),
        (["b"], ["b/1.png"]),  # not the folders below
        (["?/*.png"], ["a/1.png", "b/1.png"]),
        (["b/**/*"], ["b/1.png", "b/deep/3.jpg"]),
        (["**/*.png"], ["a/1.png", "a[1]/4.png", "b/1.png", "top.png"]),
        (["**"], ["a/1.png", "a/2.JPG", "a[1]/4.png", "b/1.png", "b/deep/3.jpg", "top.png"]),
        (["a[1]"], ["a[1]/4.png"]),  # a folder of that name, not a pattern
        (["b", "a", "b/1.png", "./a/../b/*.png"], ["b/1.png", "a/1.png", "a/2.JPG"]),  # each once
    ],
)
def test_files_folders_and_patterns(tree: Path, inputs: list[str], expected: list[str]) -> None:
    got = [(tree / name).resolve() for name in found(*inputs)]
    assert got == [(tree / name).resolve() for name in expected]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("nowhere.png", "inputs: nowhere.png is neither a file nor a folder, and no pattern"),
        ("nowhere/*.png", r"inputs: nowhere/\*.png matches no file ending in .png, .jpg"),
        ("a/*.txt", r"inputs: a/\*.txt matches no file ending in"),
        ("empty", "inputs: empty holds no file ending in .png, .jpg"),
    ],
)
def test_an_entry_without_files_is_named(tree: Path, entry: str, message: str) -> None:
    with pytest.raises(MissingDataError, match=message):
        found("top.png", entry)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["/x/a/1.png"], ["1"]),
        (["/x/a/1.png", "/x/a/2.jpg"], ["1", "2"]),
        (["/x/a/1.png", "/x/b/1.png"], ["a/1", "b/1"]),
        (["/x/1.png", "/x/b/c/1.png"], ["1", "b/c/1"]),
        (["/x/a/1.png", "/x/a/1.jpg", "/x/b/2.png"], ["a/1.png", "a/1.jpg", "b/2.png"]),
        (["/x/a/1.png", "/x/a/1.v2.png"], ["1", "1.v2"]),
        ([], []),
    ],
)
def test_results_keep_the_folders_below_the_shared_one(files: list[str], expected: list[str]) -> None:
    assert [name.as_posix() for name in result_names([Path(file) for file in files])] == expected


@given(st.lists(st.from_regex(r"/[ab](/[ab]){0,2}/[xy](\.[pq]){0,2}", fullmatch=True), unique=True, min_size=1))
def test_no_two_files_share_a_name(files: list[str]) -> None:
    names = result_names([Path(file) for file in files])
    assert len(set(names)) == len(files)
