"""The application in models/clothing: its images, its network, and a page that says what is measured."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from scipy.fft import dctn

from models.clothing import archive, comparison
from models.clothing.__main__ import README, main
from models.clothing.comparison import ALL, ORIGINAL, ROWS
from models.clothing.images import FINEST_STEP, N_PIXELS, network_input, restore, truncate
from models.clothing.page import BEGIN, END
from models.clothing.trials import chosen, read_trainings, read_trials

LARGEST_N_BYTES = 400_000
"""Of the network, and of the images that are committed with it."""
MOST_POINTS_LOST = 2.0
"""Of accuracy, by any row; 0.2 nrmse is the loosest of them."""
ONE_ROW = "dct"
"""The pass that the tests compress with: the quickest of them."""


def section(page: Path = README) -> str:
    """Return the part of a page that the command writes."""
    text = page.read_text("utf-8")
    return text[text.index(BEGIN) : text.index(END)]


def table(head: str, page: Path = README) -> list[list[str]]:
    """Return the rows of the table whose head begins like this."""
    lines = section(page).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {head} |"))
    cells = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells.append([cell.strip() for cell in line.strip("|").split("|")])
    return cells


def number(text: str) -> float:
    """Return the number that a cell begins with."""
    return float(text.replace(",", "").split()[0].rstrip("x"))


def test_images_are_truncated_dct_coefficients() -> None:
    """The stored steps are scipy's DCT of the ten pictures that also lie there as pixels."""
    pixels, places = archive.read_examples()
    test = archive.read_test()
    assert [int(label) for label in test.labels[places]] == list(range(10))
    assert test.n_kept < N_PIXELS
    expected = dctn(pixels / 255 - 0.5, axes=(1, 2), norm="ortho")[:, : test.n_kept, : test.n_kept]
    assert np.abs(test.steps[places] * test.step - expected).max() <= test.step / 2 + 1e-9
    np.testing.assert_array_equal(test.steps[places], truncate(pixels, test.n_kept, test.step))


def test_all_coefficients_restore_an_image() -> None:
    pixels, _ = archive.read_examples()
    steps = truncate(pixels, N_PIXELS, FINEST_STEP)
    error = restore(steps * FINEST_STEP).astype(int) - pixels
    assert np.sqrt(np.mean(error**2)) <= 255 * FINEST_STEP / np.sqrt(12)  # Parseval: the quantiser's own


@pytest.mark.parametrize("value", [0, 255])
def test_no_coefficient_leaves_a_byte(value: int) -> None:
    """All black and all white have the largest mean there is."""
    steps = truncate(np.full((1, N_PIXELS, N_PIXELS), value, np.uint8), N_PIXELS, FINEST_STEP)
    assert abs(int(steps[0, 0, 0])) == N_PIXELS / 2 / FINEST_STEP


def test_fewer_coefficients_are_the_lowest_ones() -> None:
    test = archive.read_test()
    inputs = network_input(test.steps[:3], test.step, n_kept=2)
    assert np.count_nonzero(inputs[:, :, 2:]) == np.count_nonzero(inputs[:, :, :, 2:]) == 0
    np.testing.assert_array_equal(inputs[:, 0, :2, :2], test.steps[:3, :2, :2] * np.float32(test.step))


def test_files_are_small_and_belong_together() -> None:
    images = (archive.CALIBRATION, archive.CALIBRATION_LABELS, archive.EXAMPLES)
    assert archive.NETWORK.stat().st_size < LARGEST_N_BYTES
    assert sum(path.stat().st_size for path in (*images, archive.TEST)) < LARGEST_N_BYTES
    shown = [path for path in archive.HERE.iterdir() if path.suffix in (".png", ".svg")]
    assert sum(path.stat().st_size for path in shown) < LARGEST_N_BYTES
    setting, test = chosen(read_trials(archive.SEARCH)), archive.read_test()
    assert (test.n_kept, test.step) == (setting.n_kept, setting.step)
    model = onnx.load(archive.NETWORK)
    (port,) = model.graph.input
    assert [dim.dim_value for dim in port.type.tensor_type.shape.dim[1:]] == [
        1,
        test.n_kept,
        test.n_kept,
    ]
    operators = {node.op_type for node in model.graph.node}
    assert operators >= {"Conv", "MaxPool", "Gemm"}
    with np.load(archive.CALIBRATION) as data:
        seen = {image.tobytes() for image in data["coefficients"]}
    assert len(seen) > 0.99 * archive.N_CALIBRATION
    assert not any(image.tobytes() in seen for image in comparison.inputs())


def test_network_is_as_accurate_as_stated() -> None:
    outcome = comparison.original()
    (row,) = [row for row in table("file") if row[0] == ORIGINAL]
    assert number(row[1]) == len(outcome.model)
    stated = number(row[3])
    assert 100 * comparison.accuracy(outcome) == pytest.approx(stated, abs=0.1)  # two images of 2,000
    trainings = read_trainings(archive.TRAININGS)
    assert len({training.seed for training in trainings}) == 3
    assert abs(trainings[0].accuracy - stated / 100) < 0.02  # of other, and more, test images
    assert trainings[0].n_bytes == len(outcome.model)


def test_page_has_every_row_and_part() -> None:
    rows = {row[0]: row for row in table("file")}
    assert list(rows) == [ORIGINAL, *ROWS]
    for name in ROWS:
        assert number(rows[name][1]) < number(rows[ORIGINAL][1])
        assert number(rows[name][3]) > number(rows[ORIGINAL][3]) - MOST_POINTS_LOST
    assert number(rows[ALL][1]) < number(rows[ORIGINAL][1]) / 8
    parts = [row[0] for row in table("part")]
    assert {"pooling", "conv2.weight", "conv3.weight", "dense1.weight", "dense2.weight"} <= set(parts)
    assert [row[0] for row in table("seeds of")] == ["compression", "training"]


@pytest.fixture(scope="module")
def repeated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the command wrote its page for one pass into."""
    folder = tmp_path_factory.mktemp("repeated")
    main(["--passes", ONE_ROW, "--output", str(folder)])
    return folder


def test_command_repeats_the_page(repeated: Path) -> None:
    """The command's row for one pass, written elsewhere, is the committed page's."""
    page = repeated / "README.md"
    written, committed = ({row[0]: row for row in table("file", path)} for path in (page, README))
    assert list(written) == [ORIGINAL, ONE_ROW]
    n_bytes, right, changed = (
        [number(rows[ONE_ROW][column]) for rows in (written, committed)] for column in (1, 3, 4)
    )
    assert n_bytes[0] == pytest.approx(n_bytes[1], rel=0.1)  # other processors round sums otherwise
    assert right[0] == pytest.approx(right[1], abs=1.0)
    assert changed[0] == pytest.approx(changed[1], rel=0.5, abs=10)
    for head in ("coefficients", "varied"):
        assert table(head, page) == table(head, README)


def test_judge_says_what_the_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    main(["judge", str(archive.NETWORK)])
    (row,) = [row for row in table("file") if row[0] == ORIGINAL]
    assert abs(float(capsys.readouterr().out.split(": ")[1].split()[0]) - number(row[3])) <= 0.1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["judge", "nowhere.onnx"], "nowhere.onnx"),
        (["judge", str(README.parent / "digits_cnn.onnx")], "its input is not `coefficients`"),
        (["--passes", ONE_ROW, "--output", str(README.parents[1])], "another page"),
    ],
)
def test_refusals_say_why(arguments: list[str], reason: str) -> None:
    with pytest.raises(SystemExit, match=re.escape(reason)):
        main(arguments)


def test_figures_are_there(repeated: Path) -> None:
    for page in (README, repeated / "README.md"):
        links = re.findall(r"!\[[^]]+\]\(([^)]+)\)", section(page))
        assert len(links) >= 3
        for path in (page.parent / link for link in links):
            if path.suffix == ".svg":
                assert ET.parse(path).getroot().tag.endswith("svg")
            else:
                with Image.open(path) as picture:
                    assert min(picture.size) > 100


def test_html_report_needs_no_other_file(repeated: Path) -> None:
    text = (repeated / "clothing" / "report.html").read_text("utf-8")
    sources = re.findall(r'src="([^"]+)"', text)
    assert len(sources) >= 3
    assert all(source.startswith("data:image/") for source in sources)
    assert "<script" not in text
    assert len(re.findall("<table>", text)) == 4
    assert all(re.findall(r'alt="([^"]*)"', text))
