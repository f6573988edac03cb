from plot_rows import NAN, curve, result, row
from test_report_page import Page

from invariscope.report import ranking
from invariscope.report.page import render

FLIPS = "prediction.flips"
IMAGES = {"data": {"shape": [1, 28, 28]}}


def net(name, last, **columns):
    return result([row("conv", 0.9), row("fc", last, **columns)], name=name, **IMAGES)


def classifier(name, share):
    ends = {"ci_low": share - 0.05, "ci_high": share + 0.05}
    curves = [curve(k, value, measure=FLIPS) for k, value in enumerate((0.0, share))]
    curves += [curve(k, value) for k, value in enumerate((0.9, 0.9 - share))]
    return result([row("output", share, measure=FLIPS, **ends)], curves=curves, name=name, **IMAGES)


def test_few_networks_have_no_ranking():
    assert ranking.of_results([net("a", 0.1)] * 3, "normalized_variance") is None


def test_networks_are_ranked_by_the_share_that_changes_class():
    shares = {"a": 0.4, "b": 0.1, "c": 0.3, "d": 0.2}
    found = ranking.of_results([classifier(*entry) for entry in shares.items()], None)
    assert found.title == "Images that change class"
    assert [(e.name, e.place, e.value.replace("\u00a0", " ")) for e in found.entries] == [
        ("b", 1, "10 %"), ("d", 3, "20 %"), ("c", 2, "30 %"), ("a", 0, "40 %"),
    ]  # fmt: skip
    last = found.entries[-1]
    # The longest bar reaches 45 %, the upper end of the interval of the largest share.
    assert (round(last.share, 2), round(last.low, 2), round(last.high, 2)) == (88.89, 77.78, 100.0)
    assert last.interval.replace("\u00a0", " ") == "35 % to 45 %"
    assert last.further.replace("\u00a0", " ") == "90 % → 50 % (90°)"


def test_the_page_of_many_networks_has_a_table_of_them_with_a_link_and_marks_of_different_shape():
    networks = [classifier(f"n{k}", 0.05 + 0.02 * k) for k in range(8)]
    for network in networks:
        network.provenance["measures"] = {"prediction": {"summary": "How predictions change."}}
    page = Page(render(networks))
    marks = {a["class"] for a in page.all("span") if str(a.get("class")).startswith("swatch")}
    assert len(marks) == 8
    (table,) = (a for a in page.all("table") if a.get("class") == "ranking")
    assert table["role"] == "table"
    assert "#define-prediction" in [a.get("href") for a in page.all("a") if a.get("class") == "define"]


def test_without_predictions_they_are_ranked_by_the_last_layer_that_has_a_value():
    nets = [net("a", 0.4), net("b", NAN), net("c", 0.2, note="no interval: few samples"), net("d", 0.3)]
    found = ranking.of_results(nets, "normalized_variance")
    assert [(e.name, e.value, e.further) for e in found.entries] == [
        ("c", "0.2", "fc"), ("d", "0.3", "fc"), ("a", "0.4", "fc"), ("b", "0.9", "conv"),
    ]  # fmt: skip
    assert [e.interval for e in found.entries] == ["none: few samples", "none", "none", "none"]
    assert {(e.low, e.high) for e in found.entries} == {(None, None)}
