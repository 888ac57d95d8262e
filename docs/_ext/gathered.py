"""What lies elsewhere in the repository, brought to where Sphinx reads: notebooks as a gallery, and measured tables.

The copies keep their places relative to each other, so that links between them hold. Git ignores them.
"""

import base64
import json
import shutil
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
# The picture that shows a notebook in the gallery, counted from 0 among its own; the first one, if not said here.
THUMBNAIL = {"01_the_paper": 0}


def _copy(source: Path, target: Path, pattern: str) -> list[Path]:
    """Copies files, but only those that changed: what stays the same isn't read again by the next build."""
    target.mkdir(parents=True, exist_ok=True)
    files = {path.name: path for path in sorted(source.glob(pattern))}
    for path in target.glob(pattern):
        if path.name not in files:
            path.unlink()
    for name, path in files.items():
        if not (target / name).exists() or (target / name).read_bytes() != path.read_bytes():
            shutil.copyfile(path, target / name)
    return [target / name for name in files]


def _card(notebook: Path) -> str:
    """A card with a notebook's picture, title and first paragraph, which are stored in it."""
    cells = json.loads(notebook.read_text())["cells"]
    text = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    title, _, rest = text.partition("\n")
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    pictures = [data["image/png"] for data in outputs if "image/png" in data]
    thumbnail = notebook.parent / "thumbnails" / f"{notebook.stem}.png"
    thumbnail.parent.mkdir(exist_ok=True)
    thumbnail.write_bytes(base64.b64decode("".join(pictures[THUMBNAIL.get(notebook.stem, 0)])))
    paragraph = rest.strip().partition("\n\n")[0]
    return (
        f":::{{grid-item-card}} {title.removeprefix('# ')}\n:link: {notebook.stem}\n:link-type: doc\n"
        f":img-top: thumbnails/{notebook.stem}.png\n:img-alt: a figure of this notebook\n\n{paragraph}\n:::\n"
    )


def gather() -> None:
    """Fills docs/notebooks, its gallery page, and docs/benchmarks/results."""
    notebooks = _copy(ROOT / "notebooks", DOCS / "notebooks", "*.ipynb")
    cards = "\n".join(_card(notebook) for notebook in notebooks)
    names = "\n".join(notebook.stem for notebook in notebooks)
    page = (
        "# Notebooks\n\nLonger stories, each to be read from top to bottom. They are shown here as they lie in the\n"
        "repository's folder `notebooks`, with the outputs that are stored in them: the build of this site does not\n"
        "run them again, the tests do.\n\n"
        f"::::{{grid}} 1 2 2 3\n:gutter: 3\n\n{cards}\n::::\n\n```{{toctree}}\n:hidden:\n\n{names}\n```\n"
    )
    (DOCS / "notebooks" / "index.md").write_text(page)
    for pattern in ("*.md", "*.png"):
        _copy(ROOT / "benchmarks" / "results", DOCS / "benchmarks" / "results", pattern)


def setup(app: Any) -> dict[str, Any]:
    app.connect("builder-inited", lambda app: gather(), priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
