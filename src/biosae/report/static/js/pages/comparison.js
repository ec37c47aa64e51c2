// Variants trained on the same activations: where they ended, and how they came there.
"use strict";

const comparisonPage = (() => {
  const { el, number, plural } = dom;
  const QUANTITIES = { nmse: "NMSE", fvu: "Variance left unexplained (FVU)", loss: "Loss", l0: "Active features (L0)", dead_fraction: "Share of dead features" };
  const SPLITS = ["test", "val", "train"];
  const COLOURS = ["s0", "s1", "s4", "s5", "s6", "s7", "s8"];

  function curves(rows, split, quantity) {
    const mine = rows.filter((row) => row.split === split && row[quantity]?.some((value) => value !== null));
    if (!mine.length) return null;
    const epochs = [...new Set(mine.flatMap((row) => row.epochs))].sort((a, b) => a - b);
    const series = mine.map((row, i) => ({
      name: row.model, class: COLOURS[i % COLOURS.length],
      points: row.epochs.map((epoch, k) => ({ level: epochs.indexOf(epoch), value: row[quantity][k], title: `${row.model}, epoch ${epoch}: ${number(row[quantity][k])}` })).filter((point) => point.value !== null),
    }));
    const every = Math.ceil(epochs.length / 10);
    return figure.make({
      title: `${QUANTITIES[quantity]}, ${split}`, name: `variants-${quantity}-${split}`,
      draw: (width) => charts.levels(width, { levels: epochs.map((epoch, i) => (i % every ? "" : String(epoch))), series, rules: [], xTitle: "epoch", yTitle: quantity.replaceAll("_", " "), height: 260, spread: 0 }),
      rows: () => [["model", "epoch", quantity], ...mine.flatMap((row) => row.epochs.map((epoch, k) => [row.model, epoch, row[quantity][k]]))],
    });
  }

  function ends(rows) {
    const last = rows.map((row) => ({ model: row.model, split: row.split, epoch: row.epochs.at(-1), ...Object.fromEntries(Object.keys(QUANTITIES).map((name) => [name, row[name]?.at(-1) ?? null])) }));
    const grid = table.make({
      rows: last, sort: { key: "nmse", ascending: true },
      columns: [
        { key: "model", title: "variant", value: (row) => row.model, cell: (row) => row.model },
        { key: "split", title: "split", value: (row) => row.split, cell: (row) => row.split },
        { key: "epoch", title: "epochs", numeric: true, value: (row) => row.epoch, cell: (row) => number(row.epoch) },
        ...Object.entries(QUANTITIES).map(([name, title]) => ({ key: name, title, numeric: true, value: (row) => row[name], cell: (row) => number(row[name]) })),
      ],
    });
    const columns = Object.keys(last[0]);
    return figure.make({ title: "After the last epoch", name: "variants", wide: true, body: grid.element, rows: () => [columns, ...last.map((row) => columns.map((name) => row[name]))] });
  }

  async function render(core) {
    if (!core.has_comparison) throw new Error("This run is of no comparison: biosae compare.");
    const { rows } = await biosae.load("comparison");
    const split = SPLITS.find((name) => rows.some((row) => row.split === name));
    const models = new Set(rows.map((row) => row.model));
    return el("div", null,
      el("h1", null, "Variants"),
      el("p", { class: "lead" }, `${plural(models.size, "variant")} trained on the same activations in the same order. A loss means what its variant says; NMSE and FVU compare across variants.`),
      el("div", { class: "grid" }, ends(rows), Object.keys(QUANTITIES).map((name) => curves(rows, split, name))));
  }

  return { render, title: () => "Variants" };
})();
