"""The damage that restoration.py has repaired, and the peers that repair it.

Pictures are arrays [height, width] (grey) or [height, width, 3], 0 for black and 1 for white. Damage may go beyond.
"""
import dataclasses
import re
import zlib
from typing import Callable

import bm3d
import cv2
import numpy as np
from PIL import Image
from skimage.restoration import cycle_spin, denoise_nl_means, denoise_wavelet, inpaint_biharmonic

BOXES, BOX_SIDES = 12, (16, 40)  # rectangles that are missing of a picture, and the least and the largest length of their sides


@dataclasses.dataclass
class Damaged:
    """A damaged picture, and what whoever repairs it may know."""

    pixels: np.ndarray
    missing: np.ndarray | None = None  # [height, width], true where nothing is known
    small: np.ndarray | None = None  # before it was enlarged


@dataclasses.dataclass
class Task:
    """What was done to pictures, and who repairs it."""

    about: str
    damaged: str  # what a damaged picture is called
    is_grey: bool
    crop: int  # pictures are cut to their middle of at most so many pixels a side
    damage: Callable  # (picture, random generator) to Damaged
    peers: dict  # by name, functions of Damaged


def random_of(name):
    """The random numbers for a picture. They depend on its name alone, not on which others there are."""
    return np.random.Generator(np.random.PCG64([0, zlib.crc32(name.encode())]))


def channel_axis(pixels):
    return -1 if pixels.ndim == 3 else None


def denoise(level):
    """White Gaussian noise of a known deviation. The peers get that deviation, and settings from scikit-image's examples."""
    sigma = level / 255

    def wavelet(pixels, method="BayesShrink"):
        return denoise_wavelet(pixels, sigma=sigma, method=method, rescale_sigma=True)

    def means(damaged):
        return denoise_nl_means(damaged.pixels, patch_size=5, patch_distance=6, h=0.6 * sigma, sigma=sigma, fast_mode=True)

    return Task(
        about=f"Gaussian noise of deviation {level}/255, grey",
        damaged="noisy",
        is_grey=True,
        crop=512,
        damage=lambda picture, random: Damaged(picture + random.normal(0, sigma, picture.shape)),
        peers={
            "wavelets, VisuShrink": lambda damaged: wavelet(damaged.pixels, "VisuShrink"),
            "wavelets, BayesShrink": lambda damaged: wavelet(damaged.pixels),
            "BayesShrink, cycle spinning": lambda damaged: cycle_spin(damaged.pixels, func=wavelet, max_shifts=3, workers=1),
            "non-local means": means,
            "BM3D": lambda damaged: bm3d.bm3d(damaged.pixels, sigma),
        },
    )


def resize(pixels, size, filter):
    """Pillow's, which averages over more pixels where it reduces (antialiasing), in floating point."""
    channels = np.atleast_3d(pixels).astype(np.float32)
    resized = [Image.fromarray(channels[:, :, i]).resize(size[::-1], filter) for i in range(channels.shape[2])]
    return np.stack([np.asarray(channel, np.float64) for channel in resized], axis=-1).reshape(*size, *pixels.shape[2:])


def superres(factor, is_grey):
    """Super-resolution on the given grid: reduced by bicubic interpolation, and enlarged by it to the size that it had."""

    def damage(picture, _):
        height, width = picture.shape[:2]
        small = resize(picture, (height // factor, width // factor), Image.Resampling.BICUBIC)
        return Damaged(resize(small, (height, width), Image.Resampling.BICUBIC), small=small)

    def lanczos(damaged):
        return resize(damaged.small, damaged.pixels.shape[:2], Image.Resampling.LANCZOS)

    return Task(
        about=f"reduced {factor} times by bicubic interpolation with antialiasing and enlarged again, {'grey' if is_grey else 'colour'}",
        damaged="bicubic",
        is_grey=is_grey,
        crop=512 // factor * factor,
        damage=damage,
        peers={"Lanczos": lanczos},
    )


def inpaint(is_grey):
    """Random rectangles are missing. Missing pixels are black."""

    def damage(picture, random):
        missing = np.zeros(picture.shape[:2], bool)
        for _ in range(BOXES):
            sides = random.integers(*BOX_SIDES, size=2, endpoint=True)
            top, left = [random.integers(0, length - side, endpoint=True) for length, side in zip(missing.shape, sides)]
            missing[top : top + sides[0], left : left + sides[1]] = True
        return Damaged(np.where(missing.reshape(*missing.shape, *[1] * (picture.ndim - 2)), 0, picture), missing)

    def opencv(method):
        def restore(damaged):  # of bytes, which is what pictures are before the damage
            return cv2.inpaint(np.rint(damaged.pixels * 255).astype(np.uint8), damaged.missing.astype(np.uint8), 3, method) / 255

        return restore

    def biharmonic(damaged):
        return inpaint_biharmonic(damaged.pixels, damaged.missing, channel_axis=channel_axis(damaged.pixels))

    return Task(
        about=f"{BOXES} rectangles with sides of {BOX_SIDES[0]} to {BOX_SIDES[1]} pixels missing, {'grey' if is_grey else 'colour'}",
        damaged="nothing done",
        is_grey=is_grey,
        crop=256,
        damage=damage,
        peers={
            "OpenCV, Telea": opencv(cv2.INPAINT_TELEA),
            "OpenCV, Navier-Stokes": opencv(cv2.INPAINT_NS),
            "biharmonic": biharmonic,
        },
    )


def task_of(name, is_grey):
    """The task `denoise-SIGMA`, `superres-FACTOR` or `inpaint`; None if it isn't one."""
    if found := re.fullmatch(r"denoise-(\d{1,3})", name):
        return denoise(int(found[1]))
    if found := re.fullmatch(r"superres-([234])", name):
        return superres(int(found[1]), is_grey)
    return inpaint(is_grey) if name == "inpaint" else None
