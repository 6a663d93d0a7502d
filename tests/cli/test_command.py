"""The command line that a report gives repeats the request that it is about."""

from __future__ import annotations

import shlex
from dataclasses import fields

import pytest

from onnxzip.cli.arguments import parse
from onnxzip.cli.command import command_of
from onnxzip.options import Options

EVERY_OPTION = (
    "-c 'my images.npz' --labels y.npy --metric top1 --tolerance 0.015 --best-effort --keep 'a b*' "
    "--keep c --objective speed --threads 2 --batch 4 --freeze-inputs --passes dct,scalar,codebook "
    "--skip codebook -9 --keep-names --load-memory 60MB --max-memory 2GB --custom-ops lib.so "
    "--providers CPU,CUDA -j 2 --seed 7 -f --cache kept --cache-size 2GB --cluster tcp://host:8786 "
    "--dct-block 8 --report r.html in.onnx out.onnx"
)


@pytest.mark.parametrize(
    "line",
    [
        "in.onnx out.onnx",
        EVERY_OPTION,
        "-3 --metric my.module:function --tolerance 1e-05 in.onnx out.onnx",
        "--target-size 1.5MB 'a b.onnx' 'it''s.onnx'",
        "-t small.onnx",
        "-t small.onnx --against in.onnx -c x.npy --labels y.npy --tolerance 0.01 --report r.md",
        "-f -- -in.onnx --out",
    ],
)
def test_a_request_comes_back(line: str) -> None:
    request = parse(shlex.split(line))
    command = shlex.split(command_of(request))
    assert command[0] == "onnxzip"
    assert parse(command[1:]) == request


def test_what_is_printed_does_not_count() -> None:
    request = parse(["-v", "a", "b"])
    assert command_of(request) == "onnxzip a b"


def test_every_option_is_tried_above() -> None:
    """So that a new one is not forgotten in the command."""
    given, default = parse(shlex.split(EVERY_OPTION)).options, Options()
    untried = {f.name for f in fields(Options) if getattr(given, f.name) == getattr(default, f.name)}
    assert untried == {"target_size"}  # which stands instead of a tolerance, and is tried by itself
