// Which features other runs find again.
"use strict";

const stabilityPage = (() => {
  const { el, link, route, number, fixed, plural } = dom;
  const N_BINS = 40;

  const column = (core, metric) => core.features.columns.find((c) => c.analysis === "stability" && c.metric === metric);
  const has = (core) => column(core, "cosine") !== undefined;

  function values(core, metric) {
    const found = column(core, metric);
    return found ? Array.from({ length: core.features.n }, (_, f) => featuresPage.value(found, f)) : null;
  }

  function histogram(cosines, chance) {
    const edges = Array.from({ length: N_BINS + 1 }, (_, i) => i / N_BINS);
    const counts = new Array(N_BINS).fill(0);
    for (const value of cosines) if (!Number.isNaN(value)) counts[Math.max(0, Math.min(N_BINS - 1, Math.floor(value * N_BINS)))]++;
    return figure.make({
      title: "How alike the directions of partners are", name: "stability", wide: true,
      draw: (width) => charts.histogram(width, { edges, counts, xTitle: "mean cosine with the partner in other runs", yTitle: "features" }),
      rows: () => [["from", "to", "features"], ...counts.map((count, i) => [edges[i], edges[i + 1], count])],
      note: `${chance === undefined ? "" : `Partners with random directions: mean cosine ${fixed(chance)}. `}The height follows the square root of the count.`,
    });
  }

  function list(core, all) {
    const columns = ["cosine", "correlation", "comes_back"];
    const shown = { cosine: "cosine", correlation: "correlation of codes", comes_back: "share of runs it comes back in" };
    const grid = table.make({
      rows: Array.from({ length: core.features.n }, (_, f) => f), sort: { key: "comes_back", ascending: false }, open: (f) => (location.hash = route("feature", f)),
      columns: [
        { key: "feature", title: "feature", numeric: true, value: (f) => f, cell: (f) => link(route("feature", f), String(f)) },
        { key: "name", title: "name", value: (f) => core.features.names[f], cell: (f) => core.features.names[f] },
        ...columns.filter((name) => all[name]).map((name) => ({ key: name, title: shown[name], numeric: true, value: (f) => all[name][f], cell: (f) => fixed(all[name][f]) })),
      ],
    });
    return figure.make({
      title: "Features", name: "stability-features", wide: true, body: grid.element,
      rows: () => [["feature", ...columns], ...Array.from({ length: core.features.n }, (_, f) => [f, ...columns.map((name) => all[name]?.[f])])],
    });
  }

  function render(core) {
    if (!has(core)) throw new Error("This run was not compared with others: biosae stability.");
    const all = Object.fromEntries(["cosine", "correlation", "comes_back", "n_runs"].map((name) => [name, values(core, name)]));
    const summary = core.overview.stability ?? {};
    const often = all.comes_back.filter((share) => share >= 0.8).length;
    const runs = Math.max(...(all.n_runs ?? [0]).filter((n) => !Number.isNaN(n)));
    return el("div", null,
      el("h1", null, "Stability"),
      el("p", { class: "lead" }, `${number(often)} of ${plural(core.features.n, "feature")} come back in at least four of five runs (compared with ${plural(runs, "run")}): a partner whose direction and whose codes both agree at 0.7 or more.`),
      el("div", { class: "grid" }, histogram(all.cosine, summary.chance_cosine), list(core, all)));
  }

  return { render, has, title: () => "Stability" };
})();
