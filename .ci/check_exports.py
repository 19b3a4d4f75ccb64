#!/usr/bin/env python3
"""Reads what a run wrote for other programs: TensorBoard's events with TensorBoard's own reader, and an ONNX file with onnxruntime.

    python3 .ci/check_exports.py RUN MODEL.onnx EXAMPLE.safetensors

Needs the packages tensorboard, onnxruntime and numpy.
"""
import csv
import json
import pathlib
import struct
import sys
import tomllib

import numpy as np
import onnxruntime
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, metadata

# Largest difference of a pixel that other orders of sums give: images have values between 0 and 1.
MOST = 2e-5


def check_events(run):
    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 0})
    events.Reload()

    def same(tag, table, column):
        with open(run / table) as file:
            rows = [(int(row["step"]), float(row[column])) for row in csv.DictReader(file)]
        got = [(event.step, event.value) for event in events.Scalars(tag)]
        assert [step for step, _ in got] == [step for step, _ in rows], f"{tag}: other steps"
        assert np.allclose([x for _, x in got], [x for _, x in rows], rtol=1e-6, atol=1e-7), f"{tag}: other values"
        return len(got)

    steps = same("loss/training", "metrics.csv", "loss")
    same("learning_rate", "metrics.csv", "lr")
    validations = same("loss/validation_running", "validation.csv", "running")
    same("loss/validation_batch", "validation.csv", "batch")
    images = events.Images("reconstruction")
    assert len(images) == validations, (len(images), validations)
    picture = (run / "reconstruction.png").read_bytes()
    assert images[-1].encoded_image_string == picture
    assert (images[-1].width, images[-1].height) == struct.unpack(">II", picture[16:24])
    settings = check_hparams(run, events)
    print(f"{run}: TensorBoard reads {steps} steps, {validations} validations and their pictures, and {settings} settings")


def check_hparams(run, events):
    """The plugin that sorts runs by their settings has those of the run, and that it ended."""

    def content(tag):
        return events.SummaryMetadata(f"_hparams_/session_{tag}").plugin_data.content

    hparams = metadata.parse_session_start_info_plugin_data(content("start_info")).hparams
    table = tomllib.loads((run / "settings.toml").read_text())
    expected = {"preset": table["preset"], **table["network"], **table["training"]}
    assert set(hparams) == set(expected), set(hparams) ^ set(expected)
    for key, value in expected.items():
        got = getattr(hparams[key], hparams[key].WhichOneof("kind"))
        same = got == value if isinstance(value, (bool, str, float, int)) else isinstance(got, str)
        assert same, f"{key}: {got}, expected {value}"
    end = metadata.parse_session_end_info_plugin_data(content("end_info"))
    assert end.status == api_pb2.STATUS_SUCCESS and end.end_time_secs > 1.7e9, end
    return len(hparams)


def check_onnx(model, example):
    data = example.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])

    def tensor(name):
        begin, end = (8 + length + offset for offset in header[name]["data_offsets"])
        return np.frombuffer(data[begin:end], np.float32).reshape(header[name]["shape"])

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    images, expected = tensor("input"), tensor("output")
    for batch in (images, images[:1]):
        (got,) = session.run(None, {"image": batch})
        difference = np.abs(got - expected[: len(batch)]).max()
        assert difference <= MOST, f"{model}: a pixel differs by {difference}"
        print(f"{model}: onnxruntime {onnxruntime.__version__} restores {len(batch)} images, largest difference {difference:.1e}")
    # Any height and width.
    channels, height, width = images.shape[1:]
    odd = np.random.default_rng(0).random((2, channels, height + 13, width + 6), np.float32)
    (got,) = session.run(None, {"image": odd})
    assert got.shape == (2, expected.shape[1], height + 13, width + 6) and np.isfinite(got).all(), f"{model}: {got.shape}"


run, model, example = map(pathlib.Path, sys.argv[1:])
check_events(run)
check_onnx(model, example)
