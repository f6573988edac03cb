// ---- keyboard ------------------------------------------------------------------------------
const readout = (picture) => picture.querySelector(".readout");
const wordsOf = (chart, label) => {
  const parts = chart.plots.flatMap((plot) => plot.sources).flatMap((source) => {
    const [pairs, own] = [tagged(source, "csv"), columnOf(source, "layer")];
    const at = pairs && own && !columnOf(source, "image") ? [...own].indexOf(label) : -1;
    if (at < 0) return [];
    return [[...pairs].filter(([, column]) => column !== "layer")
      .map(([title, column]) => `${title} ${said(columnOf(source, column)[at])}`).join(", ")];
  });
  return [label, ...parts].join(" · ");
};
const said = (value) => (typeof value === "number" ? (Number.isFinite(value) ? formatted(value) : "–") : value);

/** Arrow keys go from layer to layer, Enter picks one, plus and minus zoom, shift and arrows move the view. */
function startKeys(chart) {
  const { host, zooms } = chart;
  const picture = host.closest(".picture");
  const labels = chart.labels;
  let cursor = -1;
  host.tabIndex = 0;
  host.role = "group";
  host.ariaRoleDescription = "chart";
  const layers = labels.length ? "Arrow keys go through the layers, Enter picks one. " : "";
  host.ariaLabel = `${titleOf(picture)}. ${layers}Plus and minus zoom, 0 shows everything.`;
  const go = (step) => {
    cursor = Math.min(labels.length - 1, Math.max(0, cursor < 0 ? Math.max(0, labels.indexOf(picked)) : cursor + step));
    zooms.forEach((zoom) => zoom.show(labels[cursor]));
    chart.mark("cursor", labels[cursor]);
    readout(picture).textContent = wordsOf(chart, labels[cursor]);
  };
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  host.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = steps[event.key];
    if (step && event.shiftKey) zooms.forEach((zoom) => zoom.pan({ x: step * 0.2, y: step * 0.2 }));
    else if (step && labels.length) go(step);
    else if (event.key === "Home" && labels.length) go(-Infinity);
    else if (event.key === "End" && labels.length) go(Infinity);
    else if (event.key === "+" || event.key === "=") zooms.forEach((zoom) => zoom.scale(STEP, centreOf(zoom, labels[cursor])));
    else if (event.key === "-") zooms.forEach((zoom) => zoom.scale(1 / STEP));
    else if (event.key === "0") zooms.forEach((zoom) => zoom.reset());
    else if (event.key === "Enter" && cursor >= 0) pickByKey(labels[cursor], host);
    else return;
    event.preventDefault();
  });
  host.addEventListener("blur", () => {
    cursor = -1;
    chart.mark("cursor", undefined);
    readout(picture).textContent = "";
  });
}
const centreOf = (zoom, label) => {
  const at = zoom.plot.along ? zoom.plot.labels.indexOf(label) : -1;
  return at < 0 ? {} : { [zoom.plot.axis]: at };
};
