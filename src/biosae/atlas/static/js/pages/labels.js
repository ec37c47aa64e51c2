// Labels: the classes of every label column, and for one class the features that mark it best.
"use strict";

const labelsPage = (() => {
  const { el, link, route, number, fixed, percent, words } = dom;
  const METRICS = ["auroc_select", "auroc", "average_precision", "f1"];
  const TITLES = { auroc_select: "AUROC on select", auroc: "AUROC on test", average_precision: "average precision", f1: "F1" };

  function index(core) {
    return el("div", null, el("h1", null, "Labels"), el("p", { class: "lead" }, "What the samples are annotated with. Choose a class to see which features mark it, and how sure that is."),
      el("div", { class: "grid" }, core.labels.map(({ key, classes, n_test }) => {
        const summary = core.overview.labels.find((label) => label.key === key && label.best.length);
        const drawn = new Set(summary?.best.map((row) => row.class));
        const others = classes.map((name, c) => ({ name, n: n_test[c] })).filter(({ name }) => !drawn.has(name));
        return [
          summary && overviewPage.best(summary, core.features.names),
          others.length > 0 && el("section", { class: "card" }, el("div", { class: "head" }, el("h2", null, drawn.size ? `Others of ${words(key)}` : words(key))),
            el("div", { class: "cloud" }, others.map(({ name, n }) => link(route("label", key, name), [name, el("small", null, number(n))]))),
            el("p", { class: "note" }, "Beside each class: its number of test samples.")),
        ];
      })));
  }

  function curve(points, name, feature) {
    if (!points) return null;
    return figure.make({
      title: `Precision and recall of feature ${feature}`, name: `curve-${name}`,
      draw: (width) => charts.curves(width, { series: [{ x: points.recall, y: points.precision }], xTitle: "recall", yTitle: "precision", domainX: [0, 1], domainY: [0, 1.02], rules: [{ y: points.base_rate, text: `base rate ${percent(points.base_rate)}` }], height: 300 }),
      rows: () => [["recall", "precision"], ...points.recall.map((r, k) => [r, points.precision[k]])],
      note: "The feature that ranks first on the select samples, drawn on the test samples.",
    });
  }

  function strongest(entry, feature, names, low, chance) {
    const rows = Array.from(feature.subarray(0, 10), (f, k) => ({ label: `${f}  ${names[f]}`, href: route("feature", f), value: entry.auroc[k], reference: chance, low: low ? entry.auroc_low[k] : NaN, high: low ? entry.auroc_high[k] : NaN }));
    return figure.make({
      title: "The ten that rank first", name: "strongest",
      draw: (width) => charts.dots(width, { rows, domain: [Math.min(0.5, ...rows.map((r) => r.value)) - 0.05, 1], xTitle: "AUROC on test samples", referenceText: chance ? "dashed: null of the best feature" : "" }),
      rows: () => [["feature", "name", "auroc"], ...rows.map((r, k) => [feature[k], names[feature[k]], r.value])],
      note: "Ranked on the select samples; the score shown is the test samples' own.",
    });
  }

  async function one(core, key, name) {
    const k = core.labels.findIndex((label) => label.key === key);
    const c = k < 0 ? -1 : core.labels[k].classes.indexOf(name);
    if (c < 0) throw new Error(`No class ${name} of ${key} in this report.`);
    const entry = (await biosae.load(`labels-${k}`)).classes[c];
    const { feature } = entry;
    const names = core.features.names;
    const best = core.overview.labels.find((label) => label.key === key)?.best.find((b) => b.class === name);
    const metrics = METRICS.filter((metric) => entry[metric]);
    const list = table.make({
      rows: Array.from(feature.keys()), open: (i) => (location.hash = route("feature", feature[i])),
      columns: [
        { key: "feature", title: "feature", numeric: true, value: (i) => feature[i], cell: (i) => link(route("feature", feature[i]), String(feature[i])) },
        { key: "name", title: "name", value: (i) => names[feature[i]], cell: (i) => el("span", { title: names[feature[i]] }, names[feature[i]]) },
        ...metrics.map((metric) => ({ key: metric, title: TITLES[metric], numeric: true, value: (i) => entry[metric][i], cell: (i) => fixed(entry[metric][i]) })),
      ],
    });
    return el("div", null,
      el("p", { class: "eyebrow" }, link("#/labels", "Labels"), ` / ${words(key)}`), el("h1", null, name),
      el("p", { class: "lead" }, `${number(core.labels[k].n_test[c])} test samples carry this label.` + (best ? ` Best feature: ${best.feature}, held-out AUROC ${fixed(best.auroc)} beside a null of ${fixed(best.null_auroc)}.` : " No feature marks it better than any other class.")),
      el("div", { class: "grid" }, strongest(entry, feature, names, Boolean(entry.auroc_low), best?.null_auroc), curve(entry.curve, name, entry.curve?.feature),
        figure.make({ title: "Features that mark it", name: `label-${key}`, wide: true, body: list.element,
          rows: () => [["feature", "name", ...metrics], ...Array.from(feature, (f, i) => [f, names[f], ...metrics.map((metric) => entry[metric][i])])] })));
  }

  const render = (core, [key, name]) => (name === undefined ? index(core) : one(core, key, name));
  return { render, title: ([, name]) => name ?? "Labels" };
})();
