"""What `import pneumonia` offers: the lines of the documentation run, cheaply imported, with errors of one line."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pneumonia
from pneumonia import PneumoniaError, RadiographGenerator, load_model
from pneumonia.config import ROOT
from pneumonia.data.radiograph import read_radiograph
from pneumonia.series import real_run

# The lines of the package's docstring, which README repeats.
EXAMPLE = textwrap.dedent(re.search(r"^    import pneumonia$.*", pneumonia.__doc__, re.MULTILINE | re.DOTALL)[0])


@pytest.fixture
def films(simulated_tree, tmp_path) -> Path:
    """A folder with NORMAL/ and PNEUMONIA/, five radiographs each."""
    for name in ("NORMAL", "PNEUMONIA"):
        (tmp_path / "films" / name).mkdir(parents=True)
        usable = [
            file for file in sorted((simulated_tree / "train" / name).glob("*.jpeg")) if file.stat().st_size > 999
        ]
        for file in usable[:5]:
            shutil.copy(file, tmp_path / "films" / name)
    return tmp_path / "films"


def run_python(code: str, folder: Path) -> str:
    """In a process of its own: what it prints. The package is the installed one."""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- the documented lines -----------------------------------------------------------------------------------------


def test_documented_lines_run_as_they_are(films):
    shutil.copy(next((films / "PNEUMONIA").iterdir()), films.parent / "film.jpeg")
    after = "\nimport json; print(json.dumps([answer.call, probabilities.ravel().tolist(), films.filenames]))"
    call, probabilities, filenames = json.loads(run_python(EXAMPLE + after, films.parent).splitlines()[-1])
    assert call in ("NORMAL", "PNEUMONIA")
    assert Image.open(films.parent / "heatmap.png").mode == "RGB"
    config = real_run(None).model("robust_cnn")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # square files
        seen = RadiographGenerator.from_directory(films, size=config.image_size, window=config.window)
    assert filenames == seen.filenames
    expected = load_model("robust_cnn", seed=0).predict(seen, verbose=0).ravel()
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)


def test_documented_lines_show_a_model_what_it_was_trained_on():
    config = real_run(None).model(re.search(r'load_model\("(\w+)"', EXAMPLE)[1])
    (options,) = re.findall(r'from_directory\("films", (.*?)\)', EXAMPLE)
    assert options == f"size={config.image_size}" + (f", window={config.window:g}" if config.window else "")


def python_blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


def test_readme_shows_the_lines_that_are_tested():
    assert [block.strip() for block in python_blocks("README.md")] == [EXAMPLE.strip()]


def test_lines_of_the_page_about_prediction_run(films, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (film, *_) = (films / "NORMAL").iterdir()
    (block,) = python_blocks("docs/predict.md")
    exec(block.replace("film.dcm", str(film)), {})
    assert (tmp_path / "overlay.png").exists()


# --- lazy imports -------------------------------------------------------------------------------------------------

HEAVY = "sorted({'numpy', 'pandas', 'keras', 'tensorflow', 'sklearn', 'onnxruntime'} & set(sys.modules))"


@pytest.mark.parametrize(
    ("code", "forbidden"),
    [
        ("import pneumonia", {"numpy", "pandas", "keras", "tensorflow", "sklearn", "onnxruntime"}),
        ("import pneumonia; dir(pneumonia); pneumonia.PneumoniaError", {"numpy", "keras", "tensorflow"}),
        ("import pneumonia; pneumonia.Reader", {"keras", "tensorflow", "sklearn"}),
    ],
)
def test_only_what_is_asked_for_is_imported(code, forbidden, tmp_path):
    loaded = set(json.loads(run_python(f"import json, sys\n{code}\nprint(json.dumps({HEAVY}))", tmp_path)))
    assert not loaded & forbidden


def test_import_is_fast(tmp_path):
    code = "import time; start = time.perf_counter(); import pneumonia; print(time.perf_counter() - start)"
    assert min(float(run_python(code, tmp_path)) for _ in range(3)) < 0.05


@pytest.mark.parametrize(("name", "extra"), [("load_model", "[train]"), ("Reader", "")])
def test_a_missing_package_is_named_with_its_remedy(name, extra, monkeypatch):
    def find_nothing(*_):
        raise ModuleNotFoundError("No module named 'keras'", name="keras")

    monkeypatch.setattr(pneumonia.importlib, "import_module", find_nothing)
    with pytest.raises(ImportError, match=re.escape(f'keras is not installed; run `pip install -e ".{extra}"`')):
        getattr(pneumonia, name)


def test_dir_lists_what_there_is():
    assert {"Reader", "RadiographGenerator", "load_model", "PneumoniaError", "__version__"} <= set(dir(pneumonia))
    with pytest.raises(AttributeError, match="module 'pneumonia' has no attribute 'Radiologist'"):
        _ = pneumonia.Radiologist


# --- models -------------------------------------------------------------------------------------------------------


def test_a_baseline_is_a_scikit_learn_estimator():
    estimator = load_model("thumbnail_logistic")
    assert estimator.predict_proba(np.zeros((2, 256))).shape == (2, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resnet",), r"unknown model 'resnet'; the models of this run are: majority, .*robust_cnn"),
        (("robust_cnn", 7), r"robust_cnn was not trained with seed 7; its seeds are: 0, 1, 2, 3, 4"),
        (("majority", 1), r"majority was not trained with seed 1; its seeds are: 0"),
    ],
)
def test_unknown_model_or_seed_is_one_line_that_lists_the_known_ones(arguments, message):
    with pytest.raises(PneumoniaError, match=message) as caught:
        load_model(*arguments)
    assert "\n" not in str(caught.value)


# --- generators of a folder ---------------------------------------------------------------------------------------


def test_folder_becomes_batches_with_the_labels_of_its_classes(films):
    generator = RadiographGenerator.from_directory(films, size=32, batch_size=4)
    assert generator.class_indices == {"NORMAL": 0, "PNEUMONIA": 1}
    assert tuple(generator.class_names) == ("NORMAL", "PNEUMONIA")
    assert generator.labels.tolist() == [0] * 5 + [1] * 5
    assert generator.filenames == sorted(path.relative_to(films).as_posix() for path in films.rglob("*.jpeg"))
    assert [len(generator[batch][1]) for batch in range(len(generator))] == [4, 4, 2]
    images = np.concatenate([generator[batch][0] for batch in range(3)])
    assert (images.shape, images.dtype) == ((10, 32, 32, 1), np.float32)
    for image, name in zip(images, generator.filenames, strict=True):
        np.testing.assert_array_equal(image[..., 0], read_radiograph(films / name, 32))
    assert repr(generator) == "<RadiographGenerator: 10 radiographs of 32x32: 5 NORMAL, 5 PNEUMONIA; not augmented>"


def test_a_window_shows_true_proportions_and_counts_what_is_unknown_once(films):
    for name in ("NORMAL", "PNEUMONIA"):
        for number, file in enumerate(sorted((films / name).iterdir())):
            if number < 3:  # originals; the others are square
                Image.open(file).resize((150 - 40 * number, 90)).save(films / name / f"wide{number}.png")
            file.unlink() if number < 3 else file.rename(file.with_name(f"square{number}.jpeg"))
    with pytest.warns(
        UserWarning, match="^4 of 10 files are square and read as they are; .*give the original"
    ) as caught:
        generator = RadiographGenerator.from_directory(films, size=32, window=1.25)
    assert len(caught) == 1
    for pixels, name, aspect in zip(generator.pixels, generator.filenames, generator.films.aspects, strict=True):
        np.testing.assert_array_equal(pixels, read_radiograph(films / name, 32, 1.25))
        width, height = Image.open(films / name).size
        assert aspect == width / height
    assert generator.films.window == 1.25
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RadiographGenerator.from_directory(films, size=32)


def test_augmented_folder_is_shuffled_and_repeatable(films):
    options = {"size": 32, "batch_size": 10, "augmentations": ("tones", "shape", "flip")}
    one, same, other = (RadiographGenerator.from_directory(films, seed=seed, **options) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one[0][0], same[0][0])
    assert not np.array_equal(one[0][0], other[0][0])
    assert (
        one.shuffle and not RadiographGenerator.from_directory(films, 32, shuffle=False, augmentations=["flip"]).shuffle
    )


def test_every_epoch_of_a_fit_is_drawn_anew(films):
    import keras

    seen = {}

    class Watched(RadiographGenerator):
        def __getitem__(self, batch: int):
            images, labels = super().__getitem__(batch)
            seen.setdefault(self.epoch, {})[batch] = images.tobytes()
            return images, labels

    train = Watched.from_directory(films, size=16, batch_size=4, augmentations=("flip", "exposure"))
    validation = RadiographGenerator.from_directory(films, size=16)
    model = keras.Sequential([keras.Input((16, 16, 1)), keras.layers.Flatten(), keras.layers.Dense(1, "sigmoid")])
    model.compile(loss="binary_crossentropy", metrics=["accuracy"])
    model.fit(train, validation_data=validation, epochs=3, verbose=0)
    complete = [tuple(batches[number] for number in sorted(batches)) for batches in seen.values() if len(batches) == 3]
    assert len(complete) >= 3 and len(set(complete)) == len(complete)
    assert model.predict(validation, verbose=0).shape == (10, 1)
    assert 0 <= model.evaluate(validation, verbose=0, return_dict=True)["accuracy"] <= 1


def test_unreadable_files_are_listed_in_one_warning_and_left_out(films):
    (films / "NORMAL" / "empty.png").touch()
    (films / "PNEUMONIA" / "notes.txt").write_text("no image")
    (films / "PNEUMONIA" / ".DS_Store").write_text("left by a desktop")
    with pytest.warns(UserWarning, match=r"2 of 12 files left out: .*empty\.png: empty file.*notes\.txt: not an image"):
        generator = RadiographGenerator.from_directory(films, size=16)
    assert len(generator.labels) == len(generator.filenames) == 10


def test_a_long_list_of_unreadable_files_is_cut(films):
    for number in range(8):
        (films / "NORMAL" / f"bad{number}.png").touch()
    with pytest.warns(UserWarning, match=r"8 of 18 files left out: .*bad4\.png.* \(and 3 more\)$"):
        RadiographGenerator.from_directory(films, size=16)


def test_sub_folders_and_any_case_are_found_without_a_warning(films):
    (films / "NORMAL").rename(films / "normal")
    deeper = films / "normal" / "2024"
    deeper.mkdir()
    first = next((films / "normal").glob("*.jpeg"))
    first.rename(deeper / first.name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(RadiographGenerator.from_directory(str(films), size=16).labels) == 10


def remove_class(films: Path) -> None:
    shutil.rmtree(films / "NORMAL")


def empty_class(films: Path) -> None:
    (films / "NORMAL" / "empty.png").touch()
    for file in (films / "PNEUMONIA").iterdir():
        file.unlink()


def spoil_class(films: Path) -> None:
    for file in (films / "PNEUMONIA").iterdir():
        file.write_text("no image")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shutil.rmtree, r"films: no such folder; give one with the folders NORMAL and PNEUMONIA"),
        (remove_class, r"films: no folder NORMAL; put the radiographs of each class into one"),
        (empty_class, r"films: no PNEUMONIA radiograph that can be read; add some"),
        (
            spoil_class,
            r"films: no PNEUMONIA radiograph that can be read; the first that could not be read is .*image",
        ),
    ],
)
def test_a_folder_without_both_classes_is_one_line(films, spoil, message):
    spoil(films)
    with pytest.raises(PneumoniaError, match=message) as caught:
        RadiographGenerator.from_directory(films, size=16)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augmentations": ("flip", "rotate")}, "unknown augmentation 'rotate'; known: flip, affine"),
        ({"augmentations": "rotate"}, "unknown augmentation 'rotate'"),
        ({"size": 0}, "size=0: must be 1 pixel or more"),
        ({"window": -1}, "window=-1: must be width / height"),
        ({"batch_size": 0}, "batch_size=0: must be 1 or more"),
    ],
)
def test_a_wrong_argument_is_one_line(films, options, message):
    with pytest.raises(PneumoniaError, match=message):
        RadiographGenerator.from_directory(films, **({"size": 16} | options))
