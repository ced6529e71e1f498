"""The files that a command writes into a folder: never outside it, never over a file of another origin."""

from __future__ import annotations

from pathlib import Path

from residual_ssl.errors import ConfigError

_LIST = ".predictions"


class WrittenFiles:
    """A folder for results, which remembers what was written there.

    Names go into the hidden list ``.predictions`` before the files are written, so that an interrupted command may
    write them again, and nothing else is ever replaced.

    Args:
        folder: made when the first file is written.
    """

    def __init__(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"out: {folder} is a file, expected a folder for the results; give another one")
        self.folder = folder
        listed = folder / _LIST
        self._known = set(listed.read_text(encoding="utf-8").splitlines()) if listed.is_file() else set()

    def claim(self, path: Path) -> Path:
        """A file to write: inside the folder, and new or written by an earlier call.

        Raises:
            ConfigError: a file outside the folder, or one that is there and of another origin.
        """
        name = path.relative_to(self.folder).as_posix()
        home = self.folder.resolve()
        if not path.parent.resolve().is_relative_to(home) or path.is_symlink():
            raise ConfigError(f"out: {path} leads out of {self.folder}; give another folder")
        if name not in self._known:
            if path.exists():
                raise ConfigError(
                    f"out: {path} is there and was not written by predict; it is kept. Give another folder"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            with (self.folder / _LIST).open("a", encoding="utf-8") as listed:
                listed.write(f"{name}\n")
            self._known.add(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
