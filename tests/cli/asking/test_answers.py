"""--version and --completion."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from onnxzip.cli.main import main


def answer(line: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        main(line)
    assert not stop.value.code
    return capsys.readouterr().out


def test_the_version_names_what_files_depend_on(capsys: pytest.CaptureFixture[str]) -> None:
    text = answer(["--version"], capsys)
    assert text.startswith("onnxzip ")
    assert "onnxruntime" in text


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_the_options(
    shell: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = answer(["--completion", shell], capsys)
    assert "--target-size" in text or "target-size" in text
    assert "dct-block" in text
    found = shutil.which(shell)
    if found and shell != "tcsh":
        script = tmp_path / "completion"
        script.write_text(text)
        subprocess.run([found, "-n", str(script)], check=True)
