"""Keras image generators: every draw depends on (seed, epoch, batch); every radiograph is decoded once."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import USABLE
from PIL import Image
from sklearn.utils.class_weight import compute_class_weight
from tiny_runs import tiny_run

from pneumonia.config import PneumoniaError, Run
from pneumonia.data import pixels as pixels_module
from pneumonia.data.catalog import audit_radiographs, build_catalog, select_used
from pneumonia.data.generators import RadiographGenerator, build_generators, compute_class_weights
from pneumonia.data.pixels import load_pixels, store_pixels
from pneumonia.data.radiograph import read_radiograph
from pneumonia.models.architectures import build_model
from pneumonia.models.training import compile_model

resource = None
with suppress(ImportError):  # not on Windows
    import resource

COUNT, SIZE, BATCH = 37, 8, 10


@pytest.fixture
def make_generator():
    """A generator over 37 pictures, each of a gray level of its own; labels 0, 0, 1, 0, 0, 1, ..."""
    pixels = np.repeat(np.arange(COUNT, dtype=np.uint8), SIZE * SIZE).reshape(COUNT, SIZE, SIZE)
    labels = np.arange(COUNT) % 3 == 2

    def make(**options) -> RadiographGenerator:
        return RadiographGenerator(pixels, labels, BATCH, **options)

    return make


def order_of(generator: RadiographGenerator) -> list[int]:
    return [int(image[0, 0, 0]) for batch in range(len(generator)) for image in generator[batch][0]]


# --- batches ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("augmentations", [(), ("flip", "affine", "exposure")])
def test_shapes_types_and_range(make_generator, augmentations):
    generator = make_generator(shuffle=True, augmentations=augmentations)
    assert len(generator) == 4
    for batch, count in enumerate((10, 10, 10, 7)):
        images, labels = generator[batch]
        assert (images.shape, images.dtype) == ((count, SIZE, SIZE, 1), np.float32)
        assert (labels.shape, labels.dtype) == ((count, 1), np.float32)
        assert 0 <= images.min() <= images.max() <= 255
        assert set(labels.ravel()) <= {0.0, 1.0}


def test_pixels_are_handed_over_as_they_are_and_not_scaled(make_generator):
    assert order_of(make_generator()) == list(range(COUNT))


@pytest.mark.parametrize("epoch", [0, 1, 17])
def test_an_epoch_shows_every_radiograph_once_with_its_label(make_generator, epoch):
    generator = make_generator(shuffle=True)
    generator.set_epoch(epoch)
    assert sorted(order_of(generator)) == list(range(COUNT))
    labels = np.concatenate([generator[batch][1].ravel() for batch in range(len(generator))])
    assert [level % 3 == 2 for level in order_of(generator)] == labels.astype(bool).tolist()


def test_order_differs_between_epochs_and_seeds(make_generator):
    orders = []
    for seed in (0, 1):
        generator = make_generator(shuffle=True, seed=seed)
        for epoch in range(3):
            generator.set_epoch(epoch)
            orders.append(tuple(order_of(generator)))
    assert len(set(orders)) == 6


def test_without_shuffling_every_epoch_is_in_order(make_generator):
    generator = make_generator()
    generator.set_epoch(5)
    assert order_of(generator) == list(range(COUNT))


def noise_generator(**options) -> RadiographGenerator:
    noise = np.random.default_rng(0).integers(0, 256, (COUNT, 16, 16), dtype=np.uint8)
    names = ("flip", "affine", "exposure", "encoding", "cover")
    return RadiographGenerator(noise, np.zeros(COUNT), BATCH, shuffle=True, augmentations=names, **options)


def test_a_batch_depends_on_seed_epoch_and_batch_alone():
    """Not on what was drawn before it: this is what makes a resumed training see what it would have seen."""
    walked, jumped = noise_generator(seed=3), noise_generator(seed=3)
    for epoch in range(3):
        walked.set_epoch(epoch)
        seen = [walked[batch][0] for batch in range(len(walked))]
    jumped.set_epoch(2)
    for batch in (3, 1, 0, 2):
        np.testing.assert_array_equal(jumped[batch][0], seen[batch])


def test_augmentation_is_drawn_anew_for_every_epoch_and_seed():
    first, other_seed = noise_generator(seed=0), noise_generator(seed=1)
    drawn = [np.sort(first[0][0].ravel()), np.sort(other_seed[0][0].ravel())]
    first.set_epoch(1)
    drawn.append(np.sort(first[0][0].ravel()))
    assert not np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_augmenting_does_not_change_what_is_stored():
    generator = noise_generator()
    before = generator.pixels.copy()
    for batch in range(len(generator)):
        generator[batch]
    np.testing.assert_array_equal(generator.pixels, before)


def test_repr_says_what_is_in_it(make_generator):
    assert repr(make_generator()) == (
        "<RadiographGenerator: 37 radiographs of 8x8: 25 NORMAL, 12 PNEUMONIA; not augmented>"
    )
    assert repr(make_generator(augmentations=("flip", "cover"))).endswith("; flip, cover>")


# --- class weights ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("positives", [1, 30, 50, 97])
def test_class_weights_equal_those_of_scikit_learn(positives):
    labels = np.arange(100) < positives
    balanced = compute_class_weight("balanced", classes=np.array([False, True]), y=labels)
    assert list(compute_class_weights(labels).values()) == pytest.approx(balanced)
    assert list(compute_class_weights(labels)) == [0, 1]


# --- the cache ----------------------------------------------------------------------------------------------------


@pytest.fixture
def run(simulated_tree, tmp_path):
    return tiny_run(simulated_tree, tmp_path, ("basic_cnn_augmented",))


@pytest.fixture(scope="module")
def catalog(simulated_tree, tmp_path_factory) -> pd.DataFrame:
    return build_catalog(tiny_run(simulated_tree, tmp_path_factory.mktemp("home")))


def test_pixels_are_those_of_the_files_in_the_order_of_the_catalog(run, catalog):
    pixels = load_pixels(run, catalog, 16)
    assert (pixels.shape, pixels.dtype) == ((USABLE, 16, 16), np.uint8)
    for row in (0, 20, USABLE - 1):
        file = run.data / select_used(catalog)["path"][row]
        np.testing.assert_array_equal(pixels[row], read_radiograph(file, 16))


def test_pixels_are_mapped_and_cannot_be_overwritten(run, catalog):
    pixels = load_pixels(run, catalog, 16)
    assert isinstance(pixels, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        pixels[0, 0, 0] = 1


def cache_files(run) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in run.cache.glob("*")}


def test_radiographs_are_decoded_once_per_size(run, catalog, monkeypatch):
    load_pixels(run, catalog, 16)
    load_pixels(run, catalog, 24)
    before = cache_files(run)
    assert len(before) == 2
    monkeypatch.setattr(pixels_module, "decode", None)  # would fail if anything were decoded
    load_pixels(run, catalog, 16)
    load_pixels(replace(run, data=None), catalog, 24)  # once decoded, the files are not needed
    assert cache_files(run) == before


def test_what_the_audit_decoded_is_not_decoded_again(run, monkeypatch):
    catalog, images = audit_radiographs(run, 24)
    store_pixels(run, catalog, images, 24)
    expected = load_pixels(replace(run, cache=run.home / "another cache"), catalog, 24)
    monkeypatch.setattr(pixels_module, "decode", None)
    assert (load_pixels(run, catalog, 24) == expected).all()


def test_when_a_file_changes_all_is_decoded_anew(simulated_tree, tmp_path):
    tree = shutil.copytree(simulated_tree, tmp_path / "tree")
    run = tiny_run(tree, tmp_path)
    before = load_pixels(run, build_catalog(run), 16)
    changed = tree / select_used(build_catalog(run))["path"][3]
    Image.open(changed).rotate(90).save(changed)
    after = load_pixels(run, build_catalog(run), 16)
    assert [row for row in range(USABLE) if (before[row] != after[row]).any()] == [3]
    assert len(cache_files(run)) == 2


def test_file_that_changed_after_the_audit_is_an_error_that_names_it(simulated_tree, tmp_path):
    tree = shutil.copytree(simulated_tree, tmp_path / "tree")
    run = tiny_run(tree, tmp_path)
    catalog = build_catalog(run)
    first, second = select_used(catalog)["path"][:2]
    shutil.copyfile(tree / second, tree / first)
    with pytest.raises(PneumoniaError, match=first):
        load_pixels(run, catalog, 16)


def test_file_that_went_away_is_an_error_that_leaves_no_cache(simulated_tree, tmp_path):
    tree = shutil.copytree(simulated_tree, tmp_path / "tree")
    run = tiny_run(tree, tmp_path)
    catalog = build_catalog(run)
    lost = select_used(catalog)["path"].iloc[-1]
    (tree / lost).unlink()
    with pytest.raises(PneumoniaError, match=lost):
        load_pixels(run, catalog, 16)
    assert cache_files(run) == {}


def test_without_radiographs_and_without_cache_the_error_names_the_remedy(run, catalog):
    with pytest.raises(PneumoniaError, match="set CHEST_XRAY_DIR or run"):
        load_pixels(replace(run, data=None), catalog, 16)


def die_while_decoding(run: Run, catalog: pd.DataFrame) -> None:
    """What the killed process does: it decodes, and is killed half way through."""
    decode, count = pixels_module.decode, [0]

    def die(*arguments):
        count[0] += 1
        if count[0] > 30:
            os.kill(os.getpid(), signal.SIGKILL)
        return decode(*arguments)

    pixels_module.decode = die
    load_pixels(run, catalog, 16)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system knows no SIGKILL")
def test_killed_half_way_through_decoding_leaves_no_cache_that_counts(run, catalog, processes):
    killed = processes.Process(target=die_while_decoding, args=(run, catalog))
    killed.start()
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL
    assert not list(run.cache.glob("pixels-*.npy"))
    pixels = load_pixels(run, catalog, 16)
    assert pixels.reshape(USABLE, -1).std(axis=1).min() > 0  # not one was left blank
    assert len(cache_files(run)) == 1  # and what the killed run left is gone


def decode_slowly(run: Run, catalog: pd.DataFrame, seconds: float, both, results) -> None:
    """Decode once `both` have started, `seconds` a radiograph; send how many there are, and whether none is blank."""
    decode = pixels_module.decode

    def decode_after_a_while(*arguments):
        time.sleep(seconds)
        return decode(*arguments)

    pixels_module.decode = decode_after_a_while
    both.wait(60)
    pixels = load_pixels(run, catalog, 16)
    results.put((len(pixels), bool(pixels.reshape(len(pixels), -1).std(axis=1).min() > 0)))


def test_two_processes_that_decode_at_once_both_get_every_radiograph(run, catalog, processes):
    """The slow one is overtaken; neither writes into what the other reads."""
    both, results = processes.Barrier(2), processes.Queue()
    for seconds in (0.05, 0.01):
        processes.Process(target=decode_slowly, args=(run, catalog, seconds, both, results)).start()
    assert [results.get(timeout=120) for _ in range(2)] == [(USABLE, True)] * 2
    assert len(cache_files(run)) == 1


@pytest.mark.skipif(resource is None, reason="this system cannot limit the size of files")
def test_full_disk_is_a_clear_error_and_leaves_nothing(run, catalog):
    """A file size limit stands in for the full disk: both end in an OSError while the cache is written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, before[1]))
    try:
        with pytest.raises(PneumoniaError, match=r"pixels-128px.*cannot be written"):
            load_pixels(run, catalog, 128)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert cache_files(run) == {}


# --- the generators of a model ------------------------------------------------------------------------------------


def test_generators_of_a_model(run, catalog):
    generators = build_generators(run, catalog, run.models[0], seed=5)
    used = select_used(catalog)
    assert list(generators) == ["train_fit", "validation", "test"]
    for split, generator in generators.items():
        assert generator.labels.tolist() == used.loc[used["split"] == split, "label"].tolist()
        assert generator.pixels.shape[1:] == (32, 32)
        assert generator.batch_size == 16
        assert generator.shuffle == (split == "train_fit")
        assert generator.augmentations == (run.models[0].augmentations if split == "train_fit" else ())
    assert generators["train_fit"].seed == 5


def take_one_step(run: Run, backend: str) -> None:
    assert keras.backend.backend() == backend
    generators, config = build_generators(run, build_catalog(run), run.models[0]), run.models[0]
    model = compile_model(build_model(config), config, steps=1)
    before = [np.array(weights) for weights in model.get_weights()]
    fitted = model.fit(generators["train_fit"], validation_data=generators["validation"], epochs=2, verbose=0)
    assert all(np.isfinite(fitted.history["loss"] + fitted.history["val_loss"]))
    assert any((old != new).any() for old, new in zip(before, model.get_weights(), strict=True))
    assert model.predict(generators["test"], verbose=0).shape == (len(generators["test"].labels), 1)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_generators_and_networks_work_under_other_backends(clean_tree, tmp_path, backend, monkeypatch):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs {backend}, which is not installed (the story itself runs on TensorFlow)")
    run = tiny_run(clean_tree, tmp_path, ("basic_cnn_augmented",), batch_size=40, epochs=1)
    monkeypatch.setenv("KERAS_BACKEND", backend)  # which a process that is not forked reads when it imports Keras
    process = multiprocessing.get_context("spawn").Process(target=take_one_step, args=(run, backend))
    process.start()
    process.join(300)
    assert process.exitcode == 0
