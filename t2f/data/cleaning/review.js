"use strict";
const rows = [...document.querySelectorAll("article")];
const texts = rows.map((row) => row.textContent.toLowerCase());
const buttons = [...document.querySelectorAll("#filters button")];
const search = document.getElementById("search");
let chosen = "";

function show() {
  const wanted = search.value.trim().toLowerCase();
  let shown = 0;
  rows.forEach((row, place) => {
    const fits = (!chosen || row.dataset.categories.split("|").includes(chosen)) && texts[place].includes(wanted);
    row.hidden = !fits;
    shown += fits;
  });
  document.getElementById("count").textContent = `${shown} of ${rows.length} shown`;
}

for (const button of buttons) {
  button.addEventListener("click", () => {
    chosen = chosen === button.dataset.category ? "" : button.dataset.category;
    buttons.forEach((one) => one.setAttribute("aria-pressed", String(one.dataset.category === chosen)));
    show();
  });
}
search.addEventListener("input", show);
show();
