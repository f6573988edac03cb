"use strict";
(() => {
  const payload = JSON.parse(document.getElementById("payload").textContent);
  const root = document.documentElement;
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");

  // ---- theme -------------------------------------------------------------------------------
  const CHOICES = ["auto", "light", "dark"];
  let choice = "auto";
  let printing = false;

  const remember = (value) => {
    // A page opened from a file may have no storage. The choice is then lost when the page is closed.
    try { localStorage.setItem("invariscope-theme", value); } catch { /* nothing to do */ }
  };
  const recall = () => {
    try { return localStorage.getItem("invariscope-theme"); } catch { return null; }
  };
  const currentTheme = () => {
    if (printing) return "light";
    return choice === "auto" ? (prefersDark.matches ? "dark" : "light") : choice;
  };

  // Charts cannot see CSS variables: each model carries the properties of both themes in its tags.
  const entry = (holder, name) => (holder instanceof Map ? holder.get(name) : holder?.[name]);
  function setForms(doc, kind, choose) {
    for (const model of doc.all_models) {
      for (const tag of model.tags ?? []) {
        const forms = entry(tag, kind);
        const form = forms && entry(forms, choose(forms));
        if (form) model.setv(form instanceof Map ? Object.fromEntries(form) : form);
      }
    }
  }
  const recolour = (doc) => setForms(doc, "theme", currentTheme);
  // Column names are upright if the box is too narrow for slanted names.
  function fit(element, doc) {
    const width = element.parentElement.clientWidth;
    if (width) setForms(doc, "fit", (forms) => (width < entry(forms, "below") ? "narrow" : "wide"));
  }
  function applyTheme() {
    if (choice === "auto") root.removeAttribute("data-theme");
    else root.setAttribute("data-theme", choice);
    root.classList.toggle("dark", currentTheme() === "dark");
    document.getElementById("theme").textContent = `Theme: ${choice}`;
    for (const doc of Bokeh.documents) recolour(doc);
  }
  function startTheme() {
    const button = document.getElementById("theme");
    const known = recall();
    if (CHOICES.includes(known)) choice = known;
    button.hidden = false;
    button.addEventListener("click", () => {
      choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
      remember(choice);
      applyTheme();
    });
    prefersDark.addEventListener("change", applyTheme);
    addEventListener("beforeprint", () => { printing = true; applyTheme(); views.forEach(paintNow); });
    addEventListener("afterprint", () => { printing = false; applyTheme(); });
    applyTheme();
  }

  // ---- charts ------------------------------------------------------------------------------
  const drawn = new Set();
  const views = [];
  // Printing does not wait for the animation frame in which charts change colour.
  function paintNow(view) {
    if (view.invalidate_painters) {
      for (const part of view.computed_renderer_views) part.glyph?.set_visuals?.(part.model.data_source, part.all_indices);
      view.invalidate_painters();
      view.paint();
    }
    (view.child_views ?? []).forEach(paintNow);
  }
  async function drawChart(element) {
    const item = payload.charts[element.id];
    if (!item || drawn.has(element.id)) return;
    drawn.add(element.id);
    views.push(...await Bokeh.embed.embed_item(item));
    const doc = Bokeh.documents[Bokeh.documents.length - 1];
    recolour(doc);
    fit(element, doc);
    new ResizeObserver(() => fit(element, doc)).observe(element.parentElement);
  }
  async function drawVisibleCharts() {
    for (const element of document.querySelectorAll(".picture:not([hidden]) .chart")) await drawChart(element);
    root.dataset.drawn = "yes";
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

  // ---- tables ------------------------------------------------------------------------------
  const PAGE = 120;
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
    return value.toLocaleString("en", digits).replaceAll("-", "−");
  }
  function shown(value, kind, titles, places, isDifference) {
    if (kind === "text") return titles?.get(value) ?? value;
    if (kind === "count") return value === null ? "–" : Math.round(value).toLocaleString("en");
    if (kind === "interval") {
      if (value === null) return "–";
      const [low, high, corrected, isShown] = value.map((end) => fixed(end, places, isDifference));
      return isShown ? `${corrected}; ${low} to ${high}` : `${low} to ${high}`;
    }
    if (kind === "p" && value !== null) return value < 0.001 ? "< 0.001" : value.toFixed(3);
    return fixed(value, places, isDifference);
  }
  const element = (name, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };

  // ARIA roles are explicit: narrow pages lay out rows as blocks, which browsers no longer treat as a table.
  class Table {
    constructor(box, spec) {
      Object.assign(this, spec, { box, query: "", sort: null, limit: PAGE });
      this.titles = {};
      this.paired = this.columns.some((column) => column.key === "value_a");
      this.decimals = new Map(this.rows.map((row, i) => [row, this.places[i]]));
      for (const filter of this.filters) this.titles[filter.column] = new Map(filter.titles);
      this.count = element("span", { className: "count" });
      this.body = element("div", { className: "scroll", tabIndex: 0 });
      this.more = element("button", { type: "button", className: "more" });
      this.more.addEventListener("click", () => { this.limit = Infinity; this.draw(); });
      box.append(this.controls(), this.body, this.more);
      this.draw();
    }
    controls() {
      const search = element("input", { type: "search", placeholder: "Filter by name", ariaLabel: "Filter rows by name" });
      search.addEventListener("input", () => { this.query = search.value.toLowerCase(); this.draw(); });
      const save = element("button", { type: "button", textContent: "Save as CSV" });
      save.addEventListener("click", () => this.save());
      return element("div", { className: "controls" }, search, ...this.filters.map((f) => this.menu(f)), save, this.count);
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
        this.draw();
      });
      return select;
    }
    chosen() {
      const texts = this.columns.map((c, i) => [c, i]).filter(([c]) => c.kind === "text").map(([, i]) => i);
      const rows = this.rows.filter((row) =>
        this.filters.every((f) => !f.selected || row[f.column] === f.selected)
        && (!this.query || texts.some((i) => this.text(row, i).toLowerCase().includes(this.query))));
      if (!this.sort) return rows;
      const { column, direction } = this.sort;
      const key = (row) => (this.columns[column].kind === "interval" ? row[column]?.[0] ?? null : row[column]);
      return rows.sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === null || y === null) return (x === null) - (y === null);
        return direction * (typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y);
      });
    }
    text(row, i) {
      const { key, kind } = this.columns[i];
      const isDifference = this.paired && (key === "value" || key === "ci");
      return shown(row[i], kind, this.titles[i], this.decimals.get(row), isDifference);
    }
    draw() {
      const rows = this.chosen();
      // A column with a single value, fixed by a filter, is redundant: the filter's menu shows the value.
      const hidden = new Set(this.filters.filter((f) => f.selected).map((f) => f.column));
      const columns = this.columns.map((_, i) => i).filter((i) => !hidden.has(i));
      const top = Math.max(...rows.map((row) => row[this.barColumn()] ?? 0), 0);
      const body = element("tbody", { role: "rowgroup" }, ...rows.slice(0, this.limit).map((row) => this.row(row, columns, top)));
      const head = element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...columns.map((i) => this.heading(i))));
      this.body.replaceChildren(element("table", { className: "rows", role: "table" }, head, body));
      this.count.textContent = `${rows.length.toLocaleString("en")} of ${this.rows.length.toLocaleString("en")} rows`;
      this.more.hidden = rows.length <= this.limit;
      this.more.textContent = `Show all ${rows.length.toLocaleString("en")} rows`;
    }
    barColumn() { return this.columns.findIndex((c) => c.key === "value" && c.label === "Value"); }
    row(row, columns, top) {
      return element("tr", { role: "row" }, ...columns.map((i) => {
        const { key, kind } = this.columns[i];
        const text = this.text(row, i);
        const cell = element("td", { textContent: text, role: "cell" });
        cell.dataset.label = this.columns[i].label;
        if (kind === "text") cell.title = text;
        cell.classList.toggle("num", NUMERIC.has(kind));
        cell.classList.toggle("soft", NUMERIC.has(kind) && key !== "value");
        if (i === this.barColumn() && top > 0 && row[i] > 0) {
          cell.classList.add("bar");
          cell.style.setProperty("--share", `${(100 * row[i]) / top}%`);
        }
        return cell;
      }));
    }
    heading(i) {
      const { label, help, kind } = this.columns[i];
      const button = element("button", { type: "button", textContent: label, title: help });
      const cell = element("th", { scope: "col", role: "columnheader" }, button);
      cell.classList.toggle("num", NUMERIC.has(kind));
      if (this.sort?.column === i) cell.ariaSort = this.sort.direction > 0 ? "ascending" : "descending";
      button.addEventListener("click", () => {
        const again = this.sort?.column === i;
        // Third click: restore the order in which layers run.
        this.sort = again && this.sort.direction < 0 ? null : { column: i, direction: again ? -1 : 1 };
        this.draw();
      });
      return cell;
    }
    save() {
      const quote = (value) => {
        const text = String(value ?? "");
        // A spreadsheet would evaluate a name that starts like a formula.
        const safe = typeof value === "string" && /^[=+\-@\t]/.test(text) ? `'${text}` : text;
        return `"${safe.replaceAll('"', '""')}"`;
      };
      const parts = this.columns.map(({ key, kind }) => {
        if (kind !== "interval") return [key];
        return [`${key}_low`, `${key}_high`, ...(key === "ci" ? ["corrected"] : [])];
      });
      const wide = (cells) => cells.flatMap((cell, i) => (
        this.columns[i].kind === "interval" ? parts[i].map((_, part) => cell?.[part]) : [cell]));
      const lines = [parts.flat(), ...this.chosen().map(wide)].map((line) => line.map(quote).join(","));
      const link = element("a", { download: "invariscope.csv" });
      link.href = URL.createObjectURL(new Blob([lines.join("\r\n")], { type: "text/csv" }));
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    }
  }

  // ---- wide content ------------------------------------------------------------------------
  // Boxes that can be scrolled fade out at the right, because phones hide the scroll bar.
  function startFading() {
    const look = (box) => {
      // A table that has just been replaced is no longer inside a box.
      box?.classList.toggle("more-right", box.scrollLeft + box.clientWidth < box.scrollWidth - 2);
    };
    // A chart is resized after its box, inside a shadow root that observers cannot see. All boxes are
    // therefore checked once sizes are stable and charts have been laid out in the previous frame.
    let rest;
    const again = () => requestAnimationFrame(() => document.querySelectorAll(".scroll").forEach(look));
    const later = () => { clearTimeout(rest); rest = setTimeout(again, 150); };
    const sizes = new ResizeObserver((seen) => { seen.forEach(({ target }) => look(target.closest(".scroll"))); later(); });
    for (const box of document.querySelectorAll(".scroll")) {
      const watch = () => { for (const part of [box, ...box.children]) sizes.observe(part); };
      box.addEventListener("scroll", () => look(box), { passive: true });
      new MutationObserver(watch).observe(box, { childList: true });
      watch();
    }
  }

  // ---- start -------------------------------------------------------------------------------
  startTheme();
  startMenus();
  for (const box of document.querySelectorAll("[data-table]")) {
    const spec = payload.tables[box.dataset.table];
    if (spec) new Table(box, spec);
  }
  startFading();
  drawVisibleCharts();
})();
