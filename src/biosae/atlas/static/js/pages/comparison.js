// What the run is compared with: variants, other runs of its experiment (layers, sparsities), simpler axes.
"use strict";

const comparisonPage = (() => {
  const { el, number, fixed, plural, words } = dom;
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
    const ended = rows.map((row) => ({ model: row.model, split: row.split, epoch: row.epochs.at(-1), ...Object.fromEntries(Object.keys(QUANTITIES).map((name) => [name, row[name]?.at(-1) ?? null])) }));
    const grid = table.make({
      rows: ended, sort: { key: "nmse", ascending: true },
      columns: [
        { key: "model", title: "variant", value: (row) => row.model, cell: (row) => row.model },
        { key: "split", title: "split", value: (row) => row.split, cell: (row) => row.split },
        { key: "epoch", title: "epochs", numeric: true, value: (row) => row.epoch, cell: (row) => number(row.epoch) },
        ...Object.entries(QUANTITIES).map(([name, title]) => ({ key: name, title, numeric: true, value: (row) => row[name], cell: (row) => number(row[name]) })),
      ],
    });
    const columns = Object.keys(ended[0]);
    return figure.make({ title: "After the last epoch", name: "variants", wide: true, body: grid.element, rows: () => [columns, ...ended.map((row) => columns.map((name) => row[name]))] });
  }

  const MEASURES = { fvu: "unexplained variance (FVU)", l0: "active features per token (L0)", dead_fraction: "share of dead features", cosine: "cosine", recovery_vs_mean: "embedding recovery beside the mean", recovery_vs_zero: "embedding recovery beside zero" };
  const last = (name) => words(name.split(".").at(-1));

  function variants(rows) {
    if (!rows) return [];
    const split = SPLITS.find((name) => rows.some((row) => row.split === name));
    const models = new Set(rows.map((row) => row.model));
    return [
      heading("Variants", `${plural(models.size, "variant")} trained on the same activations in the same order. A loss means what its variant says; NMSE and FVU compare across variants.`),
      ends(rows), Object.keys(QUANTITIES).map((name) => curves(rows, split, name)),
    ];
  }

  const heading = (title, text) => el("div", { class: "wide" }, el("h2", { class: "section" }, title), el("p", { class: "quiet" }, text));

  // A measure of every run against a setting that is a number, such as the layer: a line a value of the other settings.
  function against(sweep, setting) {
    const others = sweep.settings.filter((name) => name !== setting);
    const rows = sweep.rows.filter((row) => row[setting] !== null);
    const values = [...new Set(rows.map((row) => row[setting]))].sort((a, b) => a - b);
    const group = (row) => others.filter((name) => row[name] !== null).map((name) => (typeof row[name] === "number" ? `${last(name)} ${number(row[name])}` : row[name])).join(", ");
    const groups = [...new Set(rows.map(group))];
    if (values.length < 2 || groups.length > COLOURS.length) return null;
    return steeringPage.chosen(Object.fromEntries(Object.entries(MEASURES).filter(([name]) => sweep.measures.includes(name))), "Measure", (measure) => {
      const point = (row) => ({ level: values.indexOf(row[setting]), value: row[measure], title: `${row.run}: ${number(row[measure])}` });
      const series = groups.map((name, i) => ({ name: name || "runs", class: COLOURS[i], points: rows.filter((row) => group(row) === name && row[measure] !== null).sort((a, b) => a[setting] - b[setting]).map(point) }));
      return {
        title: `By ${last(setting)}`, name: `runs-by-${last(setting)}-${measure}`,
        draw: (width) => charts.levels(width, { levels: values.map((value) => number(value)), series, rules: [], xTitle: last(setting), yTitle: MEASURES[measure], height: 280, spread: 0 }),
        rows: () => [["run", ...sweep.settings, measure], ...rows.map((row) => ["run", ...sweep.settings, measure].map((name) => row[name]))],
        note: "Held-out tokens.",
      };
    });
  }

  function runs(sweep) {
    if (!sweep) return [];
    const { settings, measures, rows, mine } = sweep;
    const cell = (value) => (typeof value === "number" ? number(value) : value ?? "–");
    const list = table.make({
      rows, height: "420px",
      columns: [
        { key: "run", title: "run", value: (row) => row.run, cell: (row) => el("span", { title: row.run, class: row.run === mine ? "mine" : null }, row.run === mine ? `${row.run} (this)` : row.run) },
        ...[...settings, ...measures].map((name) => ({ key: name, title: MEASURES[name] ? words(name) : last(name), hint: MEASURES[name] ?? name, numeric: rows.some((row) => typeof row[name] === "number"), value: (row) => row[name], cell: (row) => el("span", { title: String(row[name] ?? "") }, cell(row[name])) })),
      ],
    });
    const numeric = settings.filter((name) => rows.every((row) => row[name] === null || typeof row[name] === "number"));
    const first = numeric.sort((a, b) => /layer$/.test(b) - /layer$/.test(a));
    return [
      heading("Runs of this experiment", `${plural(rows.length, "run")} that differ in ${settings.map(last).join(", ") || "nothing but their start"}. Reconstruction compares at one L0 and one layer.`),
      figure.make({ title: "Held-out numbers", name: "runs", wide: true, body: list.element, rows: () => [["run", ...settings, ...measures], ...rows.map((row) => ["run", ...settings, ...measures].map((name) => row[name]))] }),
      first.map((setting) => against(sweep, setting)),
    ];
  }

  function controls(rows) {
    if (!rows) return [];
    const own = rows[0].axes;
    const labels = [...new Set(rows.map((row) => row.label))];
    return [
      heading("Simpler axes", "The same tokens read along other axes, as sparse as the SAE, with the same splits and nulls. An axis set that recovers as many classes needs no SAE."),
      labels.map((label) => {
        const mine = rows.filter((row) => row.label === label).sort((a, b) => b.above_null - a.above_null);
        const dots = mine.map((row) => ({
          label: `${row.axes} (${number(row.n_axes)})`, value: row.auroc, reference: row.null_auroc, strong: row.axes === own,
          note: `${row.axes}: ${number(row.n_recovered)} of ${number(row.n_concepts)} classes recovered, ${number(row.expected_by_chance, 2)} by chance; mean AUROC ${fixed(row.auroc)}, null ${fixed(row.null_auroc)}`,
        }));
        const values = mine.flatMap((row) => [row.auroc, row.null_auroc]).filter((value) => value !== null);
        const columns = Object.keys(mine[0]);
        const list = table.make({
          rows: mine.slice(), height: "420px",
          columns: [
            { key: "axes", title: "axes", value: (row) => row.axes, cell: (row) => el("span", { class: row.axes === own ? "mine" : null, title: row.axes }, row.axes) },
            { key: "recovered", title: "recovered", hint: "classes with a best axis below 0.05 on test", numeric: true, value: (row) => row.n_recovered, cell: (row) => `${number(row.n_recovered)} of ${number(row.n_concepts)}` },
            { key: "chance", title: "by chance", numeric: true, value: (row) => row.expected_by_chance, cell: (row) => number(row.expected_by_chance, 2) },
            { key: "above", title: "above null", hint: "mean AUROC minus its null", numeric: true, value: (row) => row.above_null, cell: (row) => fixed(row.above_null) },
            { key: "l0", title: "L0", hint: "active axes of a token", numeric: true, value: (row) => row.l0, cell: (row) => number(row.l0) },
          ],
        });
        return [
          figure.make({
            title: `How well axes tell apart: ${words(label)}`, name: `controls-${label}`,
            draw: (width) => charts.dots(width, { rows: dots, domain: [Math.floor(Math.min(0.5, ...values) * 10) / 10, 1], xTitle: "mean AUROC on test samples", referenceText: "dashed: null" }),
            rows: () => [columns, ...mine.map((row) => columns.map((name) => row[name]))],
            note: "Mean over the classes of the best axis of each. Dashed: the best of all axes under permuted labels. In brackets: number of axes.",
          }),
          figure.make({ title: `Classes recovered, ${words(label)}`, name: `controls-table-${label}`, body: list.element, rows: () => [columns, ...mine.map((row) => columns.map((name) => row[name]))] }),
        ];
      }),
    ];
  }

  async function render(core) {
    if (!core.has.comparison) throw new Error("This run was compared with nothing: biosae compare, biosae sweep, or biosae analyze analysis.controls=true.");
    const content = await biosae.load("comparison");
    return el("div", null, el("h1", null, "Comparison"), el("div", { class: "grid" }, controls(content.controls), runs(content.sweep), variants(content.variants)));
  }

  return { render, title: () => "Comparison" };
})();
