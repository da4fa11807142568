"""What commands print of Markdown is to be read as it is."""

from sb3_nbsp.base.markdown import code, escaped
from sb3_nbsp.base.names import did_you_mean
from sb3_nbsp.base.plain_text import aligned, from_markdown
from sb3_nbsp.evaluation.table import markdown_table


def test_numbers_stand_at_the_right_and_words_at_the_left():
    assert aligned(["task", "ASR"], [["east", "1.00"], ["far west", "-"]]).split("\n") == [
        "task       ASR",
        "--------  ----",
        "east      1.00",
        "far west     -",
    ]


def test_names_come_back_from_a_table_as_they_were():
    names = ["a|b", "<i>", "_x_", "[link](to)", "50 % & more", "`code`"]
    table = markdown_table(["method", "note"], [[escaped(name), code("k=1")] for name in names])
    shown = from_markdown(f"# Title\n\nSee [the page](x.md).\n\n{table}\nEnd.\n")
    assert shown.startswith("Title\n=====\n\nSee the page.\n\n") and shown.endswith("\n\nEnd.\n")
    rows = shown.split("\n\n")[2].split("\n")[2:]
    assert [row.rsplit("  ", 1)[0].rstrip() for row in rows] == names
    assert all(row.endswith("k=1") for row in rows)


def test_what_is_meant_may_be_written_longer():
    written = {"PointGoal": "ours/PointGoal", "Pendulum": "Pendulum"}
    assert did_you_mean("pointgol", written, written) == "Did you mean 'ours/PointGoal'?"
    assert did_you_mean("pointgol", written) == "Did you mean 'PointGoal'?"
    assert did_you_mean("zzz", written) == ""
