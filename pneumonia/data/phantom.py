"""The chest of a simulated child: a map of X-ray attenuation, soft tissue + bone - air, with or without pneumonia.

Bacterial pneumonia is a lobar consolidation, viral pneumonia diffuse bilateral interstitial haze and streaks: the
textbook patterns (Kermany et al., Cell 172 (2018) 1122, figure S6).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

CANVAS = 256  # pixels; drawn at this size, then shrunk, so that a seed shows the same child at any size
SIDES = (-1, 1)  # image left (the patient's right), image right
# Outline of a lung: x in chest half-widths from the midline, y from apex (0) to base (1).
# fmt: off
LUNG = [(0.26, 0.08), (0.36, 0.0), (0.52, 0.0), (0.68, 0.1), (0.84, 0.34), (0.95, 0.66), (1.0, 0.98), (1.0, 1.16),
        (0.94, 1.1), (0.8, 0.97), (0.6, 0.9), (0.36, 0.9), (0.16, 0.96), (0.12, 0.7), (0.12, 0.4), (0.18, 0.2)]
# fmt: on


@dataclass(frozen=True)
class Anatomy:
    """What stays the same between two radiographs of one child; lengths in half picture heights."""

    width: float  # of half the rib cage
    apex: float  # y of the lung tops, -1 is the upper edge of the picture
    base: float  # y of the diaphragm
    heart: float  # half-width of the heart
    mediastinum: float  # half-width; wide in small children (thymus)
    thickness: float  # of the soft tissue, 1 is usual
    arms: float  # 0 down, 1 raised
    rib_slope: float
    rib_step: float  # from one rib to the next
    scale: float  # how much of the picture the child fills

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Anatomy:
        """One child."""
        low = (0.62, -0.72, 0.36, 0.27, 0.12, 0.82, 0.0, 0.1, 0.135, 0.99)
        high = (0.78, -0.58, 0.52, 0.4, 0.21, 1.15, 1.0, 0.26, 0.16, 1.21)
        return cls(*(float(value) for value in rng.uniform(low, high)))


class Canvas:
    """Draws soft shapes given in chest coordinates (x, y in [-1, 1]) under one rotation, zoom and shift."""

    def __init__(self, rng: np.random.Generator, zoom: float):
        angle, shear, dx, dy = rng.normal(0.0, (0.045, 0.03, 0.035, 0.04))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        self.matrix = zoom * turn @ np.array([[1.0, shear], [0.0, 1.0]])
        self.shift = np.array([dx, dy])
        self.zoom = zoom

    def _pixels(self, points) -> np.ndarray:
        """Chest coordinates -> cv2 fixed-point pixel coordinates (4 fractional bits)."""
        xy = (np.asarray(points, dtype=float) @ self.matrix.T + self.shift + 1) * (CANVAS / 2)
        return np.round(xy * 16).astype(np.int32)

    def fill(self, outline, soft: float, smooth: bool = True) -> np.ndarray:
        """float32 (CANVAS, CANVAS) in [0, 1]: the closed outline, filled, its edge blurred over `soft`."""
        picture = np.zeros((CANVAS, CANVAS), np.uint8)
        cv2.fillPoly(picture, [self._pixels(_round_corners(outline) if smooth else outline)], 255, cv2.LINE_AA, 4)
        return _blur(picture.astype(np.float32) / 255, soft * self.zoom)

    def lines(self, lines, width: float, soft: float, core: float = 1.0) -> np.ndarray:
        """float32 (CANVAS, CANVAS) in [0, 1]: polylines; `core` < 1 hollows them out, as marrow does a bone."""
        picture = np.zeros((CANVAS, CANVAS), np.uint8)
        paths = list(self._pixels(lines))
        wide = max(1, round(width * self.zoom * CANVAS / 2))
        cv2.polylines(picture, paths, False, 255, wide, cv2.LINE_AA, 4)
        if core < 1 and wide > 3:
            cv2.polylines(picture, paths, False, round(255 * core), wide - 3, cv2.LINE_AA, 4)
        return _blur(picture.astype(np.float32) / 255, soft * self.zoom)

    def ellipse(self, x: float, y: float, rx: float, ry: float, soft: float) -> np.ndarray:
        """float32 (CANVAS, CANVAS) in [0, 1]: a filled upright ellipse with a blurred edge."""
        turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        return self.fill(np.stack([x + rx * np.cos(turn), y + ry * np.sin(turn)], 1), soft, smooth=False)


def draw_chest(canvas: Canvas, child: Anatomy, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Attenuation map, and how much of it is air (0 to 1), both float32 (CANVAS, CANVAS)."""
    body = _draw_body(canvas, child)
    lungs = sum(canvas.fill(_lung_outline(child, side, rng), 0.015) for side in SIDES)
    depth = cv2.distanceTransform((lungs > 0.5).astype(np.uint8), cv2.DIST_L2, 3) / (0.12 * CANVAS * canvas.zoom)
    air = lungs * (0.55 + 0.45 * np.tanh(_blur(depth, 0.03)))
    heart = _draw_heart(canvas, child)
    tissue = 0.56 * child.thickness * body + 0.05 * _clouds(rng, 6) * body
    attenuation = tissue - 0.4 * air * (1 - 0.55 * heart) + 0.1 * heart
    attenuation += 0.05 * air * _clouds(rng, 24) + 0.11 * canvas.lines(_vessels(child, rng), 0.012, 0.006) * air
    w, base = child.width, child.base
    liver = [(0.0, base - 0.08), (0.55 * w, base - 0.08), (1.1 * w, base + 0.14), (1.1 * w, 1.5)]
    abdomen = canvas.fill(_mirror(liver), 0.02) * (1 - lungs)
    attenuation += 0.13 * abdomen + _draw_bones(canvas, child, rng) * body * (1 - 0.6 * abdomen)
    trachea = canvas.lines([[(0.0, -0.95), (0.01, -0.6), (0.0, child.apex + 0.45)]], 0.07, 0.02)
    bubble = canvas.ellipse(rng.uniform(0.2, 0.5), base + rng.uniform(0.28, 0.5), 0.16, rng.uniform(0.0, 0.1), 0.03)
    return attenuation - 0.1 * trachea - 0.18 * bubble, air


def _draw_body(canvas: Canvas, child: Anatomy) -> np.ndarray:
    """Trunk, neck, head and arms; thickness 0 to 1."""
    w = child.width
    neck = [(0.2, -1.4), (0.2, child.apex - 0.12), (0.5, child.apex - 0.06), (1.02 * w, child.apex + 0.1)]
    trunk = canvas.fill(_mirror([*neck, (w + 0.12, child.apex + 0.45), (w + 0.1, 0.2), (w + 0.06, 1.5)]), 0.01)
    arm = [(0.8 * w, child.apex + 0.1), (w + 0.16, child.apex + 0.14), (w + 0.75, 0.5 - 1.7 * child.arms)]
    limbs = canvas.lines(_both(arm), 0.27, 0.015)
    head = canvas.ellipse(0, child.apex - 0.62, 0.4, 0.42, 0.02)
    depth = cv2.distanceTransform((trunk > 0.5).astype(np.uint8), cv2.DIST_L2, 3) / (0.16 * CANVAS * canvas.zoom)
    trunk = trunk * (0.45 + 0.6 * np.tanh(_blur(depth, 0.03)))
    return np.maximum(np.maximum(trunk, 0.62 * limbs), head)


def _draw_heart(canvas: Canvas, child: Anatomy) -> np.ndarray:
    """Heart and great vessels, 0 to 1; the apex of the heart points to image right."""
    m, h, low = child.mediastinum, child.heart, child.base + 0.12
    top = child.apex + 0.12
    right = [(-m, top), (-m, top + 0.4), (-0.62 * h - 0.04, low - 0.35), (-0.55 * h, low), (0.9 * h, low + 0.03)]
    left = [(1.5 * h, low - 0.12), (1.25 * h, low - 0.38), (m + 0.08, top + 0.42), (m + 0.03, top + 0.2), (m, top)]
    return canvas.fill(right + left, 0.02)


def _draw_bones(canvas: Canvas, child: Anatomy, rng: np.random.Generator) -> np.ndarray:
    """Spine, ribs, clavicles and humeri as attenuation."""
    step, w, apex = child.rib_step, child.width, child.apex
    levels = apex + 0.02 + step * np.arange(10)
    back, front = _posterior_ribs(child, levels, rng), _anterior_ribs(child, levels[:7])
    clavicles = _both([(0.08, apex + 0.1), (0.3, apex + 0.03), (w + 0.02, apex - 0.06)])
    humeri = _both([(w + 0.12, apex + 0.12), (w + 0.7, 0.5 - 1.7 * child.arms)])
    spine = canvas.lines([[(0, -1.5), (0.01, 0), (0, 1.5)]], 0.17, 0.02, core=0.8)
    discs = canvas.lines([[(-0.07, y), (0.07, y)] for y in np.arange(-1.2, 1.3, step)], 0.025, 0.012)
    bones = 0.17 * canvas.lines(back, 0.058, 0.006, core=0.75) + 0.07 * canvas.lines(front, 0.055, 0.009, core=0.75)
    bones += 0.18 * canvas.lines(clavicles, 0.055, 0.006, core=0.75) + 0.14 * canvas.lines(humeri, 0.1, 0.01, core=0.7)
    return bones + 0.13 * spine - 0.05 * discs * spine


def draw_opacity(kind: str, canvas: Canvas, child: Anatomy, air: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Attenuation added by pneumonia: fluid takes the place of air, so it stays within the lungs."""
    if kind == "bacteria":
        return 0.4 * air * rng.uniform(0.3, 1.15) * _consolidation(canvas, child, rng)
    if kind == "virus":
        return 0.4 * air * rng.uniform(0.25, 0.95) * _interstitial(canvas, child, rng)
    return np.zeros_like(air)


def _consolidation(canvas: Canvas, child: Anatomy, rng: np.random.Generator) -> np.ndarray:
    """One fluffy-edged lobar patch, 0 to 1."""
    lobe = [(0.55, 0.28), (0.42, 0.58), (0.62, 0.8), (0.42, 0.82)][rng.integers(4)] + rng.normal(0, 0.05, 2)
    x, y = rng.choice(SIDES) * lobe[0] * child.width, child.apex + lobe[1] * (child.base - child.apex)
    core = canvas.ellipse(x, y, rng.uniform(0.15, 0.3), rng.uniform(0.16, 0.36), rng.uniform(0.06, 0.11))
    return np.clip(1.5 * core * (1 + 0.45 * _clouds(rng, 12) + 0.2 * _clouds(rng, 32)) - 0.2, 0, 1)


def _interstitial(canvas: Canvas, child: Anatomy, rng: np.random.Generator) -> np.ndarray:
    """Bilateral perihilar haze with streaks, 0 to 1."""
    middle = child.apex + rng.uniform(0.5, 0.75) * (child.base - child.apex)
    haze = sum(canvas.ellipse(s * 0.38 * child.width, middle, 0.24, rng.uniform(0.3, 0.45), 0.12) for s in SIDES)
    streaks = canvas.lines(_vessels(child, rng, count=26), 0.022, 0.009)
    patches = np.clip(_clouds(rng, 14), 0, 1)
    return np.clip(haze * (0.3 + 0.4 * patches) + 0.65 * streaks * (0.35 + haze), 0, 1)


def _lung_outline(child: Anatomy, side: int, rng: np.random.Generator) -> np.ndarray:
    """The image-right diaphragm is a little lower, and the outline of each lung varies a little."""
    points = np.array(LUNG) + rng.normal(0, 0.012, (len(LUNG), 2))
    height = child.base + 0.03 * side - child.apex
    return points * (side * child.width, height) + (0, child.apex)


def _wall(child: Anatomy, y: np.ndarray) -> np.ndarray:
    """Half-width of the rib cage at height y: a dome that opens downwards."""
    fraction = np.clip((y - child.apex) / (child.base - child.apex), 0, 1.2)
    return child.width * (0.42 + 0.6 * np.sin(np.minimum(fraction + 0.08, 1) * np.pi / 2) ** 0.8)


def _posterior_ribs(child: Anatomy, levels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """From the spine, slightly up, then down along the chest wall; (2 * levels, 12, 2)."""
    t = np.linspace(0, 1, 12)
    rise, fall = 0.05 * np.sin(np.pi * np.minimum(1.3 * t, 1)), (0.06 + child.rib_slope) * t**2.2
    y = np.tile(levels, 2)[:, None] + rng.normal(0, 0.004, (2 * len(levels), 1)) - rise + fall
    side = np.repeat(SIDES, len(levels))[:, None]
    return np.stack([side * (0.07 + (_wall(child, y) - 0.07) * np.sin(t * np.pi / 2)), y], 2)


def _anterior_ribs(child: Anatomy, levels: np.ndarray) -> np.ndarray:
    """From the chest wall down towards the sternum; cartilage is not visible; (2 * levels, 10, 2)."""
    t = np.linspace(0, 1, 10)
    y = np.tile(levels, 2)[:, None] + 0.06 + child.rib_slope + 0.22 * t
    return np.stack([np.repeat(SIDES, len(levels))[:, None] * _wall(child, y) * (1 - 0.62 * t**1.3), y], 2)


def _vessels(child: Anatomy, rng: np.random.Generator, count: int = 14) -> np.ndarray:
    """Branches from both hila outwards; (2 * count, 7, 2)."""
    t, hilum = np.linspace(0, 1, 7), child.apex + 0.5 * (child.base - child.apex)
    side, shape = np.tile(SIDES, count)[:, None], (2 * count, 1)
    angle, length, start = rng.uniform(-1.25, 1.35, shape), rng.uniform(0.2, 0.5, shape), rng.normal(0, 0.06, shape)
    bend = rng.normal(0, 0.05, (2 * count, 7)).cumsum(1) * t
    x, y = side * (0.14 + length * t * np.cos(angle)), hilum + start + length * t * np.sin(angle) + bend
    return np.stack([x, y], 2)


def _clouds(rng: np.random.Generator, cells: int) -> np.ndarray:
    """Smooth random field, float32 (CANVAS, CANVAS), about -2 to 2, with `cells` bumps along an edge."""
    bumps = rng.normal(0, 1, (cells, cells)).astype(np.float32)
    return cv2.resize(bumps, (CANVAS, CANVAS), interpolation=cv2.INTER_CUBIC)


def _blur(picture: np.ndarray, soft: float) -> np.ndarray:
    """Gaussian blur over `soft` chest units; a wide one is done at a quarter of the size, which is far faster."""
    sigma = soft * CANVAS / 2
    if sigma < 4:
        return cv2.GaussianBlur(picture, (0, 0), sigma)
    small = cv2.resize(picture, (CANVAS // 4, CANVAS // 4), interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(small, (0, 0), sigma / 4), (CANVAS, CANVAS), interpolation=cv2.INTER_LINEAR)


def _both(side: list[tuple[float, float]]) -> list[np.ndarray]:
    """The line on image right and its mirror on image left."""
    return [np.array(side) * (sign, 1) for sign in SIDES]


def _mirror(side: list[tuple[float, float]]) -> np.ndarray:
    """Closed outline from its right half, listed from top to bottom."""
    half = np.array(side)
    return np.concatenate([half, half[::-1] * (-1, 1)])


def _round_corners(outline, times: int = 3) -> np.ndarray:
    """Chaikin's corner cutting (1974) of a closed outline."""
    points = np.asarray(outline, dtype=float)
    for _ in range(times):
        ahead = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * ahead, 0.25 * points + 0.75 * ahead], 1).reshape(-1, 2)
    return points
