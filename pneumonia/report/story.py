"""What the notebook calls besides the steps: pictures, tables, and prose whose numbers come from the result files."""

from __future__ import annotations

from functools import cached_property

import pandas as pd
from IPython.display import HTML, Image, Markdown, display

from ..config import OFFICIAL_SPLITS, Run
from ..data.catalog import count_shared_bare_numbers, summarise
from ..results import Results
from ..studies import load_results
from .figures.gallery import FIGURES, can_be_drawn, draw_figure
from .figures.strips import draw_strips
from .pages import Filler, write_reports


class Story:
    """Shows one run: figures are drawn (and saved) when they are shown, numbers are looked up, never typed."""

    def __init__(self, results: Results):
        self.results = results
        self.run = results.run

    @cached_property
    def filler(self) -> Filler:
        return Filler(self.results)

    def say(self, text: str) -> Markdown:
        """Prose with {{ names }} filled from the result files. PneumoniaError for a name that is not there."""
        return Markdown(self._marked(self.filler.fill(text)))

    def figure(self, stem: str, finding: str = "") -> Image | Markdown:
        """Draw images/<stem>.png and show it, below it the `finding`: prose as in `say`, if it was measured."""
        image = Image(filename=str(draw_figure(self.results, stem)), alt=FIGURES[stem].alt)
        return self._with_finding(image, finding if can_be_drawn(self.results, stem) else "")

    def table(self, frame: pd.DataFrame, index: bool = True) -> HTML:
        """A small table, whole numbers with commas between thousands; the tables of a simulated run say so."""
        whole = frame.select_dtypes("integer")
        frame = frame.astype({name: object for name in whole}).assign(**whole.map("{:,}".format))
        frame = frame.rename(index={"train_fit": "train"}).rename_axis(index=None, columns=None)
        mark = "<b>SIMULATED</b>" if self.run.is_simulated else ""
        return HTML(mark + frame.to_html(index=index, border=0, na_rep=""))

    def audit(self) -> HTML:
        """Radiographs, patients and what was left out, per split."""
        return self.table(summarise(self.results.catalog))

    def official_folders(self) -> HTML:
        """Files per folder, as they were delivered."""
        folders = self.results.catalog["path"].str.split("/", expand=True)[0].str.lower()
        table = pd.crosstab(folders, self.results.catalog["class_name"])
        return self.table(table.loc[[name for name in OFFICIAL_SPLITS if name in table.index]])

    def bare_number_check(self) -> HTML:
        """How many bare patient numbers train and test seem to share when the kind is ignored."""
        shared = count_shared_bare_numbers(self.results.catalog)
        return self.table(pd.DataFrame({"numbers in both train and test": shared}))

    def report_table(self, name: str, finding: str = "") -> Markdown:
        """A table by its name in templates without "table." ("results", "subgroups.subgroups"), and the `finding`."""
        return self._with_finding(self.say(f"{{{{ table.{name} }}}}"), finding)

    def _with_finding(self, shown: Image | Markdown, finding: str) -> Image | Markdown:
        if not finding:
            return shown
        display(shown)
        return self.say(finding)

    def validation_scores(self) -> HTML:
        """What the final model is chosen by: ROC AUC of every network on validation and each stress copy."""
        splits = [split for split in self.results.metrics["split"].unique() if split.startswith("validation")]
        table = pd.DataFrame(
            {
                split: {c.name: float(self.results.estimate(c.name, split, "roc_auc")) for c in self.results.cnns}
                for split in splits
            }
        )
        table.columns = [name.removeprefix("validation_") for name in table.columns]
        table["lowest"] = table.min(axis=1)
        return self.table(table.rename(index={config.name: config.title for config in self.run.models}).round(4))

    def looks(self) -> HTML:
        """Every time that anything was scored on the official test split."""
        return self.table(self.results.test_looks, index=False)

    def write_reports(self) -> None:
        """Bring README.md, docs/ and presentation.pdf up to date; a simulated run has its own."""
        draw_strips(self.results)
        write_reports(self.results)

    def _marked(self, text: str) -> str:
        return f"**SIMULATED**\n\n{text}" if self.run.is_simulated else text


def open_story(run: Run) -> Story:
    """The story of a run whose result files exist."""
    return Story(load_results(run))
