"""What the page in the browser shows: HTML without styles and scripts of its own, which `app.POLICY` would not allow.

The page itself, its style and its script are in the folder `web`. Pictures travel within the answers, so that nothing
of an upload is kept once it is answered.
"""

from __future__ import annotations

import base64
import csv
import io
import math
from dataclasses import replace
from html import escape
from pathlib import Path
from string import Template
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..config import CLASS_NAMES, PneumoniaError
from ..evaluation.probability import predictive_values
from .command import NOT_FOR_CLINICAL_USE, printable
from .final_model import FinalModel
from .heatmap import CAPTION, OPACITY, STOPS, color_table, outline
from .reader import Answer, Reader
from .table import HEADER, describe_settings, encode_rows

WEB = Path(__file__).parent / "web"  # page.html, page.css, page.js
SHOWN = 1024  # pixels of the longer side: enough to look at, and quick to send
PREVALENCES = (0.01, 0.05, 0.15, 0.3, 0.5)  # rows of the table, besides the prevalence of the slider
RATES = ("sensitivity", "specificity")


class Rate(NamedTuple):
    """A share with its 95 % interval, and of how many radiographs."""

    value: float
    low: float
    high: float
    n: int


def restate(answer: Answer, reader: Reader) -> Answer:
    """An answer at the prevalence of the calibration -> the same at the operating point and prevalence of `reader`.

    So settings can be changed after the radiograph is gone. Whether to refer depends on neither. The six decimals of
    the answer cost at most 0.00005, at a prevalence of 0.01.
    """
    if answer.error:
        return answer
    call = CLASS_NAMES[int(answer.probability >= reader.threshold)]
    return replace(answer, call=call, probability=reader.rebase(answer.probability))


def restore(row: object) -> Answer:
    """The answer that a row from the browser tells of: `Answer.row`, or path and error of what never came here.

    Raises: PneumoniaError when it is neither.
    """
    match row:
        case {"path": str(path), "error": str(error)}:
            return Answer(printable(path), error=printable(error))
        case {
            "path": str(path),
            "probability": float(probability) | int(probability),
            "refer": bool(refer),
            "warnings": [*warnings],
            "atypicality": float(atypicality) | int(atypicality),
        } if 0 <= probability <= 1 and 0 <= atypicality < math.inf and all(isinstance(text, str) for text in warnings):
            notes = tuple(printable(text) for text in warnings)
            return Answer(printable(path), probability, refer=refer, warnings=notes, atypicality=atypicality)
    raise PneumoniaError("not an answer of this page; load it again")


def show_page(reader: Reader, rates: dict[str, dict[str, Rate]], max_files: int, max_bytes: int) -> str:
    """The page before the first radiograph."""
    points = "".join(
        f'<label><input type="radio" name="point" value="{escape(name)}" autocomplete="off"'
        f"{' checked' if name == reader.operating_point else ''}> {escape(name)}</label>"
        for name in reader.model.record["operating_points"]
    )
    return Template((WEB / "page.html").read_text(encoding="utf-8")).substitute(
        not_for_clinical_use=NOT_FOR_CLINICAL_USE,
        model=escape(f"{reader.model.name}, {reader.model.hash}"),
        max_files=max_files,
        max_bytes=max_bytes,
        max_megabytes=max_bytes // 2**20,
        points=points,
        prevalence=f"{reader.prevalence:g}",
        opacity=OPACITY,
        gradient=show_gradient(),
        rates=show_prevalence(reader, rates),
    )


def show_picture(answer: Answer, evidence_scale: float) -> str:
    """The radiograph, the heatmap over it (its opacity is set by the CSS variable --heat), and the colour scale."""
    radiograph = outline(Image.fromarray(answer.image), answer.box)
    radiograph.thumbnail((SHOWN, SHOWN))
    strength = Image.fromarray((answer.heatmap * 255).round().astype(np.uint8)).resize(radiograph.size)
    colored = np.dstack([color_table()[np.asarray(strength)], np.asarray(strength)])  # the evidence is also the alpha
    size = f'width="{radiograph.width}" height="{radiograph.height}"'
    return (
        f'<figure><div class="layers"><img src="{embed(radiograph, "JPEG")}" {size} alt="Radiograph">'
        f'<img class="heat" src="{embed(Image.fromarray(colored, "RGBA"))}" {size} alt="Heatmap"></div>'
        f'<figcaption><svg class="colors" aria-hidden="true"><rect width="100%" height="100%" rx="3"/></svg>'
        f"<span>0</span> <span>{CAPTION}</span> <span>{evidence_scale:.0f}+</span></figcaption></figure>"
    )


def embed(image: Image.Image, kind: str = "PNG") -> str:
    """A picture as a data: address."""
    file = io.BytesIO()
    image.save(file, kind, quality=90)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def show_gradient() -> str:
    """The colours of the heatmap, from no evidence to the most, as stops of an SVG gradient."""
    return "".join(
        f'<stop offset="{at / (len(STOPS) - 1):g}" stop-color="rgb({red},{green},{blue})"/>'
        for at, (red, green, blue) in enumerate(STOPS.tolist())
    )


def show_answer(answer: Answer, reader: Reader) -> str:
    """The call, the calibrated probability on its scale, and the reasons to refer; or why there is no answer."""
    name = f'<h2 class="name">{escape(answer.path)}</h2>'
    if answer.error:
        return f'{name}<p class="error">{escape(answer.error)}</p>'
    notes = "".join(f"<li>{escape(text)}</li>" for text in answer.explain())
    refer = ' <strong class="refer">refer to a radiologist</strong>' if answer.refer else ""
    probability = f'<b class="probability">{100 * answer.probability:.2f} %</b>'
    return (
        f'{name}<p class="result"><strong class="call">{answer.call}</strong>{refer}</p>'
        f"<p>Probability of PNEUMONIA at a prevalence of {100 * reader.prevalence:.0f} %: {probability}</p>"
        f"{show_scale(answer.probability, reader)}"
        + (f'<ul class="warnings" aria-label="Warnings">{notes}</ul>' if notes else "")
    )


def announce(answer: Answer) -> str:
    """An answer in one sentence, for a screen reader."""
    if answer.error:
        return answer.error
    refer = "; refer to a radiologist" if answer.refer else ""
    return f"{answer.path}: {answer.call}, {100 * answer.probability:.2f} %{refer}"


def show_scale(probability: float, reader: Reader) -> str:
    """0 to 100 %, with the operating points, the referral band, and this radiograph.

    Thresholds belong to the prevalence of the calibration, and move with another one as probabilities do.
    """

    def place(at: float) -> float:
        return 100 * reader.rebase(at)

    low, high = (place(at) for at in reader.referral)
    points = sorted(reader.model.record["operating_points"].items(), key=lambda point: -point[1])
    words = ", ".join(f"{name} {place(threshold):.1f} %" for name, threshold in reversed(points))
    label = (
        f"{100 * probability:.2f} % on a scale from 0 to 100 %; {words}; too close to call {low:.1f} to {high:.1f} %"
    )
    parts = [
        '<rect class="line" y="22" width="100%" height="12" rx="4"/>',
        f'<rect class="band" x="{low:.2f}%" y="22" width="{high - low:.2f}%" height="12"/>',
        f'<text class="note" x="{low:.2f}%" y="13">too close to call</text>',
    ]
    for row, (name, threshold) in enumerate(points):  # the leftmost lowest, so that no line crosses a label
        at, end = f"{place(threshold):.2f}%", 54 + 18 * row
        chosen = " chosen" if name == reader.operating_point else ""
        parts.append(
            f'<line class="tick" x1="{at}" x2="{at}" y1="19" y2="{end}"/>'
            f'<text class="point{chosen}" x="{at}" y="{end}" dx="5">{escape(name)} {place(threshold):.1f} %</text>'
        )
    parts.append(f'<circle class="here" cx="{100 * probability:.2f}%" cy="28" r="10"/>')
    return f'<svg class="scale" height="98" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


def read_rates(path: Path, model: FinalModel, split: str = "test") -> dict[str, dict[str, Rate]]:
    """{operating point: {sensitivity, specificity}} as measured, from results/operating_points.csv.

    Points that were measured at another threshold than the model's are left out.
    """
    rates: dict[str, dict[str, Rate]] = {}
    points = model.record["operating_points"]
    if not path.is_file():
        return rates
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            point, metric = row["point"], row["metric"]
            if row["split"] == split and metric in RATES and abs(float(row["low"]) - points.get(point, 2)) < 1e-4:
                numbers = (float(row[key]) for key in ("value", "ci_low", "ci_high"))
                rates.setdefault(point, {})[metric] = Rate(*numbers, int(float(row["n"])))
    return {point: found for point, found in rates.items() if len(found) == len(RATES)}


def show_prevalence(reader: Reader, rates: dict[str, dict[str, Rate]]) -> str:
    """A table: the predictive values of the call at this operating point, by prevalence."""
    point = reader.operating_point
    if point not in rates:
        return f"<p>Sensitivity and specificity at {point} {reader.threshold:.3f} are not in the results.</p>"
    sensitivity, specificity = (rates[point][metric] for metric in RATES)
    pairs, rows = list(zip(sensitivity[:3], specificity[:3], strict=True)), ""
    for prevalence in sorted({*PREVALENCES, reader.prevalence}):
        worth = [predictive_values(one, other, prevalence) for one, other in pairs]
        cells = "".join(
            f"<td>{100 * value:.1f} %</td><td>{100 * low:.1f} to {100 * high:.1f}</td>"
            for value, low, high in zip(*worth, strict=True)
        )
        chosen = ' class="chosen"' if prevalence == reader.prevalence else ""
        rows += f'<tr{chosen}><th scope="row">{100 * prevalence:.0f} %</th>{cells}</tr>'
    words = ", ".join(
        f"{metric} {100 * rate.value:.1f} % ({100 * rate.low:.1f} to {100 * rate.high:.1f})"
        for metric, rate in rates[point].items()
    )
    names = ("prevalence", "PPV", "from … to", "NPV", "from … to")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    return (
        f"<p>{point.capitalize()}: {words}, measured on {sensitivity.n} test radiographs of one hospital. "
        f"Both may differ elsewhere. Ranges take both intervals at their ends.</p>"
        f'<table class="rates"><caption>Predictive values by prevalence</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


def show_download(answers: list[Answer], reader: Reader) -> str:
    """A link that contains the table which `predict --csv` writes."""
    table = HEADER + encode_rows((answer.row() for answer in answers), describe_settings(reader))
    content = base64.b64encode(table).decode()
    return (
        f'<p><a class="csv" download="answers.csv" href="data:text/csv;base64,{content}">Download answers.csv</a></p>'
    )
