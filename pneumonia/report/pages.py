"""README blocks, model card and slides: text with placeholders + facts and tables from the result files."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import typst

from ..config import ROOT, PneumoniaError
from ..records import save_atomically
from ..results import Results
from .facts import build_facts, fill
from .gallery import can_be_drawn, draw_figure
from .tables import build_tables, build_typst_tables, escape_typst

BLOCK_TEXTS = ROOT / "slides" / "readme_blocks.md"
MODEL_CARD = ROOT / "slides" / "model_card.md"
SLIDES = ROOT / "slides" / "presentation.typ"
BLOCK = re.compile(r"<!-- generated:(\w+) -->\n(.*?)<!-- /generated:\1 -->", re.DOTALL)
MARKER = re.compile(r"<!-- /?generated:\w+ -->")
PICTURE = re.compile(r'picture\("(\w+)"')


def write_reports(results: Results) -> None:
    """Bring README.md, MODEL_CARD.md and presentation.pdf up to date; a simulated run writes its own three."""
    update_readme(results)
    write_model_card(results)
    build_slides(results)


# --- README ------------------------------------------------------------------------------------------------------


def update_readme(results: Results) -> Path:
    """Put the generated blocks into README.md of the run's home, and change nothing else in it.

    A simulated run leaves README.md alone and writes the blocks, marked SIMULATED, to a README.md in its own home.
    Raises: PneumoniaError when a marker is missing, unknown, repeated or not closed.
    """
    path, blocks = results.run.home / "README.md", build_blocks(results)
    if results.run.is_simulated:
        parts = [f"# {build_facts(results)['run.marker']}", *(f"## {name}\n\n{text}" for name, text in blocks.items())]
        text = "\n\n".join(parts) + "\n"
    else:
        found = find_blocks(path, blocks)
        text = BLOCK.sub(lambda match: wrap_block(match[1], blocks[match[1]]), found)
    save_atomically(path, lambda partial: partial.write_text(text, encoding="utf-8", newline="\n"))
    return path


def check_readme(results: Results) -> list[str]:
    """Names of the blocks of README.md that differ from what the result files say."""
    path, blocks = results.run.home / "README.md", build_blocks(results)
    text = find_blocks(path, blocks)
    return [match[1] for match in BLOCK.finditer(text) if match[0] != wrap_block(match[1], blocks[match[1]])]


def build_blocks(results: Results) -> dict[str, str]:
    """Name -> Markdown of every block in slides/readme_blocks.md, filled."""
    facts = build_facts(results)
    texts = BLOCK_TEXTS.read_text(encoding="utf-8").split("\n## ")[1:]
    named = (text.partition("\n") for text in texts)
    facts |= build_tables(results, facts)
    return {name.strip(): fill(text.strip(), facts) for name, _, text in named}


def wrap_block(name: str, text: str) -> str:
    return f"<!-- generated:{name} -->\n{text}\n<!-- /generated:{name} -->"


def find_blocks(path: Path, blocks: dict[str, str]) -> str:
    """The text of a README that has each of `blocks` exactly once.

    Raises: PneumoniaError naming the file and the marker.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PneumoniaError(f"{path}: missing; restore it with `git checkout README.md`") from error
    names = [match[1] for match in BLOCK.finditer(text)]
    for name in dict.fromkeys([*blocks, *names]):
        if name not in blocks:
            raise PneumoniaError(
                f"{path}: block '{name}' has no text in {BLOCK_TEXTS.name}; remove its markers or add it"
            )
        if names.count(name) != 1:
            what = "is there twice" if name in names else "is missing or not closed"
            raise PneumoniaError(
                f"{path}: <!-- generated:{name} --> {what}; have it once, with <!-- /generated:{name} -->"
            )
    if len(MARKER.findall(text)) != 2 * len(names):
        raise PneumoniaError(
            f"{path}: a marker <!-- generated:... --> stands alone; pair it with <!-- /generated:... -->"
        )
    return text


def write_model_card(results: Results) -> Path:
    """Fill slides/model_card.md into MODEL_CARD.md in the run's home; a simulated one says so at its top."""
    path, facts = results.run.home / "MODEL_CARD.md", build_facts(results)
    text = fill(MODEL_CARD.read_text(encoding="utf-8"), facts | build_tables(results, facts))
    mark = f"# {facts['run.marker']}\n\n" if results.run.is_simulated else ""
    save_atomically(path, lambda partial: partial.write_text(mark + text, encoding="utf-8", newline="\n"))
    return path


# --- slides ------------------------------------------------------------------------------------------------------


def build_slides(results: Results) -> Path:
    """Write presentation.pdf in the run's home; raises as `typeset_slides`."""
    path = results.run.home / "presentation.pdf"
    pdf = typeset_slides(results)
    save_atomically(path, lambda partial: partial.write_bytes(pdf))
    return path


def typeset_slides(results: Results, format: str = "pdf", ppi: float | None = None) -> bytes | list[bytes]:
    """slides/presentation.typ with the facts and images/ of the run: a PDF, or ("png") one picture per slide.

    The same results and images give the same bytes: no date, and only the fonts that come with typst.
    Raises: PneumoniaError naming a missing image, an unknown fact, or what typst refused.
    """
    template, facts = SLIDES.read_text(encoding="utf-8"), build_facts(results)
    filled = fill(template, {k: escape_typst(text) for k, text in facts.items()} | build_typst_tables(results, facts))
    with TemporaryDirectory() as folder:
        copy_images(results, sorted(set(PICTURE.findall(template))), Path(folder))
        source = Path(folder) / SLIDES.name
        source.write_text(filled, encoding="utf-8")
        try:
            return typst.compile(source, root=folder, ignore_system_fonts=True, timestamp=0, format=format, ppi=ppi)
        except typst.TypstError as error:
            raise PneumoniaError(f"slides/{SLIDES.name}: {error.message}; correct the template") from error


def copy_images(results: Results, stems: list[str], folder: Path) -> None:
    """Copy images/<stem>.png next to the template: typst reads nothing outside its root.

    What was not measured in this run has no picture; one that says so is drawn in its place.
    """
    images, drawn = results.run.images_dir, [stem for stem in stems if can_be_drawn(results, stem)]
    missing = [f"{stem}.png" for stem in drawn if not (images / f"{stem}.png").exists()]
    if missing:
        raise PneumoniaError(f"{images}: {', '.join(missing)} missing; run `python -m pneumonia figures`, then again")
    for stem in drawn:
        shutil.copyfile(images / f"{stem}.png", folder / f"{stem}.png")
    for stem in set(stems) - set(drawn):
        draw_figure(results, stem, folder)
