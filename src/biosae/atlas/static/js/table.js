// A table of which only the rows in view exist; sorts by any column, works from the keyboard.
"use strict";

const table = (() => {
  const { el } = dom;
  const ROW = 40; // px, as in style.css
  const SPARE = 8;
  const alphabet = new Intl.Collator("en", { numeric: true });

  // Rows in the order of values; undefined values last, whatever the direction.
  function ordered(rows, value, ascending) {
    const keys = rows.map(value);
    const missing = (key) => key === null || key === undefined || key === "" || Number.isNaN(key);
    const present = [...keys.keys()].filter((i) => !missing(keys[i]));
    const compare = typeof keys[present[0]] === "string" ? alphabet.compare : (p, q) => p - q;
    const sign = ascending ? 1 : -1;
    present.sort((i, j) => sign * compare(keys[i], keys[j]) || i - j);
    return [...present.map((i) => rows[i]), ...rows.filter((_, i) => missing(keys[i]))];
  }

  // columns: [{key, title, hint, value(row), cell(row), numeric}]; open(row) follows a row
  function make({ columns, rows, sort, open, onsort, height }) {
    let shown = rows;
    let order = rows;
    let active = -1;
    let drawn = ""; // first and last row in the table, and the active one
    const head = el("tr", { "aria-rowindex": 1 });
    const body = el("tbody");
    const [above, below] = [el("tr", { "aria-hidden": "true" }), el("tr", { "aria-hidden": "true" })];
    const grid = el("table", null, el("thead", null, head), body);
    const holder = el("div", { class: "scroller", tabindex: 0, role: "region", "aria-label": "Table: arrow keys move, Enter opens" }, grid);
    if (height) holder.style.maxHeight = height;

    function header(column) {
      const mine = sort?.key === column.key;
      const mark = mine ? (sort.ascending ? " ↑" : " ↓") : "";
      const button = el("button", { type: "button", title: column.hint ?? null, onclick: () => by(column) }, column.title + mark);
      return el("th", { scope: "col", class: column.numeric ? "number" : null, "aria-sort": mine ? (sort.ascending ? "ascending" : "descending") : null }, button);
    }

    function by(column) {
      const again = sort?.key === column.key;
      sort = { key: column.key, ascending: again ? !sort.ascending : !column.numeric };
      onsort?.(sort);
      refresh();
    }

    function refresh() {
      const column = columns.find((c) => c.key === sort?.key);
      order = column ? ordered(shown, column.value, sort.ascending) : shown;
      head.replaceChildren(...columns.map(header));
      grid.setAttribute("aria-rowcount", order.length + 1);
      active = Math.min(active, order.length - 1);
      drawn = "";
      render();
    }

    function line(place) {
      const row = order[place];
      const cells = columns.map((column) => el("td", { class: column.numeric ? "number" : null }, column.cell(row)));
      return el("tr", { "aria-rowindex": place + 2, class: place === active ? "active" : null, onclick: (event) => event.target.closest("a") || open?.(row) }, cells);
    }

    function render() {
      const first = Math.max(0, Math.floor(holder.scrollTop / ROW) - SPARE);
      const last = Math.min(order.length, first + Math.ceil((holder.clientHeight || 400) / ROW) + 2 * SPARE);
      above.style.height = `${first * ROW}px`;
      below.style.height = `${(order.length - last) * ROW}px`;
      const wanted = `${first} ${last} ${active}`;
      if (drawn === wanted) return;
      drawn = wanted;
      const lines = [];
      for (let place = first; place < last; place++) lines.push(line(place));
      if (!order.length) lines.push(el("tr", null, el("td", { colspan: columns.length, class: "quiet" }, "Nothing matches.")));
      body.replaceChildren(above, ...lines, below);
    }

    function move(event) {
      const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 };
      if (event.key === "Enter" && active >= 0 && event.target === holder) return open?.(order[active]);
      if (!(event.key in steps)) return;
      event.preventDefault();
      active = Math.max(0, Math.min(order.length - 1, active + steps[event.key]));
      const top = active * ROW;
      if (top < holder.scrollTop) holder.scrollTop = top;
      if (top + 2 * ROW > holder.scrollTop + holder.clientHeight) holder.scrollTop = top + 2 * ROW - holder.clientHeight;
      render();
    }

    let pending = false;
    holder.addEventListener("scroll", () => {
      if (pending) return;
      pending = true;
      requestAnimationFrame(() => ((pending = false), render()));
    });
    holder.addEventListener("keydown", move);
    new ResizeObserver(render).observe(holder);
    refresh();

    const setRows = (next) => ((shown = next), (holder.scrollTop = 0), refresh());
    const setColumns = (next) => ((columns = next), refresh());
    return { element: holder, setRows, setColumns, rows: () => order, columns: () => columns };
  }

  return { make, ordered };
})();
