"""The studies: the author's figures beside those measured here, joined only where nothing else differs."""

import re

from ledger_rows import grouped, row

from resnet_tf.report import measured, studies
from resnet_tf.runs.records import EvaluationRecord


def test_studies_report_what_the_author_did(shipped):
    reported = {cells[0]: (cells[1], cells[3], cells[4]) for cells in studies.study_rows("12345", shipped, [])}
    assert reported == {
        "1": ("5", "1", "85.92 %"),
        "2": ("5", "0.96", "85.64 %"),
        "3": ("3", "0.96", "85.10 %"),
        "4": ("9", "0.96", "86.59 %"),
        "5": ("9", "0.9", "-"),
    }


def solid_lines(svg: str) -> int:
    """Returns how many solid lines of the first colour are not vertical, as intervals are, that is, join points."""
    paths = re.findall(r'<path d="M ([\d.]+) [\d.]+ \nL ([\d.]+) [^"]*" [^>]*style="([^"]*)"', svg)
    return sum("#0072b2" in style and "dash" not in style and start != end for start, end, style in paths)


def test_points_that_differ_in_more_than_the_study_are_not_joined(found, shipped):
    second = measured.Measured(EvaluationRecord.from_row(row("2", seed=1)), shipped["2"], None)
    groups = measured.groups([*found, second])
    assert studies.differing(studies.DEPTH, groups) == ["images"]
    assert "images" in studies.caution(studies.DEPTH, groups)
    alike = [group for group in groups if group.record.preset != "4"]
    assert studies.differing(studies.DEPTH, alike) == []
    solid = [solid_lines(studies.depth_plot(shipped, which)) for which in (groups, alike)]
    assert solid == [0, 1]


def test_points_that_no_reported_one_may_stand_beside_are_hollow(shipped):
    def hollow(*rows) -> int:
        svg = studies.depth_plot(shipped, grouped(*rows, preset=shipped["3"]))
        assert ("not comparable" in svg) == ("fill: #ffffff; stroke: #0072b2" in svg)
        return svg.count("fill: #ffffff; stroke: #0072b2")

    assert hollow(row()) == 0
    assert hollow(row(changed={"train.epochs": [3, 100]}, epochs=3)) == 2  # the point, and in the legend
    assert hollow(row(), row(seed=1, steps=100, trained=100)) == 2
