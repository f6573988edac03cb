// ---- charts --------------------------------------------------------------------------------
const ALL = "-all";
const drawn = new Map(); // by the id of their element
const drawnViews = () => [...drawn.values()].flatMap((chart) => chart.views);

// Printing does not wait for the animation frame in which charts change colour.
function paintNow(view) {
  if (view.invalidate_painters) {
    for (const part of view.computed_renderer_views) part.glyph?.set_visuals?.(part.model.data_source, part.all_indices);
    view.invalidate_painters();
    view.paint();
  }
  (view.child_views ?? []).forEach(paintNow);
}
// Column names are upright if the box is too narrow for slanted names.
function fit(host, doc) {
  const width = host.parentElement.clientWidth;
  if (width) setForms(doc, "fit", (forms) => (width < entry(forms, "below") ? "narrow" : "wide"));
}
// Bokeh leaves out horizontal names that would overlap, but not upright and slanted ones.
const ROOM = 15;
function thin(view, host) {
  const count = tagged(view.model, "names");
  if (!count) return;
  const [axis, { start, end }] = [view.model.below[0], view.model.x_range];
  const width = Math.max(60, host.clientWidth - view.bbox.width + view.frame.bbox.width);
  const step = typeof axis.major_label_orientation === "number" ? Math.max(1, Math.ceil((ROOM * (end - start)) / width)) : 1;
  const ticks = Array.from({ length: Math.ceil(count / step) }, (_, i) => i * step);
  if (String(ticks) !== String(axis.ticker.ticks)) axis.ticker.setv({ ticks });
}
const plotsOf = (view) => (view.frame ? [view] : (view.child_views ?? []).flatMap(plotsOf));

/** A chart of the page: its element, its Bokeh views, and its plots (a layout may have several). */
class Chart {
  constructor(host, views, doc) {
    Object.assign(this, { host, views, doc });
    this.plots = views.flatMap(plotsOf).map((view) => new ChartPlot(view));
  }
  get labels() { return [...new Set(this.plots.flatMap((plot) => plot.labels))]; }
  mark(name, label) { this.plots.forEach((plot) => plot.mark(name, label)); }
  at(event) { return this.plots.find((plot) => plot.contains(event.clientX, event.clientY)); }
}

/** One plot: what its axes mean, and where things are on the screen. */
class ChartPlot {
  constructor(view) {
    this.view = view;
    this.model = view.model;
    const renderers = this.model.renderers ?? [];
    this.along = tagged(this.model, "layers"); // one layer per column or row
    this.sources = [...new Set(renderers.map((renderer) => renderer.data_source))].filter(Boolean);
    this.points = this.sources.filter((source) => (source.tags ?? []).includes("points"));
    this.named = (name) => renderers.find((r) => r.name === name) ?? this.model.center.find((part) => part.name === name);
  }
  get axis() { return this.along && entry(this.along, "axis"); }
  get labels() {
    if (this.along) return [...entry(this.along, "labels")];
    return this.points.flatMap((source) => [...columnOf(source, "layer")]);
  }
  get place() {
    const [box, { left, right, top, bottom }] = [this.view.el.getBoundingClientRect(), this.view.frame.bbox];
    return { left: box.x + left, right: box.x + right, top: box.y + top, bottom: box.y + bottom, x: box.x, y: box.y };
  }
  contains(x, y) {
    const { left, right, top, bottom } = this.place;
    return x >= left && x <= right && y >= top && y <= bottom;
  }
  value(axis, client) {
    const scale = axis === "x" ? this.view.frame.x_scale : this.view.frame.y_scale;
    return scale.invert(client - (axis === "x" ? this.place.x : this.place.y));
  }
  /** The layer at a position on the screen; undefined if there is none. */
  layerAt(x, y) {
    if (this.along) return this.labels[Math.round(this.value(this.axis, this.axis === "x" ? x : y))];
    const { x_scale: across, y_scale: up } = this.view.frame;
    let [best, nearest] = [undefined, 24];
    for (const source of this.points) {
      const [xs, ys, names] = ["x", "y", "layer"].map((name) => columnOf(source, name));
      names.forEach((name, i) => {
        const away = Math.hypot(across.compute(xs[i]) + this.place.x - x, up.compute(ys[i]) + this.place.y - y);
        if (away < nearest) [best, nearest] = [name, away];
      });
    }
    return best;
  }
  /** Marks a layer (or none) as "picked" or as the "cursor" of the keyboard. */
  mark(name, label) {
    const part = this.named(name);
    if (!part) return;
    if (this.along) {
      const at = label === undefined ? -1 : this.labels.indexOf(label);
      const [low, high] = this.axis === "x" ? ["left", "right"] : ["bottom", "top"];
      part.setv(at < 0 ? { visible: false } : { [low]: at - 0.5, [high]: at + 0.5, visible: true });
      return;
    }
    const found = { x: [], y: [] };
    for (const source of this.points) {
      [...columnOf(source, "layer")].forEach((own, i) => {
        if (own === label) for (const axis of ["x", "y"]) found[axis].push(columnOf(source, axis)[i]);
      });
    }
    part.data_source.data = found;
  }
}

async function drawChart(host) {
  if (!(host.id in payload.charts) || drawn.has(host.id)) return;
  drawn.set(host.id, { views: [], plots: [], mark() {} });
  const item = await unpackedJson(payload.charts[host.id]);
  const views = [...await Bokeh.embed.embed_item(item)];
  const doc = Bokeh.documents[Bokeh.documents.length - 1];
  recolour(doc);
  const chart = new Chart(host, views, doc);
  const sized = () => { fit(host, doc); chart.plots.forEach(({ view }) => thin(view, host)); };
  sized();
  new ResizeObserver(sized).observe(host.parentElement);
  for (const { view } of chart.plots) view.model.x_range.change.connect(() => thin(view, host));
  drawn.set(host.id, chart);
  startZoom(chart);
  startKeys(chart);
  chart.mark("picked", picked);
}
async function drawVisibleCharts() {
  for (const host of document.querySelectorAll(".picture:not([hidden]) .chart:not([hidden])")) await drawChart(host);
}
function startMenus() {
  for (const menu of document.querySelectorAll("select[data-menu]")) {
    const pictures = document.getElementById(`views-${menu.dataset.menu}`).children;
    menu.addEventListener("change", () => {
      [...pictures].forEach((picture, i) => { picture.hidden = i !== Number(menu.value); });
      drawVisibleCharts();
    });
  }
}
const shownChart = (picture) => {
  const host = picture.querySelector(".chart:not([hidden])");
  return host && drawn.get(host.id);
};
const titleOf = (picture) => {
  const section = picture.closest("section");
  const menu = section.querySelector("select[data-menu]");
  const label = menu?.options[[...picture.parentElement.children].indexOf(picture)]?.textContent
    ?? section.querySelector(".only")?.textContent;
  return [section.querySelector("h2").textContent, label].filter(Boolean).join(": ");
};
/** The buttons of a figure: all layers or blocks, zoom, and files. */
function startTools() {
  for (const picture of document.querySelectorAll(".picture")) {
    const host = picture.querySelector(".chart");
    const bar = element("div", { className: "tools", role: "group", ariaLabel: `Tools of ${titleOf(picture)}` });
    if (host && `${host.id}${ALL}` in payload.charts) bar.append(layerSwitch(host));
    if (host) bar.append(...zoomButtons(() => shownChart(picture)));
    bar.append(...exportButtons(picture));
    picture.append(bar);
  }
}
function layerSwitch(host) {
  const whole = element("div", { className: "chart", id: `${host.id}${ALL}`, hidden: true });
  host.after(whole);
  const [few, all] = payload.depths[host.id];
  const flip = pressable(`All ${all} layers`, () => {
    whole.hidden = !whole.hidden;
    host.hidden = !whole.hidden;
    flip.textContent = whole.hidden ? `All ${all} layers` : `${few} blocks`;
    drawVisibleCharts();
  }, { title: `This chart shows the outputs of ${few} blocks, or all ${all} layers` });
  return flip;
}
