"""Where the evidence is: heatmaps over radiographs, and occlusion to check them with. Needs NumPy and Pillow only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..config import PneumoniaError

Predict = Callable[[np.ndarray], np.ndarray]  # uint8 or float (n, h, w) in 0-255 -> (n,) probability of PNEUMONIA
# Nine stops of matplotlib's "inferno" (CC0): rises evenly in lightness, so it can be read in gray and by the
# colour-blind.
STOPS = np.array(
    [(0, 0, 4), (31, 12, 72), (85, 15, 109), (136, 34, 106), (186, 54, 85), (227, 89, 51), (249, 140, 10),
     (249, 201, 50), (252, 255, 164)]
)  # fmt: skip
OPACITY = 0.6  # of the strongest evidence; none is fully transparent, so that the anatomy stays in sight
EDGE = "#a0a0a0"  # of the line around what the model sees
CAPTION = "evidence for PNEUMONIA (logit)"


Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels


def scale_evidence(evidence: np.ndarray, full: float, width: int, height: int, box: Box | None = None) -> np.ndarray:
    """Grad-CAM at the resolution of the radiograph: float32 (height, width) in 0-1.

    Args: evidence: (h, w), `FinalModel.score`. full: the evidence that counts as 1, the same for all radiographs:
    a map divided by its own maximum would show a normal radiograph in the colours of pneumonia. box: the part of the
    radiograph that the model sees, and the evidence covers; 0 elsewhere. None: all of it.
    """
    left, top, right, bottom = box or (0, 0, width, height)
    positive = Image.fromarray(np.clip(evidence / full, 0, 1).astype(np.float32))
    heat = np.zeros((height, width), np.float32)
    heat[top:bottom, left:right] = positive.resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    return heat


def outline(radiograph: Image.Image, box: Box) -> Image.Image:
    """A copy, with a thin line around the part that the model sees, unless that is all of it."""
    marked = radiograph.copy()
    if box != (0, 0, *radiograph.size):
        left, top, right, bottom = box
        width = max(1, round(min(radiograph.size) / 300))
        ImageDraw.Draw(marked).rectangle((left, top, right - 1, bottom - 1), outline=EDGE, width=width)
    return marked


def draw_overlay(pixels: np.ndarray, heat: np.ndarray, full: float, box: Box | None = None) -> Image.Image:
    """A radiograph, uint8 (h, w), with its map (h, w) in 0-1 over it and a colour bar beside it: RGB, same height.

    Args: box: the part that the model sees, which is outlined; None: all of it.
    """
    strength = Image.fromarray((heat * 255).round().astype(np.uint8))
    colors = color_table()
    colored = Image.merge("RGB", [strength.point(colors[:, channel].tolist()) for channel in range(3)])
    mask = strength.point([round(OPACITY * level) for level in range(256)])
    radiograph = Image.composite(colored, Image.fromarray(pixels).convert("RGB"), mask)
    radiograph = outline(radiograph, box or (0, 0, *radiograph.size))
    bar = draw_bar(radiograph.height, full)
    canvas = Image.new("RGB", (radiograph.width + bar.width, radiograph.height), "white")
    canvas.paste(radiograph, (0, 0))
    canvas.paste(bar, (radiograph.width, 0))
    return canvas


def color_table() -> np.ndarray:
    """uint8 (256, 3)."""
    at = np.linspace(0, len(STOPS) - 1, 256)
    channels = [np.interp(at, np.arange(len(STOPS)), STOPS[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def draw_bar(height: int, full: float) -> Image.Image:
    """The colour bar: no evidence at the bottom, `full` and more at the top."""
    text = min(64, max(8, height // 28))
    font = ImageFont.load_default(text)
    bar = Image.new("RGB", (6 * text, height), "white")
    top, bottom, left, right = 2 * text, max(2 * text + 1, height - 2 * text), text, 2 * text
    ramp = Image.fromarray(np.repeat(color_table()[::-1, None], right - left, axis=1))
    bar.paste(ramp.resize((right - left, bottom - top)), (left, top))
    pen = ImageDraw.Draw(bar)
    pen.text((left, top - 1.4 * text), f"{full:.0f}+", "black", font)
    pen.text((left, bottom + 0.2 * text), "0", "black", font)
    words = Image.new("L", (bottom - top, round(1.4 * text)), 255)
    length = ImageDraw.Draw(words).textlength(CAPTION, font)
    smaller = ImageFont.load_default(max(1, text * min(1, words.width / length)))
    ImageDraw.Draw(words).text((words.width / 2, words.height / 2), CAPTION, 0, smaller, anchor="mm")
    bar.paste(words.rotate(90, expand=True), (round(right + 0.8 * text), top))
    return bar


def compute_occlusion(predict: Predict, image: np.ndarray, patch: int, stride: int) -> np.ndarray:
    """Occlusion sensitivity (Zeiler & Fergus, 2014): how far the probability falls when a place is hidden.

    A square of `patch` pixels in the mean gray of the image slides over it in steps of `stride` pixels.

    Args: image: (h, w) in 0-255.
    Returns: float32 (h, w); at each pixel the mean fall in probability over the squares that hide it, negative where
    hiding it raises the probability.
    Raises: PneumoniaError when the patch or the stride does not fit the image.
    """
    height, width = image.shape
    if not 0 < patch <= min(height, width) or not 0 < stride <= patch:
        problem = f"patch {patch} and stride {stride} for an image of {image.shape}"
        raise PneumoniaError(f"occlusion: {problem}; choose 0 < stride <= patch <= side")
    corners = [(top, left) for top in _starts(height, patch, stride) for left in _starts(width, patch, stride)]
    hidden = np.repeat(image[None].astype(np.float32), len(corners), axis=0)
    for copy, (top, left) in zip(hidden, corners, strict=True):
        copy[top : top + patch, left : left + patch] = image.mean()
    falls = predict(image[None].astype(np.float32)) - predict(hidden)
    total, times = np.zeros((height, width)), np.zeros((height, width))
    for fall, (top, left) in zip(falls, corners, strict=True):
        total[top : top + patch, left : left + patch] += fall
        times[top : top + patch, left : left + patch] += 1
    return (total / times).astype(np.float32)


def _starts(side: int, patch: int, stride: int) -> list[int]:
    """Where squares begin along one side; the last ends at the edge, so that every pixel is hidden at least once."""
    return sorted({*range(0, side - patch, stride), side - patch})
