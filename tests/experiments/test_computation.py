"""Table 4's column of operations, to the unit."""

import csv
import re

import pytest
from PIL import Image

from experiments.evaluation import paper
from experiments.reproduction import results


def picture_size(path):
    with Image.open(path) as picture:
        return picture.size


def convolution(height, inputs, outputs, window=3):
    return 2 * height * height * window * window * inputs * outputs


def elu(elements):
    return 6 * elements


@pytest.fixture(scope="module")
def table_4(tmp_path_factory):
    """What `reproduce table4` prints, and the folder that it writes to."""
    folder = tmp_path_factory.mktemp("table4") / "new"
    return results.report_computation(folder / "table4"), folder


def test_table_4_s_column_to_the_unit(table_4):
    """The formula written out layer by layer from the papers' descriptions, without a look at the modules."""
    k, side, z = 7, 64, 64
    pixels = side * side

    squeezenet = convolution(128, 3, 64) + 128 * 128 * 64  # and its ReLU
    squeezenet += 2 * pixels * 64  # 3x3 max pooling: two comparisons for each output
    for inputs in (64, 128):  # Fire modules
        squeezenet += (
            convolution(side, inputs, 16, 1) + convolution(side, 16, 64, 1) + convolution(side, 16, 64)
        )
        squeezenet += pixels * (16 + 64 + 64)
    assert squeezenet == 252_313_600
    features = sum(convolution(side, i, o) + elu(pixels * o) for i, o in ((128, 64), (64, 32), (32, 16)))
    assert features == 795_475_968
    decoder = sum(convolution(side, i, 64) + elu(pixels * 64) for i in (z + 2, 64, 64, 64)) + convolution(
        side, 64, 4
    )
    assert k * decoder == 8_697_937_920
    refinement = sum(convolution(side, i, 64) + elu(pixels * 64) for i in (32, 64, 64, 64))
    refinement += 5 * 16 * 16 * 64  # 4x4 average pooling: 4 - 1 + 2 for each output
    refinement += (
        2 * 16 * 16 * 64 * 128 + elu(128) + 2 * 128 * 2 * z
    )  # code and change; the LSTM cell is unknown to it
    assert k * refinement == 7_472_960_768
    iodine = squeezenet + features + k * (decoder + refinement)
    assert iodine == 17_218_688_256
    cell = 2 * (384 + 128 + 128) * 5 * 128
    prior = 2 * (128 * 128 + 2 * 128 * z) + 128
    condition = 2 * ((z + 128) * z + z * z) + elu(2 * z)
    provide = iodine + k * (cell + prior + condition)
    assert provide == 17_225_117_056
    scanned = dict(re.findall(r"^(\w+) +([\d,]{14,})", table_4[0], re.MULTILINE))
    scanned = {name: int(number.replace(",", "")) for name, number in scanned.items()}
    assert scanned["IODINE"] == iodine and scanned["PROVIDE"] == provide
    # ODDN's last digit: the extra modules count 161,744 to 261,743; those with bias, one row each, are 186,696.
    assert 161_744 <= scanned["ODDN"] - iodine < 261_744
    assert scanned["ODDN"] - iodine == 2 * (64 * 16 + 16 * 4 + 256 * 100 + 100 + 256 * 256 + 256 * 4)


def test_table_4_as_it_is_printed(table_4):
    text, folder = table_4
    assert text.count("   yes") == 9 and "   no" not in text
    with open(folder / "table4.csv") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 3 * 4
    for line in lines:
        if line["paper"]:
            digits = len(line["paper"].partition(".")[2])
            assert f"{float(line['ours']):.{digits}f}" == line["paper"]
    whole = {line["row"]: float(line["ours"]) for line in lines if line["metric"].startswith("GFLOP of")}
    assert all(
        3 * 17.2 < whole[name] < 7 * 17.3 for name in paper.TABLE_4
    )  # five decodings, their gradients, ...
    assert picture_size(folder / "table4.png")[0] > 100
