"""Runs the python blocks of the Markdown pages, and puts what they print and draw under them.

All blocks of a page run in order, in one namespace, in a fresh process whose folder is empty. An exception or a
Python warning in a block is a warning of the build, which fails there. A block that cannot run has the comment
`<!-- not run: the reason -->` before it. By hand: `python docs/_ext/executed.py docs/how_to/gradients.md`; and
`python -m sphinx -D run_blocks=0 docs build/site` is for a quick look at words, without outputs.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from markdown_it import MarkdownIt

NOT_RUN = re.compile(r"<!--\s*not run:\s*(\S.*?)\s*-->", re.DOTALL)
# Deprecations inside other libraries are theirs; all other warnings are the page's.
FILTERS = ["-W", "error", "-W", "ignore::DeprecationWarning", "-W", "ignore::PendingDeprecationWarning"]


class Block(NamedTuple):
    """One python block: the line of its first line of code (from 0), its code, and why it isn't run, if it isn't."""

    line: int
    code: str
    not_run: str | None


def blocks(text: str) -> list[Block]:
    """The python blocks of a Markdown text, in order."""
    found: list[Block] = []
    reason = None
    for token in MarkdownIt().parse(text):
        if token.type == "html_block" and (match := NOT_RUN.search(token.content)):
            reason = match[1]
        elif token.type == "fence":
            if token.info.strip() == "python":
                found.append(Block(token.map[0] + 1, token.content, reason))
            reason = None
        elif token.type == "inline":
            reason = None
    return found


def run(page: Path, pictures: Path, timeout: float = 1200.0) -> dict[str, Any]:
    """What the blocks of a page print and draw: {"outputs": [...], "error": text or None, "line": its block's line}.

    Figures go to the folder `pictures` as PNG files.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "result.json")
        (work := Path(folder, "work")).mkdir()
        command = [sys.executable, *FILTERS, __file__, "--into", str(result), "--pictures", str(pictures), str(page)]
        root = str(Path(__file__).parents[2])
        paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": paths, "MPLBACKEND": "agg"}
        done = subprocess.run(
            command, cwd=work, env=environment, capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode or not result.exists():
            return {"outputs": [], "error": f"its process ended with {done.returncode}: {done.stderr}", "line": 0}
        return json.loads(result.read_text())


def _run_here(page: Path, pictures: Path) -> dict[str, Any]:
    """The work of the fresh process: every block in one namespace, up to the first that raises."""
    import contextlib
    import io
    import traceback

    namespace: dict[str, Any] = {"__name__": "__main__"}
    outputs = []
    for number, block in enumerate(blocks(page.read_text())):
        if block.not_run:
            outputs.append({"text": "", "figures": []})
            continue
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile("\n" * block.line + block.code, str(page), "exec"), namespace)
            figures = _figures(pictures / f"{page.stem}-{number}")
        except BaseException:
            return {"outputs": outputs, "error": traceback.format_exc(limit=-6), "line": block.line}
        outputs.append({"text": printed.getvalue(), "figures": figures})
    return {"outputs": outputs, "error": None, "line": 0}


def _figures(stem: Path) -> list[dict[str, str]]:
    """Saves and closes the figures that are open: a file and a description of each."""
    if "matplotlib.pyplot" not in sys.modules:
        return []
    plt = sys.modules["matplotlib.pyplot"]
    kept = []
    for place, number in enumerate(plt.get_fignums()):
        figure = plt.figure(number)
        titles = [figure.get_suptitle(), *(axes.get_title() for axes in figure.axes)]
        labels = [f"{axes.get_ylabel()} against {axes.get_xlabel()}" for axes in figure.axes]
        stem.parent.mkdir(parents=True, exist_ok=True)
        path = f"{stem}-{place}.png"
        figure.savefig(path, dpi=160, bbox_inches="tight", facecolor="white")
        kept.append({"file": path, "alt": next(filter(None, [*titles, *labels]))})
    plt.close("all")
    return kept


# The extension of Sphinx: pages run beside the reading of sources, as many at a time as there are cores.


class _Runs:
    """The runs under way, by page, and how long they took."""

    def __init__(self) -> None:
        self.futures: dict[str, Future] = {}
        self.seconds: dict[str, float] = {}

    def start(self, app: Any, env: Any, names: list[str]) -> None:
        if not app.config.run_blocks:
            return
        pool = ThreadPoolExecutor(app.config.run_blocks)
        for name in names:
            page = Path(env.doc2path(name))
            if page.suffix == ".md" and any(not block.not_run for block in blocks(page.read_text())):
                pictures = Path(app.outdir).parent / "pictures" / Path(name).parent
                self.futures[name] = pool.submit(self._timed, name, page, pictures)

    def _timed(self, name: str, page: Path, pictures: Path) -> dict[str, Any]:
        start = time.perf_counter()
        try:
            return run(page, pictures)
        except subprocess.TimeoutExpired as error:
            return {"outputs": [], "error": str(error), "line": 0}
        finally:
            self.seconds[name] = time.perf_counter() - start

    def show(self, app: Any, doctree: Any) -> None:
        """Puts the outputs of a page under its blocks."""
        from docutils import nodes
        from sphinx.util import logging

        name = app.env.docname
        if name not in self.futures:
            return
        result = self.futures.pop(name).result()
        warn = logging.getLogger(__name__).warning
        if result["error"]:
            warn("a python block failed:\n%s", result["error"], location=(name, result["line"]))
        shown = [node for node in doctree.findall(nodes.literal_block) if node.get("language") == "python"]
        expected = blocks(Path(app.env.doc2path(name)).read_text())
        if [node.astext().strip() for node in shown] != [block.code.strip() for block in expected]:
            warn("its python blocks are not those that were run: use plain fences only", location=name)
            return
        for node, output in zip(shown, result["outputs"], strict=False):
            below = []
            if text := output["text"].strip("\n"):
                below.append(nodes.literal_block(text, text, language="text"))
                below[-1]["classes"].append("output")
            for figure in output["figures"]:
                uri = os.path.relpath(figure["file"], Path(app.env.doc2path(name)).parent)
                below.append(nodes.image(uri=Path(uri).as_posix(), alt=figure["alt"], classes=["output"]))
            node.parent[node.parent.index(node) + 1 : node.parent.index(node) + 1] = below

    def told(self, app: Any, error: Exception | None) -> None:
        from sphinx.util import logging

        longest = sorted(self.seconds.items(), key=lambda item: -item[1])[:3]
        logging.getLogger(__name__).info(
            "pages with python blocks run: %d, the longest %s",
            len(self.seconds),
            ", ".join(f"{name} {seconds:.0f} s" for name, seconds in longest),
        )


def setup(app: Any) -> dict[str, Any]:
    runs = _Runs()
    app.add_config_value("run_blocks", os.cpu_count() or 1, "", types=frozenset({int}))  # pages at a time; 0: none
    app.connect("env-before-read-docs", runs.start)
    app.connect("doctree-read", runs.show, priority=100)  # before Sphinx collects the images
    app.connect("build-finished", runs.told)
    return {"parallel_read_safe": False, "parallel_write_safe": True}


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the python blocks of Markdown pages.")
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--pictures", type=Path, default=Path(tempfile.gettempdir()) / "pictures")
    parser.add_argument("--into", type=Path, help="in the fresh process: where the result goes")
    arguments = parser.parse_args()
    if arguments.into:
        arguments.into.write_text(json.dumps(_run_here(arguments.pages[0], arguments.pictures)))
        return
    failed = False
    for page in arguments.pages:
        start = time.perf_counter()
        result = run(page.resolve(), arguments.pictures.resolve())
        for block, output in zip(blocks(page.read_text()), result["outputs"], strict=False):
            drawn = "".join(f"[{figure['file']}: {figure['alt']}]\n" for figure in output["figures"])
            print(f"--- {page}:{block.line + 1} {'not run: ' + block.not_run if block.not_run else ''}")
            print(f"{output['text']}{drawn}", end="")
        if result["error"]:
            failed = True
            print(result["error"])
        print(f"=== {page}: {time.perf_counter() - start:.1f} s{', FAILED' if result['error'] else ''}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
