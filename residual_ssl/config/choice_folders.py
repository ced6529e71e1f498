"""The folders that choices of a configuration lie in: the library's, those of installed extensions, the user's."""

from __future__ import annotations

from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from residual_ssl.config.allowed_targets import EXTENSIONS
from residual_ssl.errors import MissingDataError

_CONFIGS = "configs"


def choice_folders(config_dir: str | Path | None = None) -> list[Path]:
    """Folders laid out as the library's configurations; of two files of one name the one in the first folder counts.

    Args:
        config_dir: the user's folder; None for none.

    Raises:
        MissingDataError: ``config_dir`` is not a folder.
    """
    from residual_ssl import configs

    if config_dir is not None and not Path(config_dir).is_dir():
        raise MissingDataError(f"config_dir: got {config_dir}, no such folder")
    return [Path(configs.__path__[0]), *extension_folders(), *([] if config_dir is None else [Path(config_dir)])]


def extension_folders() -> list[Path]:
    """Folders ``configs`` inside the packages that an entry point of the group ``residual_ssl.extensions`` names.

    Nothing of the packages is imported.
    """
    packages = dict.fromkeys(point.module.split(".", 1)[0] for point in entry_points(group=EXTENSIONS))
    found = []
    for package in packages:
        try:
            spec = find_spec(package)  # of a package at the top, which is not imported for it
        except (ImportError, ValueError):
            continue
        places = [] if spec is None else list(spec.submodule_search_locations or [])
        found += [folder for place in places if (folder := Path(place) / _CONFIGS).is_dir()]
    return found
