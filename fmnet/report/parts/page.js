// Tables are sorted by a button in each heading; without scripts they stay as they were written.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  const compare = (one, other, sign) => {
    if (one === "" || other === "") return (one === "") - (other === ""); // these come last
    const difference = Number(one) - Number(other);
    const isText = Number.isNaN(difference);
    return sign * (isText ? one.localeCompare(other, "en", { numeric: true }) : difference);
  };
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const isDescending = heading.getAttribute("aria-sort") === "ascending";
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", isDescending ? "descending" : "ascending");
      const valueOf = (row) => {
        const cell = row.cells[column];
        return cell.dataset.value ?? cell.textContent.trim();
      };
      const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row), row]);
      rows.sort(([one], [other]) => compare(one, other, isDescending ? -1 : 1));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
}
for (const hint of document.querySelectorAll("[data-needs-script]")) hint.hidden = false;
// Large pictures stand in the page once: what keeps one takes it from the picture.
for (const link of document.querySelectorAll("a.of-image")) {
  link.href = link.closest("figure").querySelector("img").src;
  link.hidden = false;
}
