// ---- zoom and pan --------------------------------------------------------------------------
// Layers are zoomed along their axis alone, other charts along both axes.
const STEP = 1.5;

class Zoom {
  constructor(plot) {
    this.plot = plot;
    this.axes = plot.axis ? [plot.axis] : ["x", "y"];
    this.whole = null;
  }
  range(axis) { return this.plot.model[`${axis}_range`]; }
  isLog(axis) { return this.plot.model[`${axis}_scale`].type === "LogScale"; }
  ends(axis) { return [this.range(axis).start, this.range(axis).end]; }
  remember() { this.whole ??= Object.fromEntries(this.axes.map((axis) => [axis, this.ends(axis)])); }
  set(axis, [start, end]) {
    this.remember();
    const [low, high] = [...this.whole[axis]].sort((a, b) => a - b);
    const inside = (value) => Math.min(high, Math.max(low, value));
    if (Math.abs(end - start) < (high - low) * 1e-4) return;
    this.range(axis).setv({ start: inside(start), end: inside(end) });
  }
  moved(axis, ends, change) {
    const log = this.isLog(axis);
    const flat = log ? ends.map(Math.log) : ends;
    const found = change(...flat);
    this.set(axis, log ? found.map(Math.exp) : found);
  }
  scale(factor, about = {}) {
    this.remember();
    for (const axis of this.axes) {
      this.moved(axis, this.ends(axis), (start, end) => {
        const raw = about[axis];
        const middle = raw === undefined ? (start + end) / 2 : (this.isLog(axis) ? Math.log(raw) : raw);
        return [middle + (start - middle) / factor, middle + (end - middle) / factor];
      });
    }
  }
  /** Shifts the view by a share of its width; it stops at the edges of the data. */
  pan(shares, from = null) {
    this.remember();
    for (const axis of this.axes.filter((name) => name in shares)) {
      this.moved(axis, from?.[axis] ?? this.ends(axis), (start, end) => {
        const edges = this.isLog(axis) ? this.whole[axis].map(Math.log) : this.whole[axis];
        const room = edges.map((edge, i) => edge - [start, end][i]).sort((a, b) => a - b);
        const shift = Math.min(room[1], Math.max(room[0], shares[axis] * (end - start)));
        return [start + shift, end + shift];
      });
    }
  }
  /** Moves the view, if it does not contain a layer, until the layer is inside. */
  show(label) {
    const at = this.plot.along ? this.plot.labels.indexOf(label) : -1;
    if (at < 0 || !this.whole) return;
    const [start, end] = this.ends(this.plot.axis);
    const [low, high] = [Math.min(start, end), Math.max(start, end)];
    const off = at - 0.5 < low ? at - 0.5 - low : Math.max(0, at + 0.5 - high);
    if (off) this.pan({ [this.plot.axis]: off / (end - start) });
  }
  reset() { if (this.whole) for (const axis of this.axes) this.range(axis).setv(toEnds(this.whole[axis])); }
}
const toEnds = ([start, end]) => ({ start, end });

const zoomButtons = (shown) => {
  const each = (act) => () => shown()?.zooms.forEach(act);
  return [
    pressable("+", each((zoom) => zoom.scale(STEP)), { ariaLabel: "Zoom in", title: "Zoom in (drag over the chart, or ctrl and the wheel; shift and drag moves it)" }),
    pressable("−", each((zoom) => zoom.scale(1 / STEP)), { ariaLabel: "Zoom out", title: "Zoom out" }),
    pressable("Reset", each((zoom) => zoom.reset()), { ariaLabel: "Reset the zoom", title: "Show everything again" }),
  ];
};

function startZoom(chart) {
  chart.zooms = chart.plots.map((plot) => new Zoom(plot));
  const zoomAt = (event) => chart.zooms[chart.plots.indexOf(chart.at(event))];
  const band = element("div", { className: "band", hidden: true });
  chart.host.append(band);
  let drag = null;
  const options = { capture: true };
  chart.host.addEventListener("wheel", (event) => {
    const zoom = zoomAt(event);
    if (!zoom || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    const about = { x: zoom.plot.value("x", event.clientX), y: zoom.plot.value("y", event.clientY) };
    zoom.scale(Math.exp(-Math.sign(event.deltaY) * 0.2), about);
  }, { ...options, passive: false });
  chart.host.addEventListener("pointerdown", (event) => {
    const zoom = event.button === 0 ? zoomAt(event) : undefined;
    if (!zoom) return;
    const from = Object.fromEntries(zoom.axes.map((axis) => [axis, zoom.ends(axis)]));
    drag = { zoom, x: event.clientX, y: event.clientY, from, pans: event.shiftKey, far: false };
  }, options);
  const track = (event) => {
    if (!drag) return;
    drag.far ||= Math.hypot(event.clientX - drag.x, event.clientY - drag.y) > 5;
    // A finger scrolls the page; the buttons zoom.
    if (!drag.far || event.pointerType === "touch") return;
    if (drag.pans) panTo(drag, event);
    else drawBand(band, chart.host, drag, event);
  };
  const finish = (event) => {
    const done = drag;
    drag = null;
    band.hidden = true;
    if (!done || event.type === "pointercancel") return;
    if (!done.far) {
      const label = done.zoom.plot.layerAt(event.clientX, event.clientY);
      if (label !== undefined) pick(label, chart.host);
    } else if (!done.pans && event.pointerType !== "touch") zoomTo(done, event);
  };
  addEventListener("pointermove", track);
  addEventListener("pointerup", finish);
  addEventListener("pointercancel", finish);
}
const clampedTo = (plot, x, y) => {
  const { left, right, top, bottom } = plot.place;
  return [Math.min(right, Math.max(left, x)), Math.min(bottom, Math.max(top, y))];
};
function panTo({ zoom, x, y, from }, event) {
  const { left, right, top, bottom } = zoom.plot.place;
  zoom.pan({ x: (x - event.clientX) / (right - left), y: (event.clientY - y) / (bottom - top) }, from);
}
function drawBand(band, host, { zoom, x, y }, event) {
  const [box, { left, right, top, bottom }] = [host.getBoundingClientRect(), zoom.plot.place];
  const [toX, toY] = clampedTo(zoom.plot, event.clientX, event.clientY);
  const across = zoom.axes.includes("x") ? [Math.min(x, toX), Math.max(x, toX)] : [left, right];
  const down = zoom.axes.includes("y") ? [Math.min(y, toY), Math.max(y, toY)] : [top, bottom];
  Object.assign(band.style, {
    left: `${across[0] - box.x}px`, width: `${across[1] - across[0]}px`,
    top: `${down[0] - box.y}px`, height: `${down[1] - down[0]}px`,
  });
  band.hidden = false;
}
function zoomTo({ zoom, x, y }, event) {
  const [toX, toY] = clampedTo(zoom.plot, event.clientX, event.clientY);
  const spans = { x: [x, toX], y: [y, toY] };
  for (const axis of zoom.axes) {
    const [a, b] = spans[axis];
    if (Math.abs(b - a) < 6) continue;
    const ends = [zoom.plot.value(axis, a), zoom.plot.value(axis, b)].sort((one, other) => one - other);
    const falls = zoom.range(axis).start > zoom.range(axis).end;
    zoom.set(axis, falls ? ends.reverse() : ends);
  }
}
