"""Templates to pages: everything that is filled in is escaped, and a page's policy allows its own script alone."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_TEMPLATES = Path(__file__).parent / "templates"


def rendered(template: str, **values: Any) -> str:
    """A page of ``templates/``, which needs nothing but itself.

    Every value is escaped. The page's content security policy lets images come from the page alone and no script run
    but the one that sorts tables, so that text of a stranger's could not act even if it became part of the page.

    Args:
        template: file in ``templates/``: a page extends ``page.html``; ``table.html`` is a table alone, for notebooks.
        **values: what the template names.
    """
    script = (_TEMPLATES / "sort.js").read_text(encoding="utf-8").strip()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _environment().get_template(template).render(script_digest=digest, **values)


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
