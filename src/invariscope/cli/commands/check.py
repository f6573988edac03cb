"""`invariscope check`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from invariscope.cli import options as shared
from invariscope.cli.console import complain, notice, show, show_line
from invariscope.cli.errors import Debug, command
from invariscope.cli.options import opt

if TYPE_CHECKING:
    from invariscope.checking.limits import Limit
    from invariscope.checking.outcomes import Outcome, Unmeasured
    from invariscope.results.result import Result

BROKEN = 1
_XML = (b"<?xml", b"<testsuite")


@command
def check(
    model: shared.Model,
    data: shared.Data,
    transform: shared.Transform,
    origin: shared.Origin,
    settings: shared.BatchSettings,
    most: Annotated[
        list[str] | None,
        opt("Fail above this value. Can be repeated.", "GLOB:MEASURE:VALUE", "--max", shown=False),
    ] = None,
    least: Annotated[
        list[str] | None,
        opt("Fail below this value. Can be repeated.", "GLOB:MEASURE:VALUE", "--min", shown=False),
    ] = None,
    junit: Annotated[
        Path | None,
        opt("Also write JUnit XML to this file; an existing file is replaced.", "FILE", shown="none"),
    ] = None,
    debug: Debug = False,
) -> None:
    """Check that the values measured on a model stay within limits, for continuous integration.

    A limit names layers, a measure with one of its outputs, and a number. `output` is the model's prediction;
    `invariscope list layers MODEL` shows the names of layers. Limits apply to the value over all samples; its
    interval is only shown. With --repeats, the part of a value that is due to chance alone is subtracted
    before the comparison with --max. A layer without a value, for example because all of its units are dead
    (constant), breaks its limits. The exit code is 0 if all limits hold, 1 if any is broken, and 2 if
    nothing could be checked. A layer that a glob matches but that cannot be measured
    neither meets nor breaks a limit and is listed; a layer named in full must be measured.

    Examples:

        invariscope check net.py:make x.npz -t 'Flip()' --min output:consistency:.95 --junit check.xml
        invariscope check nets/plain mnist_subset -t quarter_turns --max 'conv*:normalized_variance:0.3'
        invariscope check net.py:make x.npz -t 'Flip()' --max output:prediction.flips:.02
    """
    import invariscope as iv
    from invariscope.checking.junit import write_junit
    from invariscope.checking.limits import needed, output_as_layer, read_limits
    from invariscope.checking.outcomes import judged, unmeasured
    from invariscope.cli.expressions import read_transform
    from invariscope.cli.fitting import class_order
    from invariscope.cli.folders import refuse_other_file
    from invariscope.cli.models import loaded

    started = time.perf_counter()
    limits = read_limits(most or (), least or ())
    if junit is not None and not junit.absolute().parent.is_dir():
        raise FileNotFoundError(
            f"--junit {junit}: the folder {junit.absolute().parent} does not exist; create it first"
        )
    if junit is not None and junit.is_dir():
        raise IsADirectoryError(f"--junit {junit} is a folder; give a file name")
    if junit is not None:
        refuse_other_file(junit, _XML, "an XML file")
    elements = read_transform(transform)
    named, inputs = loaded(model, data, origin, seed=settings.seed, transform=elements)
    options = settings.keywords(named.label) | needed(limits) | named.feeding
    options["classes"] = class_order(settings.classes, named, inputs)
    try:
        result = named.summary(iv.measure(named.model, inputs, elements, **options))
    except ValueError as error:
        raise output_as_layer(limits, error) or error from None
    outcomes, others = judged(limits, result), unmeasured(limits, result)
    if junit is not None:
        write_junit(junit, [*outcomes, *others], model=result.name, seconds=time.perf_counter() - started)
    _show(result, outcomes, others)
    if any(outcome.status != "holds" for outcome in outcomes):
        raise typer.Exit(BROKEN)


def _show(result: Result, outcomes: Sequence[Outcome], others: Sequence[Unmeasured]) -> None:
    from invariscope.checking.limit_verdict import held, prediction_of, reservations
    from invariscope.checking.limits import OUTPUT
    from invariscope.checking.outcomes import NEVER_RAN
    from invariscope.cli.tables import plain_table, remarks
    from invariscope.plots.shared.labels import interval, number

    columns = ("layer", "measure", "value", "95 % interval", "limit", "")
    cells = [
        (o.name, o.limit.row, number(o.value), interval(o.low, o.high), _bound(o.limit), o.status)
        for o in outcomes
    ]
    cells += [(o.name, o.limit.row, "", "", _bound(o.limit), "not measured") for o in others]
    show(plain_table(f"Limits of {result.name}", columns, cells, text=2), "")
    for remark in remarks(result):
        notice(f"note: {remark}")
    if any(outcome.chance for outcome in outcomes):
        notice("note: the part of a value due to chance (--repeats) is subtracted before --max applies")
    if any(outcome.limit.measure.scope == OUTPUT for outcome in outcomes):
        notice(f"note: {OUTPUT} is {prediction_of(result)}")
    for layer in dict.fromkeys(other.name for other in others if other.reason == NEVER_RAN):
        notice(f"note: skipped {layer}: {NEVER_RAN}")
    for outcome in (outcome for outcome in outcomes if outcome.status != "holds"):
        word = "no value" if outcome.status == "no value" else "broken"
        complain(f"{outcome.message} ({outcome.evidence})", word=word)
    show_line(f"{held(outcomes)}{reservations(outcomes, others)}")


def _bound(limit: Limit) -> str:
    return f"{limit.sign} {limit.bound:g}"
