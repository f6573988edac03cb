// ---- files of a figure ---------------------------------------------------------------------
const SVG = "http://www.w3.org/2000/svg";
const shape = (name, attributes, ...children) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};
const fileName = (picture, ending) =>
  `${titleOf(picture).toLowerCase().replaceAll(/[^a-z0-9]+/g, "-").replaceAll(/^-|-$/g, "").slice(0, 80) || "figure"}.${ending}`;
const colourOf = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();

function exportButtons(picture) {
  const host = picture.querySelector(".chart");
  const button = (text, title, act) => pressable(text, async () => {
    try { await act(); } catch (error) { readout(picture).textContent = `Could not save: ${error.message}`; }
  }, { title, ariaLabel: title });
  const made = [
    button("PNG", "Save this figure as an image (PNG)", async () => saveFile(fileName(picture, "png"), await asPng(asSvg(picture)))),
    button("SVG", "Save this figure as vector graphics (SVG)", () => saveFile(fileName(picture, "svg"), serialized(asSvg(picture)), "image/svg+xml")),
  ];
  if (host) {
    made.push(button("CSV", "Save the numbers of this figure (CSV)", () => saveFile(fileName(picture, "csv"), asCsv(numbersOf(shownChart(picture))), "text/csv")));
  }
  return [...made, element("output", { className: "readout" })];
}

/** The figure with its title and legend, as one SVG element. */
function asSvg(picture) {
  const chart = shownChart(picture);
  const parts = chart ? chartParts(chart) : imageParts(picture);
  const legend = [...picture.querySelectorAll(".legend li")].map((item) => [item.textContent.trim(), item.dataset.colour]);
  const top = legend.length ? 56 : 34;
  const [width, height] = [Math.max(parts.width, 320), parts.height + top];
  const text = (x, y, content, size, fill) => shape("text", {
    x, y, fill, "font-size": size, "font-family": "system-ui, sans-serif",
  }, content);
  const whole = shape("svg", { xmlns: SVG, width, height, viewBox: `0 0 ${width} ${height}` },
    shape("rect", { width, height, fill: colourOf("surface") }),
    text(12, 22, titleOf(picture), 15, colourOf("text")));
  let x = 12;
  legend.forEach(([name, colour]) => {
    whole.append(shape("circle", { cx: x + 5, cy: 40, r: 5, fill: colourOf(`series-${colour}`) }));
    whole.append(text(x + 15, 44, name, 12, colourOf("text")));
    x += 34 + 7 * name.length;
  });
  whole.append(shape("g", { transform: `translate(0 ${top})` }, ...parts.content));
  return whole;
}
// Bokeh exports axes and colour scales twice, at the same place.
function withoutRepeats(drawing) {
  const seen = new Set();
  drawing.style.position = "fixed";
  document.body.append(drawing);
  for (const text of [...drawing.querySelectorAll("text")]) {
    const { x, y } = text.getBoundingClientRect();
    const key = `${text.textContent} ${Math.round(x)} ${Math.round(y)}`;
    if (seen.has(key)) text.remove();
    seen.add(key);
  }
  drawing.remove();
  drawing.removeAttribute("style");
  return drawing;
}
function chartParts(chart) {
  const found = { width: 0, height: 0, content: [] };
  for (const { view } of chart.plots) {
    const drawing = withoutRepeats(view.export("svg", false).canvas);
    // Cells of heat maps keep sharp edges.
    for (const image of drawing.querySelectorAll("image")) image.setAttribute("style", "image-rendering: pixelated");
    const { width, height } = view.bbox;
    found.content.push(shape("g", { transform: `translate(0 ${found.height})` }, drawing));
    found.width = Math.max(found.width, width);
    found.height += height;
  }
  return found;
}
/** Rows of small images with their labels, or one image. */
function imageParts(picture) {
  const rows = [...picture.querySelectorAll("table.strips tbody tr")];
  const label = (x, y, content, size = 12) => shape("text", {
    x, y, fill: colourOf("text"), "font-size": size, "font-family": "system-ui, sans-serif",
  }, content);
  const put = (image, x, y, width, height) => shape("image", {
    x, y, width, height, href: image.src, style: "image-rendering: pixelated",
  });
  if (!rows.length) {
    const image = [...picture.querySelectorAll("img")].find((one) => one.offsetParent) ?? picture.querySelector("img");
    const [width, height] = [image.naturalWidth / 2, image.naturalHeight / 2];
    return { width, height, content: [put(image, 0, 0, width, height)] };
  }
  const names = [...picture.querySelectorAll(".frames span")].map((span) => span.textContent);
  const content = names.map((name, i) => label(160 + 60 * i, 14, name, 10));
  let width = 0;
  rows.forEach((row, i) => {
    const image = row.querySelector("img");
    const [wide, y] = [(image.naturalWidth * 56) / image.naturalHeight, 22 + 62 * i];
    width = Math.max(width, 172 + wide);
    const [name, detail] = [row.querySelector("th").firstChild.textContent, row.querySelector("small")?.textContent ?? ""];
    content.push(label(12, y + 24, name), label(12, y + 40, detail, 10), put(image, 160, y, wide, 56));
  });
  return { width, height: 30 + 62 * rows.length, content };
}
const serialized = (drawing) => new XMLSerializer().serializeToString(drawing);

/** The drawing at twice its size, for slides. */
async function asPng(drawing) {
  const [width, height] = ["width", "height"].map((name) => 2 * Number(drawing.getAttribute(name)));
  const url = URL.createObjectURL(new Blob([serialized(drawing)], { type: "image/svg+xml" }));
  const image = new Image();
  image.src = url;
  await image.decode();
  const canvas = element("canvas", { width, height });
  canvas.getContext("2d").drawImage(image, 0, 0, width, height);
  URL.revokeObjectURL(url);
  return new Promise((done) => { canvas.toBlob(done, "image/png"); });
}

/** The numbers that a chart shows, as lines of cells. */
function numbersOf(chart) {
  const blocks = new Map();
  for (const source of chart.plots.flatMap((plot) => plot.sources)) {
    const pairs = tagged(source, "csv");
    if (!pairs) continue;
    const header = [...pairs].map(([title]) => title);
    const key = JSON.stringify(header);
    if (!blocks.has(key)) blocks.set(key, [header]);
    blocks.get(key).push(...linesOf(source, [...pairs].map(([, column]) => column)));
  }
  return [...blocks.values()].flatMap((lines, i) => (i ? [[], ...lines] : lines));
}
function linesOf(source, columns) {
  const data = columns.map((name) => columnOf(source, name));
  const images = columnOf(source, "image");
  if (!images) return Array.from(data[0], (_, i) => data.map((values) => cellOf(values[i])));
  const flat = (value) => (Array.isArray(value) ? value.flat(Infinity) : value);
  return Array.from(images, (image, i) => {
    const own = data.map((values) => (values[i] !== null && typeof values[i] === "object" ? [...flat(values[i])] : values[i]));
    return Array.from(flat(image), (_, cell) => own.map((part) => cellOf(Array.isArray(part) ? part[cell] : part)));
  }).flat();
}
const cellOf = (value) => (typeof value === "number" ? (Number.isFinite(value) ? Number(value.toPrecision(7)) : "") : value);
