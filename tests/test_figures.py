"""Every figure: drawn, labelled, marked, legible, reproducible; and the numbers behind it against other libraries."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations, product

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from invented_results import LAW, make_measured
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from sklearn.metrics import confusion_matrix
from tiny_runs import shrink

from pneumonia.config import ROOT, PneumoniaError
from pneumonia.data.catalog import build_catalog, select_used
from pneumonia.data.pixels import load_pixels
from pneumonia.evaluation.evaluate import compute_metrics
from pneumonia.evaluation.metrics import ECE_BINS, balanced_ece, compute_counts, ece, threshold_metrics
from pneumonia.evaluation.scores import STRESS_COPIES, Scores
from pneumonia.models.architectures import build_model
from pneumonia.records import hash_file, record_path, weights_path
from pneumonia.report.figures.calibration import compute_reliability
from pneumonia.report.figures.comparison import compute_split_values, plot_confusion
from pneumonia.report.figures.counts import compute_class_counts
from pneumonia.report.figures.gallery import FIGURES, build_figure, draw_all, draw_figure
from pneumonia.report.figures.mistakes import compute_outcomes, compute_worst_mistakes, shorten
from pneumonia.report.figures.radiographs import compute_mean_images, pick_patients, plot_radiograph
from pneumonia.results import Results
from pneumonia.series import real_run, simulated_run
from pneumonia.studies.ablation import summarise
from pneumonia.studies.attribution import COLUMNS, average_seeds, describe_swap, find_largest_loss
from pneumonia.studies.learning_curve import describe_next_point, extrapolate
from pneumonia.studies.masking import COLUMN_TITLES, pivot_masks
from pneumonia.studies.operating_points import compute_threshold_curve
from pneumonia.studies.robustness import average_severities, by_severity
from pneumonia.style import _measure, describe_change, model_colours, new_figure, signed, use_style, wrap, write_png
from pneumonia.transforms.stress_copies import STRESS_COPIES as COPIES

STEMS = [
    *("class_counts", "examples", "mean_images", "augmented_batch", "stress_copies"),
    *("confusion_matrices", "roc_pr", "calibration", "generalisation_gap"),
    *("worst_mistakes",),
    *("subgroups", "threshold_curve", "per_1000", "decision_curve", "published", "suspects", "robustness", "masking"),
    *("ablation", "more_data", "pareto", "three_class", "bench"),
]
PANELS = {"examples", "mean_images", "augmented_batch", "stress_copies", "worst_mistakes"}
CHART_BYTES, RADIOGRAPH_BYTES = 110_000, 500_000
CHARTS = [stem for stem in STEMS if stem not in PANELS]
FINAL = "deep_cnn_augmented"
OTHER_SETTINGS = {"font.size": 30, "axes.facecolor": "pink", "savefig.dpi": 50, "figure.autolayout": True}
SKILL = {"majority": 0.0, "metadata_logistic": 0.2, "thumbnail_logistic": 0.4}  # the networks have 0.6


@pytest.fixture(scope="module")
def results(clean_tree, tmp_path_factory) -> Results:
    """A simulated run with made-up predictions and histories, and untrained weights of the final model."""
    home = tmp_path_factory.mktemp("figures")
    run = simulated_run(clean_tree)
    models = tuple(shrink(config, image_size=48) for config in run.models)
    run = replace(run, home=home, cache=home / "cache", models=models, seeds=(0, 1), bootstrap_draws=10)
    catalog = build_catalog(run)
    predictions = make_predictions(run, select_used(catalog))
    write_weights(run)
    empty = pd.DataFrame()
    costs = [{"model": config.name, "cpu_seconds": 60.0 + 9 * len(config.name)} for config in models]
    scores = Scores.parse(predictions)
    metrics, record = compute_metrics(scores, run.bootstrap_draws), {"final_model": FINAL}
    cnns = [config.name for config in run.models if config.is_cnn]
    changes = {"attribution": make_changes(cnns)}
    measured, training = make_measured(run, scores, FINAL) | changes, pd.DataFrame(costs)
    return Results(run, record, catalog, make_history(run), training, predictions, metrics, empty, empty, measured)


def make_changes(models: list[str]) -> pd.DataFrame:
    """Made-up values of every metric for every change, as attribution.csv has them."""
    rng, metrics = np.random.default_rng(3), ("roc_auc", "accuracy", "sensitivity", "specificity")
    keys = product(models, (0, 1), ("validation", *COPIES, "border", "centre"), metrics)
    rows = [(*key, round(rng.uniform(0.6, 1), 6), 10) for key in keys]
    rows += [(model, 0, "encoding_swap", "logit_change_normal", -0.25, 10) for model in models]
    return pd.DataFrame(rows, columns=COLUMNS)


def make_predictions(run, used) -> pd.DataFrame:
    frames = []
    for number, config in enumerate(run.models):
        for seed in run.seeds_of(config):
            rng = np.random.default_rng([1, number, seed])  # another model or stress copy leaves these scores alone
            for split in ("test", "validation", *(f"validation_{name}" for name in COPIES)):
                if split.startswith("validation_") and config.name == "metadata_logistic":
                    continue
                rows = used[used["split"] == ("validation" if split.startswith("validation_") else split)]
                logits = rng.normal(size=len(rows)) + SKILL.get(config.name, 0.6) * (2 * rows["label"] - 1)
                y_prob = np.full(len(rows), 0.7) if config.name == "majority" else 1 / (1 + np.exp(-logits))
                rows = rows[["path", "patient_id", "label"]]
                frames.append(rows.assign(split=split, model=config.name, seed=seed, y_prob=np.round(y_prob, 6)))
    return pd.concat(frames, ignore_index=True)


def make_history(run) -> pd.DataFrame:
    rows = []
    for offset, config in enumerate(config for config in run.models if config.is_cnn):
        for seed in run.seeds:
            for epoch in range(1, config.epochs + 1):
                loss = (1 + 0.1 * seed) / (epoch + offset)
                scores = {
                    "loss": loss,
                    "accuracy": 1 - loss / 3,
                    "val_loss": 1.2 * loss,
                    "val_accuracy": 1 - loss / 2.5,
                }
                rows.append({"model": config.name, "seed": seed, "epoch": epoch} | scores)
    return pd.DataFrame(rows)


def write_weights(run) -> None:
    config = run.model(FINAL)
    for seed in run.seeds:
        path = weights_path(run, config, seed)
        path.parent.mkdir(exist_ok=True)
        build_model(config).save(path)
        record_path(run, config, seed).write_text(json.dumps({"weights_sha256": hash_file(path)}))


@pytest.fixture(scope="module")
def drawing(results) -> tuple[dict, dict]:
    """What draw_all writes, as stem -> path, and the figures it wrote, laid out, as stem -> figure."""
    figures = {}

    def write_and_keep(figure, path, **options):
        figures[path.stem] = figure
        return write_png(figure, path, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pneumonia.report.figures.gallery.write_png", write_and_keep)
        paths = draw_all(results)
    assert [path.stem for path in paths] == STEMS
    with use_style():
        for figure in figures.values():
            figure.draw_without_rendering()
    return {path.stem: path for path in paths}, figures


@pytest.fixture(scope="module")
def drawn(drawing) -> dict:
    return drawing[0]


@pytest.fixture(scope="module")
def built(drawing) -> dict:
    return drawing[1]


def visible_texts(figure) -> list:
    """All texts that are drawn; tick labels beyond the limits of their axes are not."""
    texts = list(figure.texts)
    for ax in figure.axes:
        texts += [ax.title, *ax.texts]
        if ax.axison:
            texts += [ax.xaxis.label, ax.yaxis.label]
            for axis, limits in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
                low, high = sorted(limits)
                ticks = [tick for tick in axis.get_major_ticks() if low - 1e-9 <= tick.get_loc() <= high + 1e-9]
                texts += [label for tick in ticks for label in (tick.label1, tick.label2)]
        if ax.get_legend():
            texts += ax.get_legend().get_texts()
    return [text for text in texts if text.get_visible() and text.get_text().strip()]


def title_of_figure(figure) -> str:
    title = next(text for text in figure.texts if text.get_gid() == "title")
    return title.get_text().replace("\n", " ").replace("\N{NO-BREAK SPACE}", " ")


def note_of(figure) -> str:
    return " ".join(text.get_text() for text in figure.texts if text.get_gid() == "note").replace("\n", " ")


def marks(figure) -> list[str]:
    return [text.get_text() for text in figure.texts if text.get_gid() == "simulated"]


# --- all figures -------------------------------------------------------------------------------------------------


def test_the_figures_are_those_of_the_story_in_its_order():
    assert list(FIGURES) == STEMS
    assert {stem for stem, figure in FIGURES.items() if figure.needs_radiographs} == PANELS
    assert len({figure.alt for figure in FIGURES.values()}) == len(FIGURES)
    assert all(20 < len(figure.alt) < 125 and "%" not in figure.alt.replace("95 %", "") for figure in FIGURES.values())


def test_every_figure_is_a_file_and_nothing_else_is(drawn, results):
    assert sorted(path.name for path in results.run.images_dir.iterdir()) == sorted(f"{stem}.png" for stem in FIGURES)


@pytest.mark.parametrize("stem", STEMS)
def test_files_are_small_and_without_metadata(stem, drawn):
    with Image.open(drawn[stem]) as image:
        assert image.mode == ("RGB" if stem in PANELS else "P") and image.format == "PNG"  # the mark is red
        assert not set(image.info) - {"transparency"}, image.info  # no date, no software, no resolution
        assert 1200 < image.width < 1500 and 400 < image.height < 900
        colours = image.convert("RGB").getcolors(image.width * image.height)
    assert len(colours) > 20
    assert max(count for count, _ in colours) < 0.95 * image.width * image.height  # not an empty sheet
    assert drawn[stem].stat().st_size < (RADIOGRAPH_BYTES if stem in PANELS else CHART_BYTES)


def test_all_files_together_can_be_embedded_in_the_notebook():
    """As base64, four bytes for three, in less than 4 MB."""
    assert sum(path.stat().st_size for path in (ROOT / "images").glob("*.png")) < 3_000_000


def test_radiographs_keep_every_gray_level(tmp_path):
    """Saved with a palette of few colours, a smooth film shows contours that are not there."""
    with use_style():
        figure = new_figure("A ramp of gray levels from black to white", height=3)
        ramp = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
        plot_radiograph(ramp, ax=figure.subplots())
        gray = Image.open(write_png(figure, tmp_path / "gray.png", true_gray=True))
    assert gray.mode == "L" and len(set(np.asarray(gray)[gray.height // 2])) >= 200


def test_a_file_that_shows_the_same_pixels_is_left_as_it_is(drawn, built):
    before = drawn["class_counts"].read_bytes()
    repacked = Image.open(drawn["class_counts"])
    repacked.save(drawn["class_counts"], format="PNG", compress_level=1)
    other = drawn["class_counts"].read_bytes()
    assert other != before
    with use_style():
        write_png(built["class_counts"], drawn["class_counts"])
    assert drawn["class_counts"].read_bytes() == other
    drawn["class_counts"].write_bytes(before)


@pytest.mark.parametrize("stem", sorted(PANELS))
def test_panels_drawn_twice_have_the_same_bytes(stem, drawn, results):
    """Also when the reader has other settings of matplotlib."""
    first = drawn[stem].read_bytes()
    with mpl.rc_context(OTHER_SETTINGS):
        assert draw_figure(results, stem).read_bytes() == first


@pytest.mark.parametrize("stem", STEMS)
def test_titles_and_labels(stem, built):
    figure = built[stem]
    assert len(title_of_figure(figure)) > 30
    shown = [ax for ax in figure.axes if ax.axison and (ax.lines or ax.patches or ax.images or ax.collections)]
    assert shown
    if stem in PANELS:
        assert sum(len(ax.images) for ax in shown) >= 3
        return
    for row in {ax.get_subplotspec().rowspan.start for ax in shown}:
        first = next(ax for ax in shown if ax.get_subplotspec().rowspan.start == row)
        assert first.get_ylabel() or [label for label in first.get_yticklabels() if label.get_text()]
    below = max(ax.get_subplotspec().rowspan.stop for ax in shown)
    assert all(ax.get_xlabel() for ax in shown if ax.get_subplotspec().rowspan.stop == below)


@pytest.mark.parametrize("stem", STEMS)
def test_texts_lie_inside_the_figure_and_apart_from_each_other(stem, built):
    figure = built[stem]
    boxes = [(text.get_text(), text.get_window_extent().padded(-1.5)) for text in visible_texts(figure)]
    for text, box in boxes:
        inside = (
            figure.bbox.x0 <= box.x0
            and box.x1 <= figure.bbox.x1
            and figure.bbox.y0 <= box.y0
            and box.y1 <= figure.bbox.y1
        )
        assert inside, f"{text!r} leaves the figure"
    hits = [(a, b) for (a, box), (b, other) in combinations(boxes, 2) if box.overlaps(other)]
    assert not hits


@pytest.mark.parametrize("stem", STEMS)
def test_no_text_is_too_small_to_read_on_a_slide(stem, built):
    assert min(text.get_fontsize() for text in visible_texts(built[stem])) >= 11


@pytest.mark.parametrize("stem", STEMS)
def test_simulated_radiographs_are_never_called_those_of_children(stem, built):
    assert ("Radiographs: simulated." in note_of(built[stem])) == (stem in PANELS)
    assert "Kermany" not in note_of(built[stem])


def test_real_runs_attribute_their_radiographs_and_carry_no_mark(results, built):
    real = replace(results, run=replace(results.run, name="real"))
    for stem in ("examples", "stress_copies", "class_counts", "roc_pr"):
        figure = build_figure(real, stem)
        assert not marks(figure)
        assert ("Radiographs: Kermany et al. 2018, CC BY 4.0" in note_of(figure)) == (stem in PANELS)
        assert title_of_figure(figure) == title_of_figure(built[stem])


@pytest.mark.parametrize("stem", STEMS)
def test_simulated_runs_are_marked(stem, built):
    assert len(marks(built[stem])) == 1 and marks(built[stem])[0].startswith("SIMULATED")


@pytest.mark.parametrize("stem", STEMS)
def test_the_mark_is_in_the_file(stem, drawn):
    """The band below the figure has the colour of the mark from edge to edge."""
    with Image.open(drawn[stem]) as image:
        edge = np.asarray(image.convert("RGB"))[-8:, [2, -3]].reshape(-1, 3).astype(int)
    assert (np.abs(edge - (0xA6, 0x19, 0x2E)) < 12).all()


# --- what can be missing -----------------------------------------------------------------------------------------


def test_charts_need_only_the_results_and_leave_other_files_alone(drawn, results, tmp_path):
    """Without radiographs and weights, in another folder and under other settings the bytes are the same."""
    run = replace(results.run, data=None, home=tmp_path, cache=tmp_path / "cache")
    kept = run.images_dir / "examples.png"
    kept.parent.mkdir()
    kept.write_bytes(b"committed")
    with mpl.rc_context(OTHER_SETTINGS):
        paths = draw_all(replace(results, run=run), with_radiographs=False)
    assert [path.stem for path in paths] == CHARTS
    assert [path.stem for path in paths if path.read_bytes() != drawn[path.stem].read_bytes()] == []
    assert kept.read_bytes() == b"committed"
    assert {path.stem for path in run.images_dir.iterdir()} == {*CHARTS, "examples"}


@pytest.mark.parametrize("stem", sorted(PANELS))
def test_panels_say_what_is_missing(stem, results, tmp_path):
    run = replace(results.run, data=None, home=tmp_path, cache=tmp_path / "cache")
    with pytest.raises(PneumoniaError, match="no radiographs available"):
        draw_figure(replace(results, run=run), stem)
    assert not run.images_dir.exists()


def test_a_heatmap_says_when_the_weights_are_missing(results, tmp_path):
    run = replace(results.run, home=tmp_path)
    with pytest.raises(PneumoniaError, match="make run"):
        draw_figure(replace(results, run=run), "worst_mistakes")


def test_an_unknown_figure_is_an_error_that_lists_the_known_ones(results):
    with pytest.raises(PneumoniaError, match="unknown figure 'comparison'; known: class_counts, .*worst_mistakes"):
        draw_figure(results, "comparison")


def test_a_final_model_without_mistakes_can_be_drawn(results):
    truth = results.predictions["label"].clip(0.1, 0.9)
    perfect = replace(results, predictions=results.predictions.assign(y_prob=truth))
    assert title_of_figure(build_figure(perfect, "worst_mistakes")).startswith("0 of 16 predictions")


def test_a_run_of_one_network_with_one_seed_can_be_drawn(results):
    keep = (results.predictions["model"] == FINAL) & (results.predictions["seed"] == 0)
    predictions = results.predictions[keep]
    run = replace(results.run, models=(results.run.model(FINAL),), seeds=(0,))
    alone = replace(results, run=run, predictions=predictions, metrics=compute_metrics(Scores.parse(predictions), 10))
    titles = {stem: title_of_figure(build_figure(alone, stem)) for stem in ("roc_pr", "threshold_curve")}
    assert "baseline" not in titles["roc_pr"]
    assert f"{100 * alone.estimate(FINAL, 'test', 'specificity', '0').value:.1f} %" in titles["threshold_curve"]


# --- titles come from the numbers --------------------------------------------------------------------------------


def test_changes_are_worded_by_their_sign():
    assert describe_change(0.95, 0.90) == "5.0 points below it"
    assert describe_change(0.90, 0.95) == "5.0 points above it"
    assert describe_change(0.9, 0.9004) == "level with it"
    assert [signed(x) for x in (1.26, -0.4, 0.04, -0.04)] == ["+1.3", "\N{MINUS SIGN}0.4", "0.0", "0.0"]


def test_lines_are_wrapped_evenly_and_percent_stays_with_its_number():
    text = "An accuracy of 91 % has an interval that is rather wide when only sixteen radiographs are counted"
    lines = wrap(text, 6, 14, bold=True).splitlines()
    assert len(lines) > 1 and " ".join(lines).replace("\N{NO-BREAK SPACE}", " ") == text
    assert not any(line.startswith("%") for line in lines)
    assert max(map(len, lines)) - min(map(len, lines)) < 20
    for size in range(10, 20):
        shouted = wrap(
            "as narrow as it will fit until the line of il il il il il il, but MWMWM WMWMW MWMWM WMWMW", 6, size
        )
        assert all(_measure(line, size, False) <= 6 for line in shouted.splitlines())
    assert wrap("", 6, 14) == "" and wrap("Unbreakable" * 20, 1, 14) == "Unbreakable" * 20


def test_every_model_has_a_colour_of_its_own():
    colours = model_colours(real_run(None))
    assert len(set(colours.values())) == len(colours) == len(real_run(None).models)


# --- the numbers behind the figures ------------------------------------------------------------------------------


def test_class_counts_add_up(results):
    counts, used = compute_class_counts(results.catalog), select_used(results.catalog)
    assert counts["radiographs"].sum() == len(used) == 58
    assert counts["patients"].sum() == used["patient_id"].nunique()
    assert set(counts["kind"]) == {"NORMAL", "bacteria", "virus"}


def test_the_ensemble_is_the_mean_over_seeds(results):
    frame = results.scores.ensemble(FINAL, "test")
    rows = results.predictions.query("model == @FINAL and split == 'test'")
    expected = rows.groupby("path")["y_prob"].mean()
    np.testing.assert_allclose(frame.set_index("path")["y_prob"], expected)
    assert len(results.scores.ensemble(FINAL, STRESS_COPIES)) == len(COPIES) * len(
        results.scores.ensemble(FINAL, "validation")
    )
    assert results.scores.ensemble("metadata_logistic", STRESS_COPIES).empty


def test_confusion_counts_agree_with_scikit_learn_and_with_the_drawing(results):
    frame = results.scores.ensemble(FINAL, "test")
    counts = compute_counts(frame)
    np.testing.assert_array_equal(counts, confusion_matrix(frame["label"], frame["y_prob"] >= 0.5))
    shown = [text.get_text() for text in plot_confusion(counts).texts]
    assert shown[::2] == [str(count) for count in counts.ravel()]
    assert shown[1] == f"{100 * counts[0, 0] / counts[0].sum():.1f} %"


def test_the_reliability_diagram_is_that_of_the_radiographs_with_both_classes_repeated_to_equal_numbers(results):
    frame = results.scores.ensemble(FINAL, "test")
    positives, normals = (frame["label"] == 1).sum(), (frame["label"] == 0).sum()
    copies = np.where(frame["label"] == 1, normals, positives)
    repeated = frame.loc[frame.index.repeat(copies)]
    table = compute_reliability(frame)
    bins = np.digitize(repeated["y_prob"], np.linspace(0, 1, ECE_BINS + 1)[1:-1], right=True)
    expected = repeated.groupby(bins)[["label", "y_prob"]].mean()
    np.testing.assert_allclose(table["observed"], expected["label"])
    np.testing.assert_allclose(table["y_prob"], expected["y_prob"])
    assert balanced_ece(frame["label"], frame["y_prob"]) == pytest.approx(ece(repeated["label"], repeated["y_prob"]))
    assert ((table["low"] <= table["observed"]) & (table["observed"] <= table["high"])).all()


def test_threshold_curves_pass_through_the_metrics(results):
    frame = results.scores.ensemble(FINAL, "test")
    curve = compute_threshold_curve(frame)
    for threshold in (0.0, 0.25, 0.5, 0.75, 1.0):
        expected = threshold_metrics(frame["label"], frame["y_prob"], threshold)
        assert curve.loc[threshold, "sensitivity"] == pytest.approx(100 * expected["sensitivity"])
        assert curve.loc[threshold, "specificity"] == pytest.approx(100 * expected["specificity"])


def test_the_gap_shows_ensembles_and_the_mean_over_stress_copies(results):
    gaps = compute_split_values(results, "accuracy")
    copies = [results.estimate("deep_cnn", f"validation_{name}", "accuracy").value for name in COPIES]
    assert gaps.loc["deep_cnn", STRESS_COPIES] == pytest.approx(100 * np.mean(copies))
    assert np.isnan(gaps.loc["metadata_logistic", STRESS_COPIES])


def test_mean_images_are_means_over_train(results):
    used = select_used(results.catalog)
    chosen = (used["split"] == "train_fit") & (used["class_name"] == "PNEUMONIA")
    expected = load_pixels(results.run, results.catalog, 48, results.run.model(FINAL).window)[chosen.to_numpy()].mean(
        axis=0
    )
    np.testing.assert_allclose(compute_mean_images(results)["PNEUMONIA"], expected)


def test_worst_mistakes_are_wrong_and_in_order(results):
    outcomes = compute_outcomes(results)
    wrong = outcomes[(outcomes["y_prob"] >= 0.5) != (outcomes["label"] == 1)]
    worst = compute_worst_mistakes(outcomes, count=2)
    assert len(wrong) >= 2, "the made-up predictions are too good for this test"
    assert (worst["y_prob"] - worst["label"]).abs().tolist() == sorted((wrong["y_prob"] - wrong["label"]).abs())[:-3:-1]


def test_pictures_are_of_different_patients_and_always_the_same(results):
    used = select_used(results.catalog)
    train = used[used["split"] == "train_fit"]
    picked = pick_patients(train, 5)
    assert picked["patient_id"].nunique() == 5
    assert picked["path"].tolist() == pick_patients(train.sample(frac=1, random_state=3), 5)["path"].tolist()


def test_long_names_lose_their_middle():
    assert shorten("person-1672-bacteria") == "person-1672-bacteria"
    assert len(shorten("a-very-long-file-name-without-a-patient")) < 22


def test_figures_are_drawn_without_a_screen(built):
    assert all(isinstance(figure.canvas, FigureCanvasAgg) for figure in built.values())


def test_attribution_averages_seeds_and_names_a_single_change(results):
    table = average_seeds(results.table("attribution"), "roc_auc")
    rows = results.table("attribution").query("model == 'deep_cnn' and change == 'tones' and metric == 'roc_auc'")
    assert table.loc["deep_cnn", "tones"] == pytest.approx(rows["value"].mean())
    made = pd.DataFrame({"validation": [0.9, 0.9], "tones": [0.8, 0.7], "border": [0.1, 0.2], "test": [0.1, 0.2]})
    assert find_largest_loss(made.set_index(pd.Index(["a", "b"]))) == ("b", "tones")


def test_swap_is_described_by_its_largest_mean_and_left_out_when_it_was_not_measured(results):
    measured = results.table("attribution")
    assert "changes by at most 0.250" in describe_swap(measured)
    assert describe_swap(measured[measured["change"] != "encoding_swap"]) == ""


def test_ablation_names_the_hardest_copy(results):
    table = results.table("ablation").copy()
    of_row = (table["model"] == "ablation_none") & (table["metric"] == "roc_auc")
    table.loc[of_row & (table["split"] == "test"), "value"] = 0.01
    table.loc[of_row & (table["split"] == "validation_noise"), "value"] = 0.02
    row = summarise(table).loc["ablation_none"]
    assert (row["copy"], row["worst"], row["roc_auc"]) == ("noise", pytest.approx(0.02), pytest.approx(0.01))


def test_a_figure_that_was_not_measured_says_how_to_measure_it(results):
    figure = build_figure(replace(results, measured={}), "ablation")
    texts = " ".join(text.get_text() for text in figure.findobj(mpl.text.Text))
    assert "not measured in this run" in texts
    assert "python -m pneumonia ablation" in texts


# --- figures of what was measured besides -------------------------------------------------------------------------


def test_the_heat_map_shows_means_over_severities_and_the_title_the_worst(results):
    table = results.table("robustness")
    heat = average_severities(table)
    rows = table.query("model == @FINAL and condition == 'blur' and metric == 'accuracy'")
    assert heat.loc[FINAL, "blur"] == pytest.approx(rows["value"].mean())
    assert heat.shape == (len(heat), 16) and by_severity(table, FINAL).shape == (5, 16)
    assert "vignetting is worst" in title_of_figure(build_figure(results, "robustness"))


def test_the_data_curve_says_what_the_law_predicts(results):
    law = extrapolate(results.table("learning_curve"))
    assert law["exponent"][0] == pytest.approx(LAW[2], rel=0.4)
    assert "no number" in describe_next_point(law | {"next_point": (1e4, 9e3, np.inf)}, 3000)
    assert describe_next_point(law | {"next_point": (np.inf,) * 3}, 3000).startswith("by the fitted law no number")
    assert describe_next_point(law | {"next_point": (np.nan,) * 3}, 3000) == "no power law fits"
    title = title_of_figure(build_figure(results, "more_data"))
    assert "From 150 to 3,000 patients" in title


def test_calls_per_1000_are_those_of_the_table(results):
    rows = results.table("per_1000").query("prevalence == 0.3 and operating_point == 'balanced'").set_index("quantity")
    missed, alarms = (f"{rows.loc[name, 'value']:.0f}" for name in ("missed", "needlessly_treated"))
    figure = build_figure(results, "per_1000")
    assert f"miss {missed} of 300 and raise a false alarm for {alarms} of 700" in title_of_figure(figure)
    beside = [text.get_text() for text in (*figure.axes[0].get_yticklabels(), *figure.axes[0].texts)]
    found, cleared = 300 - int(missed), 700 - int(alarms)
    assert beside == [f"{missed}\nmissed", f"{found}\nfound", f"{alarms}\nfalse alarms", f"{cleared}\ncleared"]


def test_masks_are_shown_in_their_order(results):
    assert list(pivot_masks(results.table("masking"), "roc_auc").columns) == list(COLUMN_TITLES)
