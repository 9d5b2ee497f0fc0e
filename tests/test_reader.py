"""One radiograph or many -> answers, with a warning when the model is not made for a picture."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dicom_files import SECRETS, make_dicom
from PIL import Image
from pydicom import dcmread

from pneumonia.config import ROOT, PneumoniaError
from pneumonia.data.simulate import simulate_radiograph
from pneumonia.inference.final_model import FinalModel
from pneumonia.inference.reader import ATYPICAL, SQUARE, Answer, Reader


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader()


def chest(seed: int = 0, size: int = 224) -> np.ndarray:
    return simulate_radiograph(("NORMAL", "bacteria")[seed % 2], np.random.default_rng(seed), size)


def as_png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def warnings_of(reader: Reader, content: bytes) -> tuple[str, ...]:
    """But that a square file may be a stretched copy, and that simulated chests are somewhat atypical."""
    answer = reader.read(content)
    assert answer.refer or not set(answer.warnings) - {SQUARE}, "what the model is not made for is referred"
    return tuple(found for found in answer.warnings if found not in (ATYPICAL, SQUARE))


def test_png_dicom_and_stream_agree(reader, tmp_path):
    for seed in range(4):
        (tmp_path / f"{seed}.png").write_bytes(as_png(chest(seed)))
        (tmp_path / f"{seed}.dcm").write_bytes(make_dicom(chest(seed).astype(np.uint16) * 16, bits=12))
    names = [f"{seed}.{suffix}" for seed in range(4) for suffix in ("png", "dcm")]
    streamed = list(reader.stream([tmp_path / name for name in names], batch_size=3, workers=2))
    assert [Path(answer.path).name for answer in streamed] == names
    for png, dicom in zip(streamed[::2], streamed[1::2], strict=True):
        assert abs(png.probability - dicom.probability) < 1e-3
    assert abs(reader.read(tmp_path / "2.png").probability - streamed[4].probability) < 1e-5
    assert len({round(answer.probability, 4) for answer in streamed}) > 2


def read_all(reader: Reader, **sources) -> dict[str, Answer]:
    return {kind: reader.read(source, "x") for kind, source in sources.items()}


def assert_same(answers: dict[str, Answer]) -> None:
    first = next(iter(answers.values()))
    for kind, answer in answers.items():
        assert answer == first, kind
        assert np.array_equal(answer.heatmap, first.heatmap) and np.array_equal(answer.image, first.image), kind


@pytest.mark.parametrize("depth", ["8 bits", "12 bits", "16 bits"])
def test_every_kind_of_source_gives_the_same_answer(reader, tmp_path, depth):
    bits = int(depth.split()[0])
    pixels = np.asarray(Image.fromarray(chest(1)).resize((300, 200))).astype(np.uint16) * ((2**bits - 1) // 255)
    pixels = pixels.astype(np.uint8) if bits == 8 else pixels
    png, scan = as_png(pixels), make_dicom(pixels, bits=bits)
    (tmp_path / "x.png").write_bytes(png)
    (tmp_path / "x.dcm").write_bytes(scan)
    films = {"path": tmp_path / "x.png", "text": str(tmp_path / "x.png"), "bytes": png, "array": pixels}
    films |= {"float": pixels.astype(float), "column": pixels[..., None], "dicom": tmp_path / "x.dcm", "scan": scan}
    assert_same(read_all(reader, **films, dataset=dcmread(io.BytesIO(scan))))


def test_arrays_in_colour_and_in_shares_of_white(reader):
    pixels = chest(1)
    rgba = np.dstack([pixels] * 3 + [np.full_like(pixels, 255)])
    deep = np.dstack([pixels.astype(np.uint16) * 257] * 3)
    shares = pixels / np.float32(255)
    films = {"plain": pixels, "rgb": rgba[..., :3], "rgba": rgba, "deep": deep, "share": shares}
    assert_same(read_all(reader, **films, rgb_share=np.dstack([shares] * 3), file=as_png(rgba)))
    hot = np.dstack([pixels, pixels // 2, 255 - pixels])
    assert_same(read_all(reader, array=hot, file=as_png(hot)))


def test_dicom_windows_and_tables_hold_for_data_sets(reader):
    stored = chest(1).astype(np.uint16) * 16
    for tags in (
        {"WindowCenter": 2048, "WindowWidth": 1024},
        {"RescaleSlope": 2, "RescaleIntercept": 100, "WindowCenter": 4000, "WindowWidth": 4096},
        {"PhotometricInterpretation": "MONOCHROME1"},
    ):
        scan = make_dicom(stored, bits=12, **tags)
        plain = reader.read(make_dicom(stored, bits=12), "x")
        answers = read_all(reader, file=scan, dataset=dcmread(io.BytesIO(scan)))
        assert_same(answers)
        assert not np.array_equal(answers["file"].image, plain.image)


def test_array_that_changes_later_keeps_its_heatmap(reader):
    pixels = chest(1)
    answer, expected = reader.read(pixels), reader.read(pixels.copy()).image
    pixels[:] = 0
    assert np.array_equal(answer.image, expected)


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((2, 9, 9, 3)), np.zeros(9), np.zeros((9, 9, 2)), np.zeros((0, 5)), np.zeros((9, 9), np.int16)],
    ids=["batch", "line", "two channels", "empty", "signed"],
)
def test_arrays_that_are_no_radiograph(reader, pixels):
    with pytest.raises(PneumoniaError, match=r"^array: array .*; give \(h, w\)"):
        reader.read(pixels)


def test_numbers_that_are_none(reader):
    for shape in ((9, 9), (9, 9, 3)):
        with pytest.raises(PneumoniaError, match="^film: .*NaN or infinite"):
            reader.read(np.full(shape, np.nan), "film")


def test_other_sources_are_refused(reader):
    with pytest.raises(TypeError, match="cannot read list: give a path, bytes, an array or a pydicom Dataset"):
        reader.read([1, 2])
    scan = dcmread(io.BytesIO(make_dicom(chest())))
    del scan.PixelData
    with pytest.raises(PneumoniaError, match="^DICOM data set: DICOM without a picture"):
        reader.read(scan)


def test_answers_show_themselves(reader, tmp_path):
    scan = make_dicom(chest(1), PatientAge="044Y")
    shown = repr(reader.read(scan, "scan.dcm"))
    assert shown.startswith("<Answer scan.dcm: PNEUMONIA, probability 0.") and "refer: child is not one" in shown
    assert "robust_cnn" in repr(reader) and "balanced" in repr(reader)
    (error,) = reader.stream([tmp_path / "nowhere.png"])
    assert "No such file" in repr(error)
    with pytest.raises(PneumoniaError, match="No such file"):
        error.overlay()


def test_rows_give_the_answer_back_without_its_pictures(reader):
    answer = reader.read(chest(1), "x")
    again = Answer(**answer.row())
    assert again == answer
    with pytest.raises(PneumoniaError, match="x: the radiograph was not kept"):
        _ = again.heatmap


def test_importing_the_reader_is_light():
    code = (
        "import sys, pneumonia.inference.reader; print({'tensorflow', 'keras', 'pandas', 'sklearn', 'scipy', "
        "'matplotlib', 'cv2', 'pydicom', 'onnxruntime'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"


def test_pictures_have_the_resolution_of_the_file(reader):
    pixels = np.asarray(Image.fromarray(chest(1)).resize((300, 200)))
    answer = reader.read(as_png(pixels), "x.png")
    assert np.array_equal(answer.image, pixels) and answer.heatmap.shape == (200, 300)
    assert answer.heatmap.min() >= 0 and answer.heatmap.max() <= 1
    overlay = answer.overlay()
    assert overlay.height == 200 and overlay.width > 300 and overlay.mode == "RGB"


def test_answers_keep_no_picture_of_their_overlay(reader, tmp_path):
    """A batch of answers is alive while heatmaps are written: their memory must not grow with the pictures."""
    path = tmp_path / "film.png"
    path.write_bytes(as_png(chest(1, 900)))
    (answer,) = reader.stream([path])
    assert answer.overlay().height == 900

    def held() -> int:
        return sum(value.nbytes for value in vars(answer).values() if isinstance(value, np.ndarray))

    assert held() < 900 * 900 / 10
    assert answer.image is answer.image and answer.heatmap is answer.heatmap
    assert held() >= 5 * 900 * 900, "those that are asked for are kept"


@pytest.mark.parametrize("point", ["screening", "balanced", "rule-in"])
def test_call_depends_on_the_operating_point_alone(point, tmp_path):
    model = FinalModel()
    plain, rare = Reader(point, model=model), Reader(point, prevalence=0.02, model=model)
    for seed in range(6):
        one, other = (reader.read(as_png(chest(seed))) for reader in (plain, rare))
        assert one.call == other.call == ("PNEUMONIA" if one.probability >= model.threshold(point) else "NORMAL")
        assert other.probability < one.probability and one.refer == other.refer


def test_wrong_settings():
    model = FinalModel()
    for prevalence in (0, 1, 7):
        with pytest.raises(PneumoniaError, match="prevalence"):
            Reader(prevalence=prevalence, model=model)
    with pytest.raises(PneumoniaError, match="operating point"):
        Reader("optimal", model=model)


def test_a_probability_within_the_band_is_referred(reader, monkeypatch):
    monkeypatch.setitem(reader.model.record, "atypicality_limit", np.inf)
    answer = reader.read(as_png(chest(1)))
    monkeypatch.setitem(reader.model.record, "referral", [answer.probability - 0.01, answer.probability + 0.01])
    assert reader.read(as_png(chest(1))).refer
    monkeypatch.setitem(reader.model.record, "referral", [answer.probability - 0.02, answer.probability - 0.01])
    assert not reader.read(as_png(chest(1))).refer


def test_a_call_that_the_band_contradicts_is_referred(reader, monkeypatch):
    monkeypatch.setitem(reader.model.record, "atypicality_limit", np.inf)
    answer = reader.read(as_png(chest(1)))
    assert answer.call == "PNEUMONIA"
    monkeypatch.setitem(reader.model.record, "referral", [answer.probability + 0.0001, answer.probability + 0.0002])
    assert reader.read(as_png(chest(1))).refer


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


def with_window(window: float) -> FinalModel:
    model = FinalModel()
    model.window = window
    return model


@pytest.fixture(scope="module")
def windowed() -> FinalModel:
    """The committed model, as if it saw the central window of 1.25 : 1."""
    return with_window(1.25)


def test_an_original_and_its_stretched_copy_give_nearly_the_same_answer(windowed, tmp_path):
    wide = Image.fromarray(chest(1, 600)).resize((900, 600))
    square = np.asarray(wide.resize((224, 224), Image.Resampling.BILINEAR))
    path = tmp_path / "test" / "NORMAL" / "IM-0001-0001.jpeg"  # the original of this name has 1857 x 1317 pixels
    path.parent.mkdir(parents=True)
    Image.fromarray(square).save(path, quality=95)
    original = Reader(model=windowed).read(np.asarray(wide))
    copy = Reader(model=windowed, original_size=(900, 600)).read(square)
    unknown = Reader(model=windowed).read(square)
    assert copy.probability == pytest.approx(original.probability, abs=0.02)
    assert unknown.probability != pytest.approx(original.probability, abs=1e-4)
    assert [SQUARE in answer.warnings for answer in (original, copy, unknown)] == [False, False, True]
    assert original.box == (75, 0, 825, 600) and copy.box == (18, 0, 206, 224) and unknown.box == (0, 22, 224, 202)
    (streamed,) = Reader(model=windowed, original_size=(600, 900)).stream([path])
    assert streamed == Reader(model=windowed).read(path), "the table knows the files of the archive"
    assert streamed.box == (12, 0, 212, 224) and SQUARE not in streamed.warnings


def test_the_heatmap_is_in_its_place_on_the_picture(windowed):
    pixels = np.asarray(Image.fromarray(chest(1)).resize((400, 200)))
    answer = Reader(model=windowed).read(pixels)
    left, top, right, bottom = answer.box
    assert (left, top, right, bottom) == (75, 0, 325, 200)
    assert answer.heatmap.shape == (200, 400) and answer.heatmap[:, left:right].max() > 0
    assert answer.heatmap[:, :left].max() == answer.heatmap[:, right:].max() == 0
    overlay = np.asarray(answer.overlay())
    assert np.array_equal(overlay[:, :left], np.dstack([pixels] * 3)[:, :left])


def test_a_square_picture_of_unknown_proportions_is_noted_and_not_referred(windowed, monkeypatch):
    monkeypatch.setitem(windowed.record, "atypicality_limit", np.inf)
    monkeypatch.setitem(windowed.record, "referral", [0.5, 0.5])
    answer = Reader(model=windowed).read(chest(1))
    assert answer.warnings == (SQUARE,) and not answer.refer and f"; {SQUARE}>" in repr(answer)
    monkeypatch.setitem(windowed.record, "referral", [0, 1.1])
    answer = Reader(model=windowed).read(chest(1))
    assert answer.refer and answer.explain() == ("too close to call", SQUARE)
    assert f"; refer: too close to call; {SQUARE}>" in repr(answer)
    stretching = Reader(model=with_window(0.0))
    for known in (Reader(model=windowed).read(make_dicom(chest(1))), stretching.read(chest(1))):
        assert SQUARE not in known.warnings, "detectors may be square, and a model without a window does not mind"


@pytest.mark.parametrize("size", [(1, 1), (1000, 1), (1, 1000), (3, 2)])
def test_the_window_of_an_odd_picture_is_not_empty(windowed, size):
    answer = Reader(model=windowed).read(np.full(size, 90, np.uint8))
    left, top, right, bottom = answer.box
    assert left < right and top < bottom and answer.heatmap.shape == size


@pytest.mark.parametrize("size", [(0, 5), (5,), (5, -1)])
def test_an_impossible_original_size_is_refused(windowed, size):
    with pytest.raises(PneumoniaError, match="original_size=.*width and height"):
        Reader(model=windowed, original_size=size)


def test_noise_is_atypical(reader):
    noise = np.random.default_rng(0).integers(0, 256, (224, 224), dtype=np.uint8)
    answer = reader.read(as_png(noise))
    assert ATYPICAL in answer.warnings and answer.refer
    assert answer.atypicality > reader.model.record["atypicality_limit"]


def test_patient_stays_out_of_everything(reader):
    scan = make_dicom(chest(), PatientAge="044Y")
    for answer in (reader.read(scan, "scan.dcm"), reader.read(dcmread(io.BytesIO(scan)))):
        assert [secret for secret in SECRETS if secret in repr(answer) + str(answer.row())] == []


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
