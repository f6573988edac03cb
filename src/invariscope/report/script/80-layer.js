// ---- one layer everywhere ------------------------------------------------------------------
// The picked layer is marked in every chart and table, shown in a panel, and kept in the address.
const PREFIX = "#layer=";
let picked;
let pickedFrom = null;
const panel = element("aside", { className: "layer", hidden: true, tabIndex: -1, ariaLabel: "Layer" });

const allLayers = () => {
  const cells = tables.get("rows")?.cells;
  return cells ? cells.cells[cells.find("label")].texts : [];
};
/** The layers that count: the network's output does so only if a measure has it among other layers. */
function countedLayers() {
  const { cells } = tables.get("rows").cells;
  const [label, measure] = ["label", "measure"].map((key) => cells[tables.get("rows").cells.find(key)]);
  const own = new Map();
  label.codes.forEach((code, row) => {
    const key = measure?.codes[row] ?? 0;
    own.set(key, (own.get(key) ?? new Set()).add(code));
  });
  const among = new Set([...own.values()].filter((codes) => codes.size > 1).flatMap((codes) => [...codes]));
  return label.texts.filter((text, code) => text !== "output" || among.has(code));
}
function placeOf(label) {
  const counted = countedLayers();
  const at = counted.indexOf(label);
  return at < 0 ? "Output of the network" : `Layer ${at + 1} of ${counted.length}`;
}
function pick(label, from = null) {
  if (label !== undefined && !allLayers().includes(label)) return;
  picked = label;
  if (from && !panel.contains(from)) pickedFrom = from;
  for (const chart of drawn.values()) chart.mark("picked", label);
  for (const row of document.querySelectorAll("tr[data-layer]")) row.classList.toggle("picked", row.dataset.layer === label);
  const fragment = label === undefined ? "" : PREFIX + encodeURIComponent(label);
  if (location.hash !== fragment && (fragment || location.hash.startsWith(PREFIX))) {
    history.replaceState(null, "", fragment || location.pathname + location.search);
  }
  panel.hidden = label === undefined;
  root.classList.toggle("with-layer", label !== undefined);
  if (label !== undefined) fillPanel(label);
}
/** The keyboard goes on in the panel; Escape leads back. */
function pickByKey(label, from) {
  pick(label, from);
  panel.focus();
}
function unpick() {
  if (picked === undefined) return;
  pick(undefined);
  if (pickedFrom?.isConnected) pickedFrom.focus();
  pickedFrom = null;
}
function fromAddress() {
  if (!location.hash.startsWith(PREFIX)) return;
  try { pick(decodeURIComponent(location.hash.slice(PREFIX.length))); } catch { /* not an address of ours */ }
}
function startLayers() {
  document.body.append(panel);
  addEventListener("keydown", (event) => { if (event.key === "Escape") unpick(); });
  addEventListener("hashchange", fromAddress);
  fromAddress();
}

async function fillPanel(label) {
  const layers = allLayers();
  const at = layers.indexOf(label);
  const to = (step) => pressable(step < 0 ? "←" : "→", () => {
    pick(layers[at + step], panel);
    panel.querySelectorAll("header button")[step < 0 ? 0 : 1]?.focus();
  }, { ariaLabel: step < 0 ? "Previous layer" : "Next layer", disabled: !(at + step in layers) });
  const title = element("h2", { textContent: label });
  const place = element("p", { className: "caption", textContent: placeOf(label) });
  const close = pressable("×", unpick, { ariaLabel: "Close (Escape)", title: "Close (Escape)" });
  panel.ariaLabel = `Layer ${label}`;
  panel.replaceChildren(element("header", {}, title, element("span", {}, to(-1), to(1), close)), place, valuesOf(label), ...stripsOf(label));
  panel.scrollTop = 0;
  const units = await unitsOf(label);
  if (picked === label && units.length) panel.append(...units);
}
/** The layer's values over all samples, and a way to its other rows. */
function valuesOf(label) {
  const { cells } = tables.get("rows");
  const [layer, stratum, measure, model] = ["label", "stratum", "measure", "model"].map((key) => cells.find(key));
  const own = cells.where(new Map([[layer, label]]));
  const rows = stratum < 0 ? own : own.filter((row) => cells.get(row, stratum) === "all");
  const body = element("tbody", {}, ...rows.map((row) => {
    const name = [measure, model].filter((i) => i >= 0).map((i) => cells.text(row, i)).join(" · ");
    const said = ["value", "ci", "null"].map((key) => cells.find(key)).filter((i) => i >= 0);
    return element("tr", {}, element("th", { scope: "row", textContent: name || "Value" }),
      ...said.map((i) => element("td", { className: "num", textContent: cells.text(row, i) })));
  }));
  const heads = ["", "Value", "95 % interval", "Null"].filter((_, i) => i < 2 || cells.find(["ci", "null"][i - 2]) >= 0);
  const head = element("thead", {}, element("tr", {}, ...heads.map((text) => element("th", { scope: "col", textContent: text, className: text ? "num" : "" }))));
  const found = element("div", {}, element("table", { className: "values" }, head, body));
  if (own.length > rows.length) {
    const more = own.length - rows.length;
    found.append(pressable(`Show its ${more.toLocaleString("en")} rows by class in the table`, () => {
      tables.get("rows").narrow(label);
      document.getElementById("rows").scrollIntoView();
    }, { className: "more" }));
  }
  return found;
}
/** Copies of the layer's feature maps along the orbit, below the input. */
function stripsOf(label) {
  const rows = [...document.querySelectorAll("table.strips tr[data-layer]")].filter((row) => row.dataset.layer === label);
  if (!rows.length) return [];
  const input = document.querySelector("#feature_orbits table.strips tbody tr:not([data-layer])");
  const shownRows = [input, ...rows].filter(Boolean).map((row) => {
    const image = row.querySelector("img").cloneNode();
    return element("figure", {}, element("figcaption", { textContent: row.querySelector("th").innerText.replace("\n", " · ") }),
      element("div", { className: "scroll" }, image));
  });
  return [element("h3", { textContent: "Along the orbit" }), ...shownRows];
}

// ---- units of a layer ----------------------------------------------------------------------
const units = new Map();
async function unitsOf(label) {
  const found = [];
  for (const [i, group] of payload.units.entries()) {
    const place = group.layers[label];
    if (!place) continue;
    if (!units.has(i)) units.set(i, await unpackedNumbers(group.values));
    const values = units.get(i).subarray(place.start, place.start + place.count);
    found.push(element("h3", { textContent: `${place.kind}: ${group.title}` }), ...unitPictures(values, group, place));
  }
  return found;
}
function unitPictures(values, group, place) {
  const live = [...values].filter(Number.isFinite);
  const words = place.step > 1 ? `${place.count.toLocaleString("en")} groups of ${place.step}` : place.count.toLocaleString("en");
  const dead = values.length - live.length;
  const caption = `${words} ${place.kind.toLowerCase()}${dead ? `, ${dead.toLocaleString("en")} without a value (hatched)` : ""}. Colours from ${formatted(group.low)} (dark) to ${formatted(group.high)} (bright).`;
  const drawings = [unitGrid(values, group, place)];
  if (live.length > 1) drawings.push(histogram(live, group));
  return [...drawings, element("p", { className: "caption", textContent: caption })];
}
/** One cell per feature map or unit, in the order of their numbers. */
function unitGrid(values, { low, high }, { kind, step }) {
  const across = Math.min(32, Math.ceil(Math.sqrt(values.length * 2)));
  const side = 10;
  const grid = shape("svg", {
    viewBox: `0 0 ${across * side} ${Math.ceil(values.length / across) * side}`, class: "units", role: "img",
    "aria-label": `${values.length} cells, one per ${step > 1 ? "group" : kind.toLowerCase()}`,
  });
  values.forEach((value, i) => {
    const shade = Math.round((255 * (value - low)) / (high - low));
    const fill = Number.isFinite(value) ? payload.palette[Math.min(255, Math.max(0, shade))] : "none";
    const cell = shape("rect", {
      x: (i % across) * side, y: Math.floor(i / across) * side, width: side - 0.6, height: side - 0.6, fill,
      class: fill === "none" ? "dead" : "",
    }, shape("title", {}, `${i * step}: ${formatted(Number.isFinite(value) ? value : null)}`));
    grid.append(cell);
  });
  return grid;
}
function histogram(live, { low, high }) {
  const [bins, width, height] = [32, 320, 64];
  const counts = new Array(bins).fill(0);
  for (const value of live) counts[Math.min(bins - 1, Math.max(0, Math.floor((bins * (value - low)) / (high - low))))]++;
  const top = Math.max(...counts);
  const bars = counts.map((count, i) => shape("rect", {
    x: (i * width) / bins, width: width / bins - 1, y: height - (height * count) / top, height: (height * count) / top,
  }));
  const label = (x, anchor, value) => shape("text", { x, y: height + 14, "text-anchor": anchor }, formatted(value));
  return shape("svg", { viewBox: `0 0 ${width} ${height + 18}`, class: "histogram", role: "img", "aria-label": "Number of units by value" },
    ...bars, label(0, "start", low), label(width, "end", high));
}
