"""Is a radiograph nearly the same picture as one of another split, or in test twice?

Candidates are pairs whose perceptual hashes differ in few bits. Chests of children resemble each other, and so do their
hashes; a candidate counts when the fine structure of one picture is found again in the other. The catalog knows the
files that are the same to the byte (`duplicate_of`) and has left them out of train; those within test are found again.
"""

from __future__ import annotations

from itertools import combinations_with_replacement

import cv2
import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from scipy.spatial.distance import cdist

from ..config import Run
from ..data.dataset import SPLITS, Radiographs, load_radiographs
from ..evaluation.estimate import Estimate
from ..evaluation.metrics import DECIMALS, accuracy, bootstrap_weights, percentile_interval, resample_ensemble, roc_auc
from ..results import Results
from .study import Study, Table, catalog_hash

COLUMNS = [
    *("path_a", "split_a", "label_a", "path_b", "split_b", "label_b"),
    *("distance", "correlation", "same_patient"),
]
SIZE, WINDOW = 64, 1.0  # pixels per side; the central square at true proportions
SHIFT = 6  # pixels by which one picture may be shifted against the other
BLUR = 6.0  # sigma in pixels; what is coarser is common to all chests, or exposure
# Both chosen on train_fit. No two children there correlate by more than 0.87, no two films of one child by more than
# 0.85. An altered copy (JPEG, resolution, tones, 3 % cut off one side, turned by 2 degrees) is found in at least 9 of
# 10 cases, one that is magnified by 6 % or turned by 4 degrees hardly ever.
DISTANCE, CORRELATION = 16, 0.9
METRICS = {"accuracy": accuracy, "roc_auc": roc_auc}


def find_near_duplicates(run: Run, catalog: pd.DataFrame) -> pd.DataFrame:
    """The pairs across splits and within test: a frame with COLUMNS, the most alike first.

    The second of a pair is of the later split (train_fit, validation, test), or later in order of path.
    """
    radiographs = load_radiographs(run, catalog, SIZE, WINDOW)
    by_split = {split: radiographs[split] for split in SPLITS}
    pairs = [
        compare(by_split[a], by_split[b]) for a, b in combinations_with_replacement(SPLITS, 2) if a != b or a == "test"
    ]
    table = pd.concat(pairs, ignore_index=True)
    return table.sort_values(["correlation", "path_a", "path_b"], ascending=[False, True, True], ignore_index=True)


def compare(first: Radiographs, second: Radiographs) -> pd.DataFrame:
    """The near-duplicates among all pairs of two splits, or of a split with itself: a frame with COLUMNS."""
    distances = np.rint(cdist(hash_pictures(first.pixels), hash_pictures(second.pixels), "cityblock")).astype(int)
    near = distances <= DISTANCE
    if first is second:
        near &= np.triu(np.ones_like(near), 1)
    sharp = [sharpen(split.pixels) for split in (first, second)]
    rows = []
    for i, j in np.argwhere(near):
        correlation = correlate(sharp[0][i], sharp[1][j])
        if correlation >= CORRELATION:
            a, b = (split.rows[["path", "split", "label"]].iloc[n] for split, n in ((first, i), (second, j)))
            same = first.patients[i] == second.patients[j]
            rows.append((*a, *b, distances[i, j], round(correlation, DECIMALS), same))
    return pd.DataFrame(rows, columns=COLUMNS)


def hash_pictures(pictures: np.ndarray) -> np.ndarray:
    """The perceptual hash (pHash) of uint8 (n, h, w): bool (n, 64), which coarse cosine waves exceed their median."""
    return np.array([imagehash.phash(Image.fromarray(picture)).hash.ravel() for picture in pictures]).reshape(-1, 64)


def sharpen(pictures: np.ndarray) -> np.ndarray:
    """uint8 (n, h, w) without what is coarser than BLUR: float32 of the same shape."""
    pictures = pictures.astype(np.float32)
    return np.stack([picture - cv2.GaussianBlur(picture, (0, 0), BLUR) for picture in pictures])


def correlate(first: np.ndarray, second: np.ndarray) -> float:
    """The highest normalised correlation of the middle of `first` (h, w) with that of `second`, SHIFT away at most."""
    middle = np.ascontiguousarray(first[SHIFT:-SHIFT, SHIFT:-SHIFT])
    return float(cv2.matchTemplate(second, middle, cv2.TM_CCOEFF_NORMED).max())


def leave_out(table: pd.DataFrame) -> set[str]:
    """The test radiographs that are near-duplicates of a train_fit, a validation or an earlier test radiograph."""
    return set(table.loc[table["split_b"] == "test", "path_b"])


def measure(results: Results) -> dict[str, dict[str, Estimate]]:
    """METRICS of the ensemble of the final model on test: "official", and "without" those that `leave_out` names."""
    test, draws = results.scores.test(results.final_model), results.run.bootstrap_draws
    kept = ~np.isin(test.paths, list(leave_out(results.table("near_duplicates"))))
    return {
        name: {
            metric: _estimate(
                metric, test.y_true[chosen], np.stack(test.seeds)[:, chosen], test.patient_ids[chosen], draws
            )
            for metric in METRICS
        }
        for name, chosen in (("official", np.ones_like(kept)), ("without", kept))
    }


def _estimate(metric: str, y_true: np.ndarray, seeds: np.ndarray, patient_ids: np.ndarray, draws: int) -> Estimate:
    """Of the mean of the probabilities `seeds` (seeds, n), with its interval over patients and seeds."""
    compute, weights = METRICS[metric], bootstrap_weights(patient_ids, draws)
    samples = resample_ensemble(seeds, weights, lambda y_prob, drawn: {metric: compute(y_true, y_prob, drawn)})
    return Estimate.of(metric, compute(y_true, seeds.mean(axis=0)), *percentile_interval(samples[metric]), len(y_true))


def describe(results: Results) -> dict:
    """pairs: how many there are, and where; left_out: how many test radiographs; official, without: see `measure`."""
    table = results.table("near_duplicates")
    across, within = (table[(table["split_a"] == table["split_b"]) == inside] for inside in (False, True))
    touched = int((across["split_b"] == "test").sum())
    labels, same = int((table["label_a"] != table["label_b"]).sum()), int(within["same_patient"].sum())
    return {
        "pairs": f"Pairs found: {len(table)}, of which {len(across)} are across splits ({touched} with a test "
        f"radiograph) and {len(within)} within test ({same} of one child by their names); the labels differ in "
        f"{labels}.",
        "left_out": str(len(leave_out(table))),
        **measure(results),
    }


def tabulate(results: Results) -> Table:
    """The final model on the official test split, and on it without near-duplicates."""
    titles = {"official": "official test split", "without": "without near-duplicates"}
    rows = [
        [titles[name], str(found["accuracy"].n), *(found[metric].full for metric in METRICS)]
        for name, found in measure(results).items()
    ]
    return Table(["ensemble of the final model", "radiographs", "accuracy", "ROC AUC"], rows)


STUDY = Study(
    find_near_duplicates,
    describe,
    tables={"near_duplicates": tabulate},
    depends_on=catalog_hash,
)
