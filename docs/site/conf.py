"""The site: `make docs` arranges README and docs/ under build/site. The source folder is the repository."""

from pathlib import Path
from typing import Any

project = "residual_ssl"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "residual_ssl"
root_doc = "README"
include_patterns = ["*.md", "docs/**.md", "docs/**/*.md", "benchmarks/README.md", "benchmarks/results/*.md"]
include_patterns += ["examples/*.md", "examples/*/README.md", ".github/SECURITY.md"]
exclude_patterns = [".venv*/**", ".*_cache/**", ".hypothesis/**", "build/**", "runs/**", "**/node_modules"]
html_additional_pages = {"index": "to_readme.html"}
templates_path = ["templates"]
myst_heading_anchors = 4
autodoc_typehints = "none"
autodoc_member_order = "groupwise"
napoleon_use_ivar = True
suppress_warnings = ["myst.header"]  # generated pages have headings of the third level below the title

CONTENTS = {
    "Start": [
        "docs/site/five_minutes",
        "docs/site/own_data",
        "docs/which_selector",
        "docs/site/formats",
        "docs/site/faq",
    ],
    "Do": [
        "docs/wrapping",
        "docs/site/published_benchmark",
        "docs/site/fewer_gpus",
        "docs/site/adding",
        "examples/README",
        "docs/tasks",
        "docs/pools",
        "docs/notebooks/README",
    ],
    "Understand": ["docs/convex_program", "docs/selectors", "docs/methods", "docs/diagnostics", "docs/architecture"],
    "Trust": [
        "docs/reliability",
        "docs/benchmarks",
        "benchmarks/README",
        ".github/SECURITY",
        "CHANGELOG",
        "CONTRIBUTING",
    ],
    "Look up": ["docs/site/api", "docs/glossary"],
}


def add_contents(app: Any, name: str, source: list[str]) -> None:
    """The tree of pages, at the end of the README; results of benchmarks below the page on them."""
    if name == "README":
        source[0] += "".join(tree(pages, caption) for caption, pages in CONTENTS.items())
    if name == "benchmarks/README":
        results = sorted(Path(app.srcdir, "benchmarks", "results").glob("*.md"))
        source[0] += tree([f"benchmarks/results/{path.stem}" for path in results], "Results")
    if name == "examples/README":
        source[0] += tree(["examples/keypoints/README", "examples/series/README"], "Examples")


def tree(pages: list[str], caption: str) -> str:
    """A hidden table of contents in MyST."""
    listed = "\n".join(f"/{page}" for page in pages)
    return f"\n\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```\n"


def skipped(app: Any, what: str, name: str, found: Any, skip: bool, options: Any) -> bool | None:
    """Methods that scikit-learn gives to every estimator refer to pages of its own."""
    return True if name.endswith("_request") else None


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", add_contents)
    app.connect("autodoc-skip-member", skipped)
