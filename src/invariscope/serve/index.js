"use strict";
// Reading the list and comparing runs work without this script, which adds sorting and filtering.
const table = document.querySelector("table.rows");
if (table) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const filter = document.getElementById("filter");
  const compare = document.getElementById("compare");
  const count = document.getElementById("count");
  const most = Number(table.dataset.most);

  const valueOf = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    return cell.dataset.value === undefined ? text : parseFloat(text);
  };
  const order = (a, b) => {
    if (typeof a === "number") return (Number.isNaN(a) ? Infinity : a) - (Number.isNaN(b) ? Infinity : b) || 0;
    return a.localeCompare(b, "en", { numeric: true });
  };
  const sort = (heading, column) => {
    const down = heading.getAttribute("aria-sort") === "ascending";
    for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    rows.sort((a, b) => (down ? -1 : 1) * order(valueOf(a, column), valueOf(b, column)));
    body.append(...rows);
  };
  const update = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    const chosen = rows.filter((row) => row.querySelector("input").checked).length;
    const shown = rows.filter((row) => !row.hidden).length;
    compare.disabled = chosen < 2 || chosen > most;
    const selected = chosen ? `, ${chosen} selected${chosen > most ? ` (at most ${most} can be compared)` : ""}` : "";
    count.textContent = `${shown === rows.length ? rows.length : `${shown} of ${rows.length}`} shown${selected}`;
  };

  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    if (!heading.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    button.addEventListener("click", () => sort(heading, column));
    heading.replaceChildren(button);
  });
  filter.hidden = false;
  filter.addEventListener("input", update);
  // Pressing Enter in the filter must not submit the form.
  filter.addEventListener("keydown", (event) => { if (event.key === "Enter") event.preventDefault(); });
  table.addEventListener("change", update);
  addEventListener("pageshow", update);
  update();
}
