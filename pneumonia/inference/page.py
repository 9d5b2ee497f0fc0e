"""How the page in the browser shows answers: HTML that needs no file, no font and no script from elsewhere.

Pictures are embedded in the page, so that nothing of an upload is kept once it is answered.
"""

from __future__ import annotations

import base64
import csv
import io
import tempfile
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..config import CLASS_NAMES
from ..evaluation.probability import predictive_values
from .final_model import FinalModel
from .heatmap import OPACITY, color_table, draw_bar, outline
from .reader import Answer, Reader
from .table import AnswerTable, describe_settings

SHOWN = 1024  # pixels of the longer side: enough to look at, and quick to send
PREVALENCES = (0.01, 0.05, 0.15, 0.3, 0.5)  # rows of the table, besides the prevalence of the slider
RATES = ("sensitivity", "specificity")
STYLE = f"""
:root {{ --heat: {OPACITY} }}
.card {{ height: 25rem; overflow: auto; border: 1px solid #8884; border-radius: 6px; padding: .6rem;
         margin-bottom: .6rem }}
.card.failed {{ height: 6rem }}
.picture {{ position: relative; display: flex; height: calc(100% - 1.6rem); justify-content: center }}
.picture > div {{ position: relative; height: 100%; min-width: 0 }}
.picture img {{ height: 100%; max-width: 100%; object-fit: contain; margin: 0 }}
.picture .heat {{ position: absolute; inset: 0; opacity: var(--heat) }}
.name {{ font-weight: 600; overflow-wrap: anywhere }}
.result {{ font-size: 1.4rem; margin: .5rem 0 }}
.error, .warning {{ border-left: 4px solid #b3261e; padding: .2rem .6rem; margin: .4rem 0 }}
.warning {{ border-color: #b26a00 }}
.scale {{ position: relative; height: 6.2rem; margin: .4rem 9rem 0 1rem }}
.scale div {{ position: absolute; white-space: nowrap; font-size: .8rem }}
.scale .line {{ top: 1.2rem; height: .8rem; width: 100%; background: #8883; border-radius: 4px }}
.scale .band {{ top: 1.2rem; height: .8rem; background: #b26a0080 }}
.scale .tick {{ top: 1rem; border-left: 2px solid; padding-left: .25rem; display: flex; align-items: flex-end }}
.scale .here {{ top: .9rem; width: 1.4rem; height: 1.4rem; margin-left: -.7rem; border-radius: 50%;
                background: #a6192e; border: 2px solid #fff }}
table.rates {{ border-collapse: collapse }} .rates td, .rates th {{ padding: .15rem .7rem; text-align: right }}
.rates .chosen {{ font-weight: 700; background: #8882 }}
"""


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


def show_picture(answer: Answer, evidence_scale: float) -> str:
    """A card: the radiograph, the heatmap over it with the opacity of the CSS variable --heat, and the colour bar."""
    radiograph = outline(Image.fromarray(answer.image), answer.box)
    radiograph.thumbnail((SHOWN, SHOWN))
    strength = Image.fromarray((answer.heatmap * 255).round().astype(np.uint8)).resize(radiograph.size)
    colored = np.dstack([color_table()[np.asarray(strength)], np.asarray(strength)])  # the evidence is also the alpha
    layers = (
        f'<img src="{embed(radiograph, "JPEG")}" alt="radiograph">'
        f'<img class="heat" src="{embed(Image.fromarray(colored, "RGBA"))}" alt="heatmap">'
    )
    bar = f'<img src="{embed(draw_bar(640, evidence_scale))}" alt="colour bar: evidence for PNEUMONIA">'
    return _card(answer.path, f'<div class="picture"><div>{layers}</div>{bar}</div>')


def embed(image: Image.Image, kind: str = "PNG") -> str:
    """A picture as a data: address."""
    file = io.BytesIO()
    image.save(file, kind, quality=90)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def show_no_picture(answer: Answer) -> str:
    """The card beside an error, so that pictures and answers stay aligned."""
    return _card(answer.path, "no picture", "card failed")


def show_answer(answer: Answer, reader: Reader) -> str:
    """A card: the call, the calibrated probability on its scale, and the reasons to refer."""
    if answer.error:
        return _card(answer.path, f'<div class="error" role="alert">{escape(answer.error)}</div>', "card failed")
    notes = "".join(f'<div class="warning">{escape(text)}</div>' for text in answer.explain())
    refer = " · refer to a radiologist" if answer.refer else ""
    probability = f'<span class="probability">{100 * answer.probability:.2f}</span> %'
    text = (
        f'<div class="result"><b class="call">{answer.call}</b>{refer}</div>'
        f"<div>Probability of PNEUMONIA at a prevalence of {100 * reader.prevalence:.0f} %: {probability}</div>"
        f"{show_scale(answer.probability, reader)}{notes}"
    )
    return _card(answer.path, text)


def show_scale(probability: float, reader: Reader) -> str:
    """0 to 100 %, with the operating points, the referral band, and this radiograph.

    Thresholds belong to the prevalence of the calibration, and move with another one as probabilities do.
    """

    def place(at: float) -> float:
        return 100 * reader.rebase(at)

    low, high = (place(at) for at in reader.referral)
    parts = [f'<div class="line"></div><div class="band" style="left:{low:.2f}%;width:{high - low:.2f}%"></div>']
    points = sorted(reader.model.record["operating_points"].items(), key=lambda point: -point[1])
    for row, (name, threshold) in enumerate(points):  # the leftmost lowest, so that no line crosses a label
        shown = f"<b>{name}</b>" if name == reader.operating_point else name
        position = f"left:{place(threshold):.2f}%;height:{2.2 + 1.1 * row:.1f}rem"
        parts.append(f'<div class="tick" style="{position}"><span>{shown} {place(threshold):.1f} %</span></div>')
    parts.append(f'<div class="here" style="left:{100 * probability:.2f}%"></div>')
    return f'<div class="scale">{"".join(parts)}</div>'


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
        rows += f"<tr{chosen}><td>{100 * prevalence:.0f} %</td>{cells}</tr>"
    words = ", ".join(
        f"{metric} {100 * rate.value:.1f} % ({100 * rate.low:.1f} to {100 * rate.high:.1f})"
        for metric, rate in rates[point].items()
    )
    head = "<tr><th>prevalence</th><th>PPV</th><th>from … to</th><th>NPV</th><th>from … to</th></tr>"
    return (
        f"<p>{point.capitalize()}: {words}, measured on {sensitivity.n} test radiographs of one hospital. "
        f"Both may differ elsewhere. Ranges take both intervals at their ends.</p>"
        f'<table class="rates">{head}{rows}</table>'
    )


def make_csv(answers: list[Answer], reader: Reader) -> bytes:
    """The table that `predict --csv` writes."""
    with tempfile.TemporaryDirectory() as folder:
        table = AnswerTable(Path(folder) / "answers.csv", describe_settings(reader), resume=False)
        table.write(answer.row() for answer in answers)
        table.close()
        return table.path.read_bytes()


def show_download(answers: list[Answer], reader: Reader) -> str:
    """A link that contains the table."""
    content = base64.b64encode(make_csv(answers, reader)).decode()
    return f'<a class="csv" download="answers.csv" href="data:text/csv;base64,{content}">Download answers.csv</a>'


def _card(path: str, content: str, kind: str = "card") -> str:
    return f'<div class="{kind}"><div class="name">{escape(path)}</div>{content}</div>'
