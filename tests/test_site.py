"""The documentation's own parts: that nothing public is left out, blocks run as written, and a broken site is seen."""

import re
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
sys.path.insert(0, str(DOCS / "_ext"))

import check_site  # noqa: E402
import executed  # noqa: E402
import public  # noqa: E402


def listed():
    """The names in the lists of docs/api, under their public paths."""
    for page in sorted((DOCS / "api").glob("*.rst")):
        module = None
        for line in page.read_text().splitlines():
            if line.startswith(".. currentmodule:: "):
                module = line.split()[-1]
            elif module and re.fullmatch(r" {3}\w+", line):
                yield f"{module}.{line.strip()}"


def test_every_public_name_is_listed_once_in_the_reference():
    """A new public name, one that `dir` shows, goes into a list of docs/api."""
    assert sorted(listed()) == sorted(public.names())


PAGE = """# A page

```python
import sys
x = 2
print("printed", x)
print("not shown", file=sys.stderr)
```

<!-- not run: it needs a cluster -->

```python
raise SystemExit
```

- in a list

  ```python
  print(x + 1, __name__)
  ```

```text
1 / 0
```
"""


def run(tmp_path, text):
    page = tmp_path / "page.md"
    page.write_text(text)
    return executed.run(page, tmp_path / "pictures")


def test_blocks_run_in_order_in_one_namespace(tmp_path):
    assert [block.not_run for block in executed.blocks(PAGE)] == [None, "it needs a cluster", None]
    result = run(tmp_path, PAGE)
    assert result["error"] is None
    assert [output["text"] for output in result["outputs"]] == ["printed 2\n", "", "3 __main__\n"]


@pytest.mark.parametrize("fault", ["1 / 0", "import warnings; warnings.warn('so')", "raise SystemExit"])
def test_a_block_that_fails_or_warns_is_an_error_at_its_line(tmp_path, fault):
    result = run(tmp_path, f"# Page\n\n```python\nx = 1\n```\n\n```python\nx = 2\n{fault}\n```\n")
    assert len(result["outputs"]) == 1
    assert 'page.md", line 9' in result["error"]
    assert result["line"] == 7


def test_a_comment_excuses_the_next_block_alone(tmp_path):
    text = "<!-- not run: no GPU here -->\n\nwords\n\n```python\nx = 1\n```\n"
    assert executed.blocks(text)[0].not_run is None
    assert executed.blocks("<!-- not run: -->\n\n```python\nx = 1\n```\n")[0].not_run is None


def test_figures_are_kept_with_words(tmp_path):
    text = "```python\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.title('Two points')\n```\n"
    (output,) = run(tmp_path, text)["outputs"]
    (figure,) = output["figures"]
    assert figure["alt"] == "Two points"
    assert Path(figure["file"]).read_bytes().startswith(b"\x89PNG")


def test_every_block_of_every_page_is_run_or_says_why_not():
    """A fence in other words ("py", "Python") would be shown and never run."""
    for page in [*DOCS.glob("*.md"), *DOCS.glob("*/*.md")]:
        assert not re.findall(r"^\s*```\s*(?:py|python3|Python|ipython|pycon)\b", page.read_text(), re.MULTILINE), page


GOOD = '<html><body id="jaxinertia.simulate"><a href="#top">x</a><a href="other.html#here">x</a></body></html>'
OTHER = '<html><body><p id="here"></p><img src="a.png" alt="a"/></body></html>'


def site(tmp_path, index):
    (tmp_path / "index.html").write_text(index)
    (tmp_path / "other.html").write_text(OTHER)
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "searchindex.js").write_text("")
    return [fault for fault in check_site.faults(tmp_path) if "is public" not in fault]


def test_a_sound_site_has_no_faults(tmp_path):
    assert site(tmp_path, GOOD) == []
    missing = {fault.split()[0] for fault in check_site.faults(tmp_path)}
    assert missing == set(public.names()) - {"jaxinertia.simulate"}


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ('<a href="gone.html">x</a>', "not there"),
        ('<a href="other.html#nowhere">x</a>', "no such place"),
        ('<img src="a.png"/>', "without words"),
        ('<img src="b.png" alt="b"/>', "not there"),
        ('<script src="https://example.org/x.js"></script>', "from the network"),
        ('<link rel="stylesheet" href="//example.org/x.css"/>', "from the network"),
    ],
)
def test_a_broken_site_is_told(tmp_path, part, words):
    (fault,) = site(tmp_path, GOOD.replace("</body>", f"{part}</body>"))
    assert words in fault


def test_docstrings_keep_what_they_say():
    """Bars, stars and underscores are no markup in them; examples stay as typed; further lines make items."""
    pytest.importorskip("sphinx")
    import docstrings

    given = [
        "|v|^2 and a*b, x_",
        "",
        "ts: times,",
        "    of a run.",
        "",
        "Example:",
        "    >>> a*b",
        "",
        "Source: a book.",
    ]
    expected = [r"\|v\|^2 and a\*b, x\_", "", "- **ts**: times,", "  of a run.", "", "Example:", "    >>> a*b", ""]
    assert docstrings.as_rst(given)[:8] == expected
    assert docstrings.as_rst(given)[8] == "**Source:** a book."
    assert docstrings.as_rst(["A table:", "", "    T  1", "    U  2"])[2:4] == ["::", ""]
