"""Reports say when a network's weights are random."""

from plot_rows import result, row

from invariscope.report import write_report
from invariscope.report.facts import networks


def test_random_weights_stand_beside_the_name_of_the_network_that_has_them(tmp_path):
    drawn = result([row("a", 0.5)], name="x").weighted("random, seed 3")
    other = result([row("a", 0.5)], name="y")
    assert networks([drawn, other]) == [("x", "weights: random, seed 3"), ("y", "")]
    page = write_report([drawn, other], tmp_path / "r.html").read_text()
    assert "x <small>weights: random, seed 3</small></dd>" in page
    assert "y</dd>" in page


def test_weights_are_kept_when_a_result_is_renamed_and_never_change_the_original():
    plain = result([row("a", 0.5)], name="x")
    drawn = plain.weighted("random, seed 3")
    assert drawn.labelled("z").provenance["model"]["weights"] == "random, seed 3"
    assert "weights" not in plain.provenance["model"]
