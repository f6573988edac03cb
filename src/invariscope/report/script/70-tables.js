// ---- tables --------------------------------------------------------------------------------
// Rows at first: on a phone, each takes several lines.
const [PAGE, MORE] = [innerWidth < 560 ? 30 : 60, 1000];
const NUMERIC = new Set(["number", "count", "interval", "p"]);

function formatted(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1e-3 && size < 1e5
    ? value.toFixed(Math.max(0, 3 - Math.floor(Math.log10(size))))
    : value.toExponential(3).replace(/([+-])(\d)$/, (_, sign, digit) => `${sign}0${digit}`);
  return text.replaceAll("-", "−");
}
// As in the terminal, all numbers of a measure have the same number of decimals, except that a value that
// would be rounded to zero keeps four significant digits. A negligible difference is rounded to zero.
function fixed(value, places, isDifference) {
  if (value === null || value === undefined) return "–";
  if (!isDifference && value !== 0 && Math.abs(value) < 0.5 * 10 ** -places) return formatted(value);
  const digits = { minimumFractionDigits: places, maximumFractionDigits: places };
  const text = value.toLocaleString("en", digits);
  return (/[1-9]/.test(text) ? text : text.replace("-", "")).replaceAll("-", "−");
}
function shown(value, kind, titles, places, isDifference) {
  if (kind === "text") return titles?.get(value) ?? value;
  if (kind === "count") return value === null ? "–" : Math.round(value).toLocaleString("en");
  if (kind === "interval") {
    if (value === null) return "–";
    const [low, high, corrected] = value.slice(0, 3).map((end) => fixed(end, places, isDifference));
    return value[3] ? `${corrected}; ${low} to ${high}` : `${low} to ${high}`;
  }
  if (kind === "p" && value !== null) return value < 0.001 ? "< 0.001" : value.toFixed(3);
  return fixed(value, places, isDifference);
}
const known = (value) => (Number.isNaN(value) ? null : Number(value.toPrecision(7)));

/** The columns of a table. Rows are numbers, because a table may have hundreds of thousands. */
class Cells {
  static async of(spec) {
    const cells = await Promise.all(spec.cells.map(async (column) => ({
      ...column,
      codes: column.codes && await unpackedNumbers(column.codes),
      parts: column.parts && await Promise.all(column.parts.map(unpackedNumbers)),
    })));
    return Object.assign(new Cells(), { ...spec, cells });
  }
  find(key) { return this.columns.findIndex((column) => column.key === key); }
  get(row, i) {
    const { texts, codes, parts } = this.cells[i];
    if (texts) return texts[codes[row]];
    if (parts.length === 1) return known(parts[0][row]);
    return Number.isNaN(parts[0][row]) ? null : parts.map((part) => known(part[row]));
  }
  /** A number by which rows are sorted. */
  order(i) {
    const { texts, codes, parts } = this.cells[i];
    if (!texts) return (row) => parts[0][row];
    const compare = new Intl.Collator("en", { numeric: true }).compare;
    const rank = new Uint32Array(texts.length);
    texts.map((text, code) => [text, code]).sort(([a], [b]) => compare(a, b)).forEach(([, code], at) => { rank[code] = at; });
    return (row) => rank[codes[row]];
  }
  decimals(row) {
    const measure = this.find("measure");
    return this.places[measure < 0 ? 0 : this.cells[measure].codes[row]];
  }
  /** The rows that have all of these texts, given by column. */
  where(wanted) {
    const tests = [...wanted].map(([i, text]) => [this.cells[i].codes, this.cells[i].texts.indexOf(text)]);
    const found = [];
    for (let row = 0; row < this.count; row++) if (tests.every(([codes, code]) => codes[row] === code)) found.push(row);
    return found;
  }
  text(row, i) {
    const { key, kind } = this.columns[i];
    const paired = this.find("value_a") >= 0;
    return shown(this.get(row, i), kind, this.titles.get(i), this.decimals(row), paired && (key === "value" || key === "ci"));
  }
}

// ARIA roles are explicit: narrow pages lay out rows as blocks, which browsers no longer treat as a table.
class Table {
  constructor(box, cells) {
    Object.assign(this, { box, cells, columns: cells.columns, filters: cells.filters });
    Object.assign(this, { query: "", sort: null, limit: PAGE, focusable: 0 });
    this.layer = cells.find("label");
    this.count = element("span", { className: "count" });
    this.body = element("div", { className: "scroll" });
    this.more = pressable("", () => { this.limit += MORE; this.draw(); }, { className: "more" });
    box.append(this.controls(), this.body, this.more);
    this.body.addEventListener("click", (event) => this.chosenBy(event));
    this.body.addEventListener("keydown", (event) => this.pressed(event));
    addEventListener("beforeprint", () => { this.limit = Math.max(this.limit, MORE); this.draw(); });
    this.draw();
  }
  controls() {
    this.search = element("input", { type: "search", placeholder: "Filter by name", ariaLabel: "Filter rows by name" });
    this.search.addEventListener("input", () => { this.query = this.search.value.toLowerCase(); this.restart(); });
    const save = pressable("Save as CSV", () => saveFile("invariscope.csv", asCsv(this.lines()), "text/csv"));
    this.menus = this.filters.map((filter) => this.menu(filter));
    return element("div", { className: "controls" }, this.search, ...this.menus, save, this.count);
  }
  menu(filter) {
    const select = element("select", { ariaLabel: this.columns[filter.column].label });
    const label = this.columns[filter.column].label.toLowerCase();
    select.append(element("option", { value: "", textContent: `any ${label}` }));
    filter.titles.forEach(([value, title], i) => {
      select.append(element("option", { value: String(i + 1), textContent: title }));
      if (value === filter.selected) select.selectedIndex = i + 1;
    });
    select.addEventListener("change", () => {
      filter.selected = select.selectedIndex ? filter.titles[select.selectedIndex - 1][0] : "";
      this.restart();
    });
    return select;
  }
  /** Shows all rows of one layer. */
  narrow(label) {
    this.query = label.toLowerCase();
    this.search.value = label;
    this.filters.forEach((filter, i) => {
      if (this.columns[filter.column].key === "stratum") [filter.selected, this.menus[i].selectedIndex] = ["", 0];
    });
    this.restart();
  }
  restart() { this.limit = PAGE; this.draw(); }
  chosen() {
    const fixed = new Map(this.filters.filter((f) => f.selected).map((f) => [f.column, f.selected]));
    const rows = this.cells.where(fixed).filter(this.matching());
    if (!this.sort) return rows;
    const { column, direction } = this.sort;
    const key = this.cells.order(column);
    return rows.sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
      return direction * (x - y);
    });
  }
  /** A test of rows for the text that was typed; each distinct text is compared once. */
  matching() {
    if (!this.query) return () => true;
    const hits = this.cells.cells.flatMap(({ texts, codes }, i) => (texts
      ? [[codes, texts.map((text) => (this.cells.titles.get(i)?.get(text) ?? text).toLowerCase().includes(this.query))]]
      : []));
    return (row) => hits.some(([codes, hit]) => hit[codes[row]]);
  }
  draw() {
    const rows = this.chosen();
    // A column with a single value, fixed by a filter, is redundant: the filter's menu shows the value.
    const hidden = new Set(this.filters.filter((f) => f.selected).map((f) => f.column));
    const columns = this.columns.map((_, i) => i).filter((i) => !hidden.has(i));
    const bar = this.barColumn();
    const top = bar < 0 ? 0 : rows.reduce((most, row) => Math.max(most, this.cells.get(row, bar) ?? 0), 0);
    const body = element("tbody", { role: "rowgroup" }, ...rows.slice(0, this.limit).map((row) => this.row(row, columns, top)));
    const head = element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...columns.map((i) => this.heading(i))));
    this.body.replaceChildren(element("table", { className: "rows", role: "table" }, head, body));
    if (body.firstChild) body.firstChild.tabIndex = 0;
    const [some, all] = [rows.length, this.cells.count].map((count) => count.toLocaleString("en"));
    this.count.textContent = `${some} of ${all} rows`;
    this.more.hidden = rows.length <= this.limit;
    const left = rows.length - this.limit;
    this.more.textContent = left <= MORE ? `Show all ${some} rows` : `Show ${MORE.toLocaleString("en")} more of ${some} rows`;
  }
  barColumn() { return this.columns.findIndex((c) => c.key === "value" && c.label === "Value"); }
  row(row, columns, top) {
    const made = element("tr", { role: "row", tabIndex: -1 }, ...columns.map((i) => {
      const { key, kind } = this.columns[i];
      const text = this.cells.text(row, i);
      const cell = element("td", { textContent: text, role: "cell" });
      cell.dataset.label = this.columns[i].label;
      if (kind === "text") cell.title = text;
      cell.classList.toggle("num", NUMERIC.has(kind));
      cell.classList.toggle("soft", NUMERIC.has(kind) && key !== "value");
      const value = i === this.barColumn() ? this.cells.get(row, i) : null;
      if (top > 0 && value > 0) {
        cell.classList.add("bar");
        cell.style.setProperty("--share", `${(100 * value) / top}%`);
      }
      return cell;
    }));
    made.dataset.layer = this.cells.get(row, this.layer);
    made.classList.toggle("picked", made.dataset.layer === picked);
    return made;
  }
  heading(i) {
    const { label, help, kind } = this.columns[i];
    const cell = element("th", { scope: "col", role: "columnheader" });
    cell.append(pressable(label, () => {
      const again = this.sort?.column === i;
      // Third click: restore the order in which layers run.
      this.sort = again && this.sort.direction < 0 ? null : { column: i, direction: again ? -1 : 1 };
      this.draw();
      this.body.querySelector("thead").rows[0].cells[cell.cellIndex]?.firstChild.focus();
    }, { title: help }));
    cell.classList.toggle("num", NUMERIC.has(kind));
    if (this.sort?.column === i) cell.ariaSort = this.sort.direction > 0 ? "ascending" : "descending";
    return cell;
  }
  chosenBy(event) {
    const row = event.target.closest("tbody tr");
    if (row && !getSelection().toString()) pick(row.dataset.layer, row);
  }
  /** Rows are one stop of the Tab key; the arrow keys go from row to row. */
  pressed(event) {
    const row = event.target.closest("tbody tr");
    if (!row) return;
    const next = { ArrowDown: row.nextSibling, ArrowUp: row.previousSibling }[event.key];
    if (next) {
      [row.tabIndex, next.tabIndex] = [-1, 0];
      next.focus();
    } else if (event.key === "Enter") pickByKey(row.dataset.layer, row);
    else return;
    event.preventDefault();
  }
  lines() {
    const parts = this.columns.map(({ key, kind }) => {
      if (kind !== "interval") return [key];
      return [`${key}_low`, `${key}_high`, ...(key === "ci" ? ["corrected"] : [])];
    });
    const wide = (row) => this.columns.flatMap(({ kind }, i) => {
      const cell = this.cells.get(row, i);
      return kind === "interval" ? parts[i].map((_, part) => cell?.[part]) : [cell];
    });
    return [parts.flat(), ...this.chosen().map(wide)];
  }
}

const tables = new Map();
async function startTables() {
  for (const box of document.querySelectorAll("[data-table]")) {
    const spec = payload.tables[box.dataset.table];
    if (!spec) continue;
    const cells = await Cells.of(spec);
    cells.titles = new Map(cells.filters.map((filter) => [filter.column, new Map(filter.titles)]));
    tables.set(box.dataset.table, new Table(box, cells));
  }
}
