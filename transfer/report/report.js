// Sorting. A first click on a column's head puts its largest figures (or its first names) on top, a second turns the
// order round; cells without a figure stay at the end. ?sort=TABLE:COLUMN clicks on that column of #table-TABLE when
// the page is opened, so that a sorted table can be linked to; several are parted by commas, ?sort=widths:5,widths:5.
"use strict";

const number = (text) => {
  const found = text.trim().match(/^[+-]?\d+(\.\d+)?/);
  return found ? parseFloat(found[0]) : NaN;
};

function sort(table, column) {
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...table.tBodies[0].rows].map((row) => ({ row, text: row.cells[column].textContent.trim() }));
  const missing = (entry) => entry.text === "" || entry.text.startsWith("–");
  const present = rows.filter((entry) => !missing(entry));
  const numeric = present.length > 0 && present.every((entry) => !isNaN(number(entry.text)));
  const before = heads[column].getAttribute("aria-sort");
  const descending = before ? before === "ascending" : numeric;
  const sign = descending ? -1 : 1;
  const compare = numeric ? (a, b) => number(a.text) - number(b.text) : (a, b) => a.text.localeCompare(b.text);
  present.sort((a, b) => sign * compare(a, b));
  for (const head of heads) head.removeAttribute("aria-sort");
  heads[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
  table.tBodies[0].append(...[...present, ...rows.filter(missing)].map((entry) => entry.row));
}

for (const table of document.querySelectorAll("table")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = head.querySelector("button");
    if (button) button.addEventListener("click", () => sort(table, column));
  });
}

for (const wanted of (new URLSearchParams(location.search).get("sort") || "").split(",").filter(Boolean)) {
  const [name, column] = wanted.split(":");
  const table = document.getElementById(`table-${name}`);
  const button = table && table.tHead.rows[0].cells[Number(column)]?.querySelector("button");
  if (button) button.click();
}
