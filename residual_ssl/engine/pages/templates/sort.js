document.querySelectorAll("table.sortable").forEach(table => {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const text = row => row.cells[column].textContent.trim();
    const value = row => parseFloat(text(row).replaceAll(",", ""));
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const rows = [...body.rows], numbers = column > 0 && rows.some(row => !isNaN(value(row)));
      const before = head.getAttribute("aria-sort");
      const order = before ? (before === "ascending" ? "descending" : "ascending") : numbers ? "descending" : "ascending";
      const sign = order === "ascending" ? 1 : -1;
      rows.sort((one, other) => {
        if (!numbers) return sign * text(one).localeCompare(text(other));
        const [a, b] = [value(one), value(other)];
        return isNaN(a) || isNaN(b) ? isNaN(a) - isNaN(b) : sign * (a - b);
      });
      body.append(...rows);
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
    });
  });
});
