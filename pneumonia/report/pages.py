"""Pages and slides: Jinja2 templates, filled from the result files.

templates/README.md becomes README.md, every other page there docs/<name>, and slides/presentation.typ presentation.pdf.
What a template may say is in numbers.py.
"""

from __future__ import annotations

import re
import shutil
import traceback
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory

import jinja2
import matplotlib
import typst

from ..config import ROOT, PneumoniaError
from ..records import save_atomically
from ..results import Results
from ..studies import STUDIES
from ..studies.study import Table
from .numbers import Names, build_names
from .tables import TABLES, escape_typst, render_markdown, render_typst

TEMPLATES = Path(__file__).parent / "templates"
SLIDES = ROOT / "slides" / "presentation.typ"
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"  # the slides have the typeface of the figures
PICTURE = re.compile(r'picture\("(\w+)"')
FIRST_LINE = "<!-- Written by `make report`. Change the words in {template}; the numbers come from results/. -->\n"


def write_reports(results: Results) -> None:
    """Write README.md, docs/ and presentation.pdf in the home of the run: a simulated run has its own."""
    write_pages(results)
    write_slides(results)


# --- templates ---------------------------------------------------------------------------------------------------


class Markup(str):
    """Text for Typst that is not to be escaped."""


class Unknown(jinja2.StrictUndefined):
    """A name that is not there: an error that suggests those like it."""

    top_level: tuple[str, ...] = ()

    def __init__(self, hint=None, obj=jinja2.runtime.missing, name=None, exc=jinja2.UndefinedError):
        known = self.top_level
        if obj is not jinja2.runtime.missing:
            known = list(obj) if hasattr(obj, "keys") else [name for name in dir(obj) if not name.startswith("_")]
        near = ", ".join(get_close_matches(str(name), known, n=3, cutoff=0.5)) or "none is similar"
        super().__init__(hint or f"no name '{name}' here; nearest: {near}", obj, name, exc)


class Filler:
    """Fills templates for one run, in Markdown or for Typst. Names are looked up when a template asks for them."""

    def __init__(self, results: Results, typeset: bool = False):
        def render(table: Table) -> str:
            return Markup(render_typst(table)) if typeset else render_markdown(table)

        def render_study(name: str) -> dict[str, str] | Names:
            if name in TABLES:
                return render(TABLES[name](results))
            return {key: render(table) for key, table in STUDIES[name].tabulate(results).items()}

        names = build_names(results) | {"table": Names((*TABLES, *STUDIES), render_study)}
        self.environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader([TEMPLATES, SLIDES.parent]),
            undefined=type("Unknown", (Unknown,), {"top_level": tuple(names)}),
            finalize=_escape if typeset else None,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self.environment.globals |= names

    def fill(self, text: str) -> str:
        """`text` with every {{ name }} replaced. PneumoniaError naming a name that is not there, and the line."""
        return self._render("the text", lambda: self.environment.from_string(text))

    def fill_file(self, name: str) -> str:
        """A template by the name of its file. PneumoniaError naming file and line of what cannot be filled."""
        return self._render(name, lambda: self.environment.get_template(name))

    def _render(self, name: str, load) -> str:
        try:
            return load().render()
        except jinja2.TemplateSyntaxError as error:
            raise PneumoniaError(f"{name}, line {error.lineno}: {error.message}") from error
        except (jinja2.UndefinedError, PneumoniaError) as error:
            lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if _is_template(frame, name)]
            raise PneumoniaError(f"{name}, line {lines[-1] if lines else '?'}: {error}") from error


def _is_template(frame: traceback.FrameSummary, name: str) -> bool:
    return frame.filename == "<template>" or Path(frame.filename).name == name


def _escape(value: object) -> str:
    return value if isinstance(value, Markup) else escape_typst(str(value))


# --- pages -------------------------------------------------------------------------------------------------------


def build_pages(results: Results) -> dict[str, str]:
    """Path from the home of the run -> text, of README.md and all of docs/; simulated ones say so at their top."""
    filler, pages = Filler(results), {}
    mark = f"\n# {filler.environment.globals['run']['marker']}\n\n" if results.run.is_simulated else ""
    for template in sorted(TEMPLATES.glob("*.md")):
        path = template.name if template.name == "README.md" else f"docs/{template.name}"
        first = FIRST_LINE.format(template=template.relative_to(ROOT).as_posix())
        pages[path] = first + mark + filler.fill_file(template.name)
    return pages


def write_pages(results: Results) -> list[Path]:
    """Write every page into the home of the run. Returns: their paths."""
    paths = []
    for name, text in build_pages(results).items():
        path = results.run.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save_atomically(path, lambda partial, text=text: partial.write_text(text, encoding="utf-8", newline="\n"))
        paths.append(path)
    return paths


# --- slides ------------------------------------------------------------------------------------------------------


def write_slides(results: Results) -> Path:
    """Write presentation.pdf in the home of the run; raises as `typeset_slides`."""
    path = results.run.home / "presentation.pdf"
    pdf = typeset_slides(results)
    save_atomically(path, lambda partial: partial.write_bytes(pdf))
    return path


def typeset_slides(results: Results, format: str = "pdf", ppi: float | None = None) -> bytes | list[bytes]:
    """slides/presentation.typ with the numbers and images/ of the run: a PDF, or ("png") one picture per slide.

    The same results and images give the same bytes: no date, and only fonts that come with matplotlib.
    Raises: PneumoniaError naming a missing image, an unknown name, or what typst refused.
    """
    filled = Filler(results, typeset=True).fill_file(SLIDES.name)
    with TemporaryDirectory() as folder:
        copy_images(results, sorted(set(PICTURE.findall(filled))), Path(folder))
        source = Path(folder) / SLIDES.name
        source.write_text(filled, encoding="utf-8")
        try:
            fonts = {"font_paths": [FONTS], "ignore_system_fonts": True}
            return typst.compile(source, root=folder, timestamp=0, format=format, ppi=ppi, **fonts)
        except typst.TypstError as error:
            raise PneumoniaError(f"slides/{SLIDES.name}: {error.message}; correct the template") from error


def copy_images(results: Results, stems: list[str], folder: Path) -> None:
    """Copy images/<stem>.png next to the template: typst reads nothing outside its root."""
    images = results.run.images_dir
    missing = [f"{stem}.png" for stem in stems if not (images / f"{stem}.png").exists()]
    if missing:
        raise PneumoniaError(f"{images}: {', '.join(missing)} missing; run `python -m pneumonia figures`, then again")
    for stem in stems:
        shutil.copyfile(images / f"{stem}.png", folder / f"{stem}.png")
