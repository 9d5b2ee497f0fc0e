"""What others report on the official 624 test radiographs, in percent, each with how the model was chosen.

Figures are those of the papers and pages named; empty where nothing is stated. Most have neither seeds nor intervals,
and those that chose on the test split are too good by an unknown amount: published_comparison.py says what can be said.
"""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """One published result."""

    work: str
    pretrained: str
    accuracy: str
    sensitivity: str
    specificity: str
    roc_auc: str
    protocol: str


PUBLISHED = (
    Published(
        "Kermany et al. 2018, frozen InceptionV3", "ImageNet", "92.8", "93.2", "90.1", "0.968", "best step on test"
    ),
    Published("MedMNIST v2, ResNet-18, 28 px", "no", "86.4", "", "", "0.956", "validation AUC"),
    Published("MedMNIST v2, ResNet-50, 28 px", "no", "88.4", "", "", "0.962", "validation AUC"),
    Published("MedMNIST v2, Google AutoML Vision", "unknown", "94.6", "", "", "0.991", "not stated"),
    Published("MedMNIST+, ResNet-18, 224 px", "ImageNet", "91.1 ± 1.0", "", "", "0.980", "validation, 3 seeds"),
    Published(
        "MedMNIST+, DINO ViT-B/16, linear probe",
        "self-supervised",
        "91.6 ± 0.3",
        "",
        "",
        "0.989",
        "validation, 3 seeds",
    ),
    Published("a popular public CNN notebook, 150 px", "no", "91.5", "94.4", "86.8", "", "one run"),
)
