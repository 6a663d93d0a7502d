"""Files of options: read as the command line is, and overruled by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from onnxzip.cli.arguments import parse
from onnxzip.cli.main import main
from onnxzip.errors import InputError, UsageError
from onnxzip.options import Options, to_toml

FILE = """
tolerance = 0.05
keep = ["head.*", "a,b"]
passes = ["dct", "scalar"]
level = 7
jobs = 2
best-effort = true
[pass.dct]
block = 8
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "onnxzip.toml"
    path.write_text(FILE)
    return path


def test_keys_are_options(config: Path) -> None:
    request = parse(["a", "b", "--config", str(config)])
    assert request.options == Options(
        tolerance=0.05,
        keep=("head.*", "a,b"),
        passes=("dct", "scalar"),
        level=7,
        n_jobs=2,
        best_effort=True,
        pass_settings={"dct": {"block": 8}},
    )


def test_the_command_line_wins(config: Path) -> None:
    line = ["a", "b", "--config", str(config)]
    assert parse([*line, "--tolerance", "0.2", "-3"]).options.tolerance == 0.2
    assert parse([*line, "-3"]).options.level == 3
    assert parse([*line, "--dct-block", "4"]).options.pass_settings == {"dct": {"block": 4}}
    assert parse([*line, "--keep", "c"]).options.keep == ("c",)
    sized = parse([*line, "--target-size", "4MB"]).options
    assert (sized.target_size, sized.tolerance) == (4_000_000, None)
    other = parse([*line, "--metric", "psnr"]).options
    assert (other.metric, other.tolerance) == ("psnr", None), "a tolerance is one of its file's metric"


def test_what_a_mode_does_not_take_is_left_out(config: Path) -> None:
    assert parse(["-t", "a", "--config", str(config)]).options == Options()
    tested = parse(["-t", "a", "--against", "b", "--config", str(config)]).options
    assert tested == Options(tolerance=0.05)


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("tolerence = 1", "key 'tolerence': there is no such option; did you mean tolerance?"),
        ("tolerance = 'x'", "key 'tolerance': argument --tolerance: 'x' is not a number"),
        ("best-effort = 3", "key 'best-effort': holds another value than it takes; write true or false"),
        ("config = 'x'", "key 'config': there is no such option"),
        ("pass = 3", "key 'pass' holds no table"),
        ("[pass.dct]\nblok = 3", "key 'dct-blok': there is no such option; did you mean dct-block?"),
        ("tolerance = {a = 1}", "key 'tolerance': holds a table"),
        ("passes = []", "key 'passes': holds an empty list"),
        (
            "[pass.target]\nsize = '20kB'",
            "[pass.target]: no pass of that name has settings; codebook, dct",
        ),
        (
            "calibration = ''",
            "key 'calibration': argument -c/--calibration: the name of the file is empty",
        ),
    ],
)
def test_refusals_name_file_and_key(text: str, finding: str, config: Path) -> None:
    config.write_text(text)
    with pytest.raises(UsageError) as refused:
        parse(["a", "b", "--config", str(config)])
    assert str(refused.value).startswith(f"{config}: ")
    assert finding in str(refused.value)


@pytest.mark.parametrize("content", [b"a = = 1", b"\xff\xfe"])
def test_what_is_no_toml(content: bytes, config: Path) -> None:
    config.write_bytes(content)
    with pytest.raises(InputError, match="is no TOML file"):
        parse(["a", "b", "--config", str(config)])


@pytest.mark.parametrize("line", ["a LINK", "-d a LINK", "a b --bom LINK", "-t a --report LINK.json"])
def test_it_is_not_written_over(line: str, config: Path) -> None:
    link = config.with_name("link.json")
    link.symlink_to(config)
    arguments = line.replace("LINK.json", str(link)).replace("LINK", str(link)).split()
    with pytest.raises(UsageError, match=r"would be written over; give .*link\.json another name"):
        parse([*arguments, "--config", str(config)])


def test_what_is_nested_without_end(config: Path) -> None:
    config.write_text(f"keep = {'[' * 20_000}{']' * 20_000}")
    with pytest.raises(InputError, match="nested too deeply"):
        parse(["a", "b", "--config", str(config)])


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["a", "b", "--config", "absent.toml"]) == 1
    assert capsys.readouterr().err.startswith("onnxzip: absent.toml: cannot be read; ")


def test_what_runs_are_timed_with_goes_where_nothing_is_timed(config: Path) -> None:
    config.write_text(to_toml(Options(objective="speed", threads=2, batch=4)))
    timed = parse(["a", "b", "--threads", "3", "--config", str(config)]).options
    assert timed == Options(objective="speed", threads=3, batch=4)
    assert parse(["a", "b", "--objective", "size", "--config", str(config)]).options == Options()


def test_what_options_are_written_as_repeats_them(config: Path) -> None:
    settings = {"dct": {"block": 8}}
    options = Options(
        calibration="a.npz",
        metric="psnr",
        tolerance=30,
        keep=("x[1]", "y"),
        providers=("CPU",),
        level=9,
        seed=3,
        keep_names=True,
        load_memory="60MB",
        max_memory="2GB",
        pass_settings=settings,
    )
    config.write_text(to_toml(options))
    assert parse(["a", "b", "--config", str(config)]).options == options
