"use strict";
// Saves embedded data and sorts tables. The page is complete without it.
document.documentElement.classList.add("js");
for (const button of document.querySelectorAll("[data-save]")) {
  button.addEventListener("click", () => {
    const data = document.getElementById(button.dataset.save);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([data.textContent], { type: "application/json" }));
    link.download = data.dataset.file;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}
const valueOf = (row, column) => {
  const cell = row.cells[column];
  const number = parseFloat(cell.dataset.value);
  return Number.isNaN(number) ? cell.textContent.trim() : number;
};
const compare = (a, b) =>
  typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
for (const head of document.querySelectorAll("table.sortable thead th")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = head.closest("table").tBodies[0];
    const rows = [...body.rows];
    rows.sort((a, b) => compare(valueOf(a, head.cellIndex), valueOf(b, head.cellIndex)) * (down ? -1 : 1));
    body.append(...rows);
  });
}
