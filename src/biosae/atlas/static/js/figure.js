// A figure with its title, note and the two downloads: the drawing as SVG, its data as CSV.
"use strict";

const figure = (() => {
  const { el } = dom;
  const STYLES = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "font-size", "font-family", "font-weight"];

  function save(name, type, text) {
    const url = URL.createObjectURL(new Blob([text], { type }));
    el("a", { href: url, download: name.replace(/[^\w.+-]+/g, "_") }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  // A name that a spreadsheet would run as a formula gets the apostrophe that makes it text there.
  const inert = (text) => (/^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text);

  function csv(rows) {
    const cell = (value) => {
      const text = value === null || value === undefined || Number.isNaN(value) ? "" : inert(String(value));
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    return rows.map((row) => row.map(cell).join(",")).join("\n") + "\n";
  }

  // Characters that XML does not allow, which a name in a stranger's file may have.
  const allowed = (text) => text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "\ufffd");

  // The drawing with its computed styles written out, so that it looks the same without the style sheet.
  function standalone(drawing) {
    const copy = drawing.cloneNode(true);
    const originals = [drawing, ...drawing.querySelectorAll("*")];
    [copy, ...copy.querySelectorAll("*")].forEach((node, i) => {
      const style = getComputedStyle(originals[i]);
      for (const name of STYLES) node.setAttribute(name, style.getPropertyValue(name));
      node.removeAttribute("class");
    });
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    return new XMLSerializer().serializeToString(copy);
  }

  // draw(width) gives an SVG element; it is drawn again when the width changes.
  function responsive(draw) {
    const holder = el("div", { class: "drawing" });
    let drawn = 0;
    new ResizeObserver(([entry]) => {
      const width = Math.floor(entry.contentRect.width);
      if (width > 0 && width !== drawn) holder.replaceChildren(draw((drawn = width)));
    }).observe(holder);
    return holder;
  }

  // parts: title, note, body (element) or draw (width -> svg), rows (-> CSV rows), svgText (-> text), tools
  function make({ title, note, name, body, draw, rows, svgText, tools, wide }) {
    const content = body ?? responsive(draw);
    const text = () => allowed(svgText ? svgText() : standalone(content.querySelector("svg")));
    const buttons = [
      (draw || svgText) && el("button", { type: "button", class: "small", title: "Download this figure", onclick: () => save(`${name}.svg`, "image/svg+xml", text()) }, "SVG"),
      rows && el("button", { type: "button", class: "small", title: "Download the data of this figure", onclick: () => save(`${name}.csv`, "text/csv", csv(rows())) }, "CSV"),
    ];
    return el(
      "figure",
      { class: wide ? "card wide" : "card" },
      el("figcaption", null, el("h2", null, title), el("span", { class: "tools" }, tools, buttons)),
      content,
      note && el("p", { class: "note" }, note),
    );
  }

  return { make, csv, save };
})();
