"""One file or many -> answers; when the model is not made for a picture, the answer says so."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from dicom_files import SECRETS, make_dicom
from PIL import Image

from pneumonia.config import PneumoniaError
from pneumonia.data.simulate import simulate_radiograph
from pneumonia.inference.final_model import FinalModel
from pneumonia.inference.reader import ATYPICAL, Reader


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(FinalModel())


def chest(seed: int = 0, size: int = 224) -> np.ndarray:
    return simulate_radiograph(("NORMAL", "bacteria")[seed % 2], np.random.default_rng(seed), size)


def as_png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def warnings_of(reader: Reader, content: bytes) -> tuple[str, ...]:
    answer = reader.read(content).answer
    assert answer.refer or not answer.warnings, "what the model is not made for is referred"
    return tuple(found for found in answer.warnings if found != ATYPICAL)  # simulated chests are somewhat atypical


def test_png_dicom_and_stream_agree(reader, tmp_path):
    for seed in range(4):
        (tmp_path / f"{seed}.png").write_bytes(as_png(chest(seed)))
        (tmp_path / f"{seed}.dcm").write_bytes(make_dicom(chest(seed).astype(np.uint16) * 16, bits=12))
    names = [f"{seed}.{suffix}" for seed in range(4) for suffix in ("png", "dcm")]
    streamed = list(reader.stream([tmp_path / name for name in names], batch_size=3, workers=2))
    assert [Path(answer.path).name for answer in streamed] == names
    for png, dicom in zip(streamed[::2], streamed[1::2], strict=True):
        assert abs(png.probability - dicom.probability) < 1e-3
    assert abs(reader.read(tmp_path / "2.png").answer.probability - streamed[4].probability) < 1e-5
    assert len({round(answer.probability, 4) for answer in streamed}) > 2


def test_pictures_have_the_resolution_of_the_file(reader):
    pixels = np.asarray(Image.fromarray(chest(1)).resize((300, 200)))
    reading = reader.read(as_png(pixels), "x.png")
    assert np.array_equal(reading.image, pixels) and reading.heatmap.shape == (200, 300)
    assert reading.heatmap.min() >= 0 and reading.heatmap.max() <= 1
    overlay = reading.overlay()
    assert overlay.height == 200 and overlay.width > 300 and overlay.mode == "RGB"


@pytest.mark.parametrize("point", ["screening", "balanced", "rule-in"])
def test_the_call_hangs_on_the_operating_point_alone(point, tmp_path):
    model = FinalModel()
    plain, rare = Reader(model, point), Reader(model, point, prevalence=0.02)
    for seed in range(6):
        one, other = (reader.read(as_png(chest(seed))).answer for reader in (plain, rare))
        assert one.call == other.call == ("PNEUMONIA" if one.probability >= model.threshold(point) else "NORMAL")
        assert other.probability < one.probability and one.refer == other.refer


def test_wrong_settings():
    model = FinalModel()
    for prevalence in (0, 1, 7):
        with pytest.raises(PneumoniaError, match="prevalence"):
            Reader(model, prevalence=prevalence)
    with pytest.raises(PneumoniaError, match="operating point"):
        Reader(model, "optimal")


def test_a_probability_within_the_band_is_referred(reader, monkeypatch):
    monkeypatch.setitem(reader.model.record, "atypicality_limit", np.inf)
    answer = reader.read(as_png(chest(1))).answer
    monkeypatch.setitem(reader.model.record, "referral", [answer.probability - 0.01, answer.probability + 0.01])
    assert reader.read(as_png(chest(1))).answer.refer
    monkeypatch.setitem(reader.model.record, "referral", [answer.probability - 0.02, answer.probability - 0.01])
    assert not reader.read(as_png(chest(1))).answer.refer


def test_a_call_that_the_band_contradicts_is_referred(reader, monkeypatch):
    monkeypatch.setitem(reader.model.record, "atypicality_limit", np.inf)
    answer = reader.read(as_png(chest(1))).answer
    assert answer.call == "PNEUMONIA"
    monkeypatch.setitem(reader.model.record, "referral", [answer.probability + 0.0001, answer.probability + 0.0002])
    assert reader.read(as_png(chest(1))).answer.refer


def test_warnings(reader):
    hot = np.dstack([chest(), chest() // 2, 255 - chest()])
    assert warnings_of(reader, as_png(chest())) == ()
    assert warnings_of(reader, as_png(chest(size=64))) == (f"smaller than {reader.model.size} pixels",)
    assert warnings_of(reader, as_png(np.full((200, 200), 90, np.uint8))) == ("blank",)
    assert warnings_of(reader, as_png(hot)) == ("not grayscale",)
    assert warnings_of(reader, as_png(np.full((1, 1), 90, np.uint8)))[-1] == "blank"
    old = make_dicom(chest(), PatientAge="044Y", BodyPartExamined="HAND", ViewPosition="LL")
    assert warnings_of(reader, old) == (
        "child is not one to five years old",
        "body part is not the chest",
        "lateral view",
    )


def test_noise_is_atypical(reader):
    noise = np.random.default_rng(0).integers(0, 256, (224, 224), dtype=np.uint8)
    answer = reader.read(as_png(noise)).answer
    assert ATYPICAL in answer.warnings and answer.refer
    assert answer.atypicality > reader.model.record["atypicality_limit"]


def test_patient_stays_out_of_everything(reader):
    reading = reader.read(make_dicom(chest(), PatientAge="044Y"), "scan.dcm")
    assert [secret for secret in SECRETS if secret in repr(reading)] == []


def test_unreadable_files_are_rows_between_the_others(reader, tmp_path):
    (tmp_path / "1.png").write_bytes(as_png(chest()))
    (tmp_path / "2.png").write_bytes(b"no image")
    paths = [tmp_path / name for name in ("0.png", "1.png", "2.png", "1.png")]
    answers = list(reader.stream(paths, batch_size=2, workers=2))
    assert [answer.error is None for answer in answers] == [False, True, False, True]
    assert "No such file" in answers[0].error and "not an image" in answers[2].error
    assert answers[0].probability is None and answers[1] == answers[3]


def test_stream_reads_only_a_little_ahead(reader, tmp_path):
    (tmp_path / "x.png").write_bytes(as_png(chest()))
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield tmp_path / "x.png"

    answers = reader.stream(endless(), batch_size=4, workers=2)
    for _ in range(20):
        next(answers)
    answers.close()
    assert taken <= 20 + 2 * 4


def test_occlusion_agrees_with_the_probability(reader):
    falls = reader.occlude(as_png(chest(1)))
    assert falls.shape == (reader.model.size,) * 2 and np.abs(falls).max() <= 1 and falls.std() > 0
