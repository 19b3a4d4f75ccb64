#!/usr/bin/env python3
"""Gathers real photographs to train and validate restoration with: OUT/train and OUT/validation, as PNG files.

usage: pip install pillow numpy scikit-image scikit-learn; python3 trainer/experiments/photographs.py OUT [--packages ROOT]

They are those that scikit-image, scikit-learn and packages of Debian ship (wallpapers, puzzles, OpenCV's examples). The packages are
downloaded with `apt-get download` and unpacked with `dpkg-deb -x`, which needs Debian 12 or a relative of it, 300 MB, and no root; with
`--packages ROOT` they are looked for under ROOT, where somebody has unpacked them; `/` for those that are installed. PHOTOGRAPHS names
every picture that is taken: what else the packages have was looked at, too, and is drawn, painted, rendered, a gradient, a test chart,
a micrograph, blurred or empty all over, noisy or coarsely scanned, or another view of a picture that is there. Nothing is copied into
the repository; the pictures' licences are those that their packages tell.

Pictures are reduced so that the longer side has at most 1024 pixels. Wallpapers of four thousand pixels have no detail at the level of
pixels: what is there is the camera's blur, its noise, and the blocks of JPEG, which a network would learn to restore; reducing averages
them away. Colours stay, the orientation that the camera noted is carried out, alpha (which is opaque in all of them) is dropped.

The split is by picture, by the list VALIDATION. No two pictures may show the same: the pictures are compared in small, and the command
fails if two of them are alike. OUT/photographs.csv tells where each is from, its size, and the SHA-256 of its pixels; the same versions
of the packages and of Pillow give the same pixels. What could not be had is named at the end, and the exit status is then 1.
"""
import argparse
import csv
import hashlib
import importlib.metadata
import importlib.util
import io
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

LONGER_SIDE = 1024

# Where each source has its pictures, and which of them are photographs. A folder stands for the largest picture in its contents/images.
PHOTOGRAPHS = {
    "scikit-image": (
        "data",
        "astronaut.png brick.png camera.png chelsea.png coffee.png coins.png grass.png gravel.png moon.png motorcycle_left.png rocket.jpg",
    ),
    "scikit-learn": ("datasets/images", "china.jpg flower.jpg"),
    "lomiri-wallpapers-16.04": (
        "usr/share/backgrounds",
        "Bridge_by_Sander_Klootwijk.jpg Dragonfly_by_Bolly.jpg Picture_0B_by_freespace.jpg Picture_1A_by_freespace.jpg"
        " Wine_by_Jakkub_Mede.jpg aitzgorri_by_Aitzol_Berasategi.jpg free_by_Peter_Nerlich.jpg friends_by_Aitzol_Berasategi.jpg"
        " greentock_by_Peter_Nerlich.jpg life_by_Aitzol_Berasategi.jpg picosdeeuropa_by_Aitzol_Berasategi.jpg"
        " seeding_by_Clements_Engelhardt.jpg sunset_by_Aitzol_Berasategi.jpg",
    ),
    "lomiri-wallpapers-20.04": ("usr/share/backgrounds", "Kleiber_by_Lukas_Baubkus.jpg"),
    "lxqt-themes": (
        "usr/share/lxqt/wallpapers",
        "Butterfly-Kenneth-Wimer.jpg Valendas.png after-the-rain.jpg appleflower.png beam.png butterfly.png drop.png"
        " flowers.png fog.jpg this-is-not-windows.jpg",
    ),
    "mate-backgrounds": (
        "usr/share/backgrounds/mate/nature",
        "Aqua.jpg Blinds.jpg Dune.jpg FreshFlower.jpg Garden.jpg GreenMeadow.jpg LadyBird.jpg RainDrops.jpg Storm.jpg TwoWings.jpg"
        " Wood.jpg YellowFlower.jpg",
    ),
    "palapeli-data": (
        "usr/share/palapeli/collection",
        "castle-maintenon.jpg cincinnati-bridge.jpg citrus-fruits.jpg european-honey-bee.jpg panther-chameleon-female.jpg",
    ),
    "plasma-workspace-wallpapers": (
        "usr/share/wallpapers",
        "BytheWater ColdRipple ColorfulCups EveningGlow FallenLeaf Grey Kite OneStandsOut Path",
    ),
    "opencv-doc": (
        "usr/share/doc/opencv-doc/examples",
        "alphamat/input_images/plant.jpg data/aero1.jpg data/aloeL.jpg data/baboon.jpg data/board.jpg data/box_in_scene.png"
        " data/building.jpg data/butterfly.jpg data/fruits.jpg data/graf1.png data/home.jpg data/leuvenA.jpg data/rubberwhale1.png"
        " data/squirrel_cls.jpg hfs/data/000.jpg text/scenetext01.jpg text/scenetext03.jpg text/scenetext04.jpg text/scenetext05.jpg"
        " text/scenetext06.jpg text/scenetext_segmented_word01.jpg text/scenetext_segmented_word04.jpg",
    ),
}
PYTHON = {"scikit-image": "skimage", "scikit-learn": "sklearn"}  # sources that are Python packages; the others are Debian's

# The pictures that no network sees in training.
VALIDATION = """
    scikit-image-astronaut scikit-image-camera scikit-image-chelsea scikit-image-coffee scikit-learn-china
    lomiri-wallpapers-16.04-life_by_Aitzol_Berasategi lomiri-wallpapers-16.04-picosdeeuropa_by_Aitzol_Berasategi lxqt-themes-flowers
    mate-backgrounds-Dune palapeli-data-castle-maintenon palapeli-data-european-honey-bee plasma-workspace-wallpapers-EveningGlow
""".split()

ALIKE = 0.5  # the correlation of two fingerprints from which on two pictures show the same; of the listed ones the highest is 0.32


class Missing(Exception):
    """What could not be had, and why."""


def installed(source):
    """The folder and the version of an installed Python package."""
    found = importlib.util.find_spec(PYTHON[source])
    if found is None:
        raise Missing(f"not installed: pip install {source}")
    return Path(found.origin).parent, importlib.metadata.version(source)


def unpacked(package, folder):
    """Downloads a package of Debian and unpacks it into `folder`. Returns that and the version."""

    def run(*command):
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        except FileNotFoundError:
            raise Missing(f"no program {command[0]}; give --packages ROOT, with the package unpacked there") from None
        if done.returncode:
            raise Missing(f"{' '.join(command)} failed (is it known after `apt-get update`?): {done.stderr.strip()}")
        return done.stdout.strip()

    folder.mkdir()
    run("apt-get", "download", package)
    [archive] = folder.glob("*.deb")
    run("dpkg-deb", "-x", archive.name, ".")
    return folder, run("dpkg-deb", "-f", archive.name, "Version")


def find(folder, entry):
    path = folder / entry
    if path.is_dir():
        files = [file for file in path.glob("contents/images/*") if not file.is_symlink()]
        path = max(files, key=lambda file: (file.stat().st_size, file.name), default=path / "contents/images")
    if not path.is_file():
        raise Missing("not in the package")
    return path


def read(content):
    """The picture that a file holds, reduced, and its size before."""
    with Image.open(io.BytesIO(content)) as picture:
        picture = ImageOps.exif_transpose(picture)
    if "A" in picture.getbands() and picture.getchannel("A").getextrema()[0] < 255:
        raise Missing("has transparent pixels")
    picture = picture.convert("L" if picture.mode in ["L", "LA"] else "RGB")
    scale = min(1, LONGER_SIDE / max(picture.size))
    size = [round(side * scale) for side in picture.size]
    return picture if scale == 1 else picture.resize(size, Image.Resampling.LANCZOS), picture.size


def fingerprint(picture):
    """The picture in 32x32 pixels without what is smooth, of mean 0 and length 1."""
    small = picture.convert("L").resize((32, 32), Image.Resampling.BOX)
    smooth = small.resize((8, 8), Image.Resampling.BOX).resize((32, 32), Image.Resampling.BICUBIC)
    values = np.asarray(small, float) - np.asarray(smooth, float)
    values -= values.mean()
    return values.ravel() / max(np.linalg.norm(values), 1e-9)


def alike(pictures):
    """Pairs of names whose pictures show the same."""
    names = sorted(pictures)
    prints = np.stack([fingerprint(pictures[name]) for name in names])
    close = np.argwhere(np.triu(prints @ prints.T, 1) > ALIKE)
    return [(names[i], names[j]) for i, j in close]


def name_of(source, entry):
    return f"{source}-{Path(entry).stem}"


def check_lists():
    names = [name_of(source, entry) for source, (_, entries) in PHOTOGRAPHS.items() for entry in entries.split()]
    for name in names + VALIDATION:
        if names.count(name) != 1 or VALIDATION.count(name) > 1:
            sys.exit(f"{name} is listed {names.count(name)} times in PHOTOGRAPHS, {VALIDATION.count(name)} times in VALIDATION")


def gather(out, root, scratch):
    """Writes the pictures. Returns them by name, the rows of the table, and what was missing."""
    pictures, rows, missing = {}, [], []
    for source, (inside, entries) in PHOTOGRAPHS.items():
        print(source, file=sys.stderr)
        try:
            if source in PYTHON:
                folder, version = installed(source)
            else:
                folder, version = (root, "") if root else unpacked(source, scratch / source)
        except Missing as why:
            missing.append(f"{source}, {len(entries.split())} pictures: {why}")
            continue
        for entry in entries.split():
            name = name_of(source, entry)
            try:
                picture, before = read(find(folder / inside, entry).read_bytes())
            except (Missing, OSError) as why:
                missing.append(f"{source}, {inside}/{entry}: {why}")
                continue
            split = "validation" if name in VALIDATION else "train"
            picture.save(out / split / f"{name}.png")
            pictures[name] = picture
            digest = hashlib.sha256(picture.tobytes()).hexdigest()
            rows.append([split, f"{name}.png", source, version, f"{inside}/{entry}", *before, *picture.size, picture.mode, digest])
    return pictures, rows, missing


def summary(rows):
    for split in ["train", "validation"]:
        chosen = [row for row in rows if row[0] == split]
        megapixels = sum(row[7] * row[8] for row in chosen) / 1e6
        print(f"{split}: {len(chosen)} pictures, {megapixels:.1f} megapixels")
    digest = hashlib.sha256("\n".join(sorted(f"{row[1]} {row[-1]}" for row in rows)).encode()).hexdigest()
    print(f"SHA-256 of all: {digest}")


def self_test():
    """Whether the same picture in another size, cut and compressed, is found, and another one isn't."""
    check_lists()
    camera, other = [Image.open(installed("scikit-image")[0] / "data" / name) for name in ["camera.png", "coffee.png"]]
    compressed = io.BytesIO()
    camera.resize((200, 190)).convert("RGB").save(compressed, "JPEG", quality=30)
    cut = camera.crop((6, 4, 508, 510))
    found = alike({"camera": camera, "small": Image.open(compressed), "cut": cut, "other": other})
    expected = [("camera", "cut"), ("camera", "small"), ("cut", "small")]
    if found != expected:
        sys.exit(f"self-test: expected {expected} to be alike, found {found}")
    print("self-test: the lists agree, what is alike was found")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, nargs="?", help="a new folder")
    parser.add_argument("--packages", type=Path, metavar="ROOT", help="where Debian's packages are unpacked; default: downloads them")
    parser.add_argument("--self-test", action="store_true", help="checks the lists and the comparison of pictures, and ends")
    args = parser.parse_args()
    if args.self_test:
        return self_test()
    if args.out is None:
        parser.error("expected a folder OUT")
    check_lists()
    for split in ["train", "validation"]:
        (args.out / split).mkdir(parents=True, exist_ok=True)
        if any((args.out / split).iterdir()):
            sys.exit(f"{args.out / split} has files already, which would be trained with; expected a new folder")
    with tempfile.TemporaryDirectory() as scratch:
        pictures, rows, missing = gather(args.out, args.packages, Path(scratch))
    if not pictures:
        sys.exit("\n".join(["nothing could be had:", *missing]))
    with open(args.out / "photographs.csv", "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow("split file source version path width_before height_before width height mode sha256_of_pixels".split())
        table.writerows(rows)
    summary(rows)
    faults = [f"could not be had: {what}" for what in missing] + [f"{a} and {b} show the same" for a, b in alike(pictures)]
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
