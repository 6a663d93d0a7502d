"""Without the extras each feature says what to install, before any work is done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from onnxzip.cli.arguments import parse
from onnxzip.cli.command import command_of
from onnxzip.errors import UsageError
from tests.trust.keys import MODEL

PUBLIC = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa"
PACKAGES = {"model_signing": "sign", "pyrage": "seal", "cyclonedx": "bom"}


@pytest.mark.parametrize(
    ("arguments", "flag", "extra"),
    [
        (["m.onnx", "OUT", "--sign", "KEY"], "--sign", "sign"),
        (["m.onnx", "OUT", "--seal", PUBLIC], "--seal", "seal"),
        (["m.onnx", "OUT", "--bom", "bom.json"], "--bom", "bom"),
        (["-t", "m.onnx", "--verify", "KEY"], "--verify", "sign"),
        (["-l", "m.onnx", "--open", "KEY"], "--open", "seal"),
    ],
)
def test_what_to_install_is_told(arguments: list[str], flag: str, extra: str, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(MODEL.read_bytes())
    (tmp_path / "KEY").write_text("-----BEGIN PRIVATE KEY-----\n")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({[*PACKAGES]}))\n"
        "from onnxzip.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert done.stderr.startswith(f"onnxzip: {flag} needs the package ")
    assert f"pip install 'onnxzip[{extra}]'" in done.stderr
    assert not (tmp_path / "OUT").exists()


def test_no_extra_is_loaded_unasked(tmp_path: Path) -> None:
    code = f"""if True:
        import sys
        from onnxzip.cli.main import main
        main(["-1", "-q", {str(MODEL)!r}, {str(tmp_path / "m.onnx")!r}])
        main(["-t", "-q", {str(tmp_path / "m.onnx")!r}])
        print(sorted({{{", ".join(map(repr, PACKAGES))}}} & set(sys.modules)))"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env={"PYTHONPATH": ":".join(filter(None, sys.path))}, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize(
    ("arguments", "finding"),
    [
        (["-l", "m.onnx", "--verify", "k"], "belongs to -t"),
        (["-d", "m.onnx", "o", "--verify", "k"], "belongs to -t"),
        (["a", "b", "--verify", "k"], "belongs to -t"),
        (["a", "b", "--open", "k"], "belongs to -l, -t and -d"),
        (["-t", "a", "--sign", "k"], "belongs to compressing"),
        (["--bench", "a", "--seal", "k"], "belongs to"),
        (["a", "b", "--bom", "bom.xml"], "is a .json file"),
        (["a", "b", "--seal", " "], "recipient is empty"),
        (["a", "b", "c/", "--bom", "b.json"], "one model"),
    ],
)
def test_options_where_they_mean_nothing(arguments: list[str], finding: str) -> None:
    with pytest.raises(UsageError, match=finding):
        parse(arguments)


def test_a_command_repeats_itself() -> None:
    words = ["--seal", PUBLIC, "--seal", "team.txt", "--sign", "k.pem", "--bom", "b.json", "a", "b"]
    request = parse(words)
    assert parse(command_of(request).split()[1:]) == request
    tested = parse(["-t", "--verify", "k.pub", "--open", "id.txt", "a"])
    assert parse(command_of(tested).split()[1:]) == tested


def test_options_come_from_files_too(tmp_path: Path) -> None:
    path = tmp_path / "o.toml"
    path.write_text(f'sign = "k.pem"\nseal = ["{PUBLIC}"]\nverify = "k.pub"\nopen = "id.txt"\n')
    written = parse(["--config", str(path), "a", "b"])
    assert (written.delivery.sign, written.delivery.seal) == (Path("k.pem"), (PUBLIC,))
    tested = parse(["-t", "--config", str(path), "a"])
    assert (tested.public_key, tested.identity) == (Path("k.pub"), Path("id.txt"))
