// Genes: all of them to search, and for one gene the features that fire on it.
"use strict";

const genesPage = (() => {
  const { el, link, route, number, percent } = dom;
  const COLUMNS = { specificity: "fires on", share: "share of the feature", mean: "mean activation", n_tokens: "tokens" };
  const HINTS = { specificity: "share of the gene's tokens on which the feature is active", share: "share of the feature's summed activation that falls on the gene" };
  let query = "";

  function index(core) {
    const { names, identifiers } = core.genes;
    const firing = new Int32Array(names.length);
    for (const gene of core.features.top_genes) if (gene >= 0) firing[gene]++;
    const list = table.make({
      rows: [], sort: { key: "firing", ascending: false }, open: (g) => (location.hash = route("gene", identifiers[g])),
      columns: [
        { key: "name", title: core.token, value: (g) => names[g], cell: (g) => link(route("gene", identifiers[g]), names[g]) },
        { key: "identifier", title: "identifier", value: (g) => identifiers[g], cell: (g) => identifiers[g] },
        { key: "firing", title: `among the top ${core.features.n_top_genes} of`, numeric: true, value: (g) => firing[g], cell: (g) => dom.plural(firing[g], "feature") },
      ],
    });
    const update = () => {
      const word = query.toLowerCase();
      list.setRows(Array.from(names.keys()).filter((g) => names[g].toLowerCase().includes(word) || identifiers[g].toLowerCase().includes(word)));
    };
    update();
    const search = el("input", { type: "search", id: "search", placeholder: `Search a ${core.token}   ( / )`, "aria-label": `Search ${core.token}s`, value: query, oninput: (event) => ((query = event.target.value), update()) });
    return el("div", null, el("h1", null, core.token === "gene" ? "Genes" : "Residues"), el("div", { class: "controls" }, search), list.element);
  }

  async function one(core, identifier) {
    const gene = core.genes.identifiers.indexOf(identifier);
    if (gene < 0) throw new Error(`No gene ${identifier} in this report.`);
    const shard = await biosae.load(`genes-${Math.floor(gene / core.genes_per_shard)}`);
    const i = gene % core.genes_per_shard;
    const get = (name) => biosae.part(shard.offsets, shard[name], i);
    const feature = get("feature");
    const values = Object.fromEntries(Object.keys(COLUMNS).map((name) => [name, get(name)]));
    const names = core.features.names;
    const list = table.make({
      rows: Array.from(feature.keys()), sort: { key: "specificity", ascending: false }, open: (k) => (location.hash = route("feature", feature[k])),
      columns: [
        { key: "feature", title: "feature", numeric: true, value: (k) => feature[k], cell: (k) => link(route("feature", feature[k]), String(feature[k])) },
        { key: "name", title: "name", value: (k) => names[feature[k]], cell: (k) => el("span", { title: names[feature[k]] }, names[feature[k]]) },
        ...Object.entries(COLUMNS).map(([name, title]) => ({
          key: name, title, hint: HINTS[name], numeric: true, value: (k) => values[name][k], cell: (k) => (name in HINTS ? percent(values[name][k]) : number(values[name][k])),
        })),
      ],
    });
    const expressed = byExpression(core, shard, i);
    const rows = () => [["feature", "name", ...Object.keys(COLUMNS)], ...Array.from(feature, (f, k) => [f, names[f], ...Object.keys(COLUMNS).map((name) => values[name][k])])];
    return el("div", null,
      el("p", { class: "eyebrow" }, `${core.token === "gene" ? "Gene" : "Residue"} ${identifier}`), el("h1", null, core.genes.names[gene]),
      el("p", { class: "lead" }, feature.length ? `${dom.plural(feature.length, "feature")} ${feature.length === 1 ? "counts" : "count"} it among the top ${core.token === "gene" ? "tokens" : "residues"}.` : `No feature counts it among its top ${core.token === "gene" ? "tokens" : "residues"}.`, coverage(core, shard, i)),
      el("div", { class: "controls" }, el("button", { type: "button", onclick: () => figure.save(`gene-${identifier}.csv`, "text/csv", figure.csv(rows())) }, "CSV")),
      (feature.length || !expressed) && el("section", null, expressed && el("h2", null, "Features on whose tokens it is"), list.element), expressed);
  }

  // In how many cells that express it the model read it.
  function coverage(core, shard, i) {
    const [n, read] = [shard.expressed?.n_expressing[i] ?? -1, shard.expressed?.n_read[i] ?? -1];
    return n < 0 ? "" : ` The model read it in ${number(read)} of the ${number(n)} ${core.sample}s that express it.`;
  }

  // The features that fire where cells express the gene.
  function byExpression(core, shard, i) {
    if (!shard.expressed) return null;
    const get = (name) => biosae.part(shard.expressed.offsets, shard.expressed[name], i);
    const [feature, effect, within, q] = ["feature", "effect", "within", "q_value"].map(get);
    if (!feature.length) return el("p", { class: "note" }, "It is among the twenty genes that follow a feature by expression for none.");
    const names = core.features.names;
    const column = (key, title, values, hint) => ({ key, title, hint, numeric: true, value: (k) => values[k], cell: (k) => number(values[k], 2) });
    const list = table.make({
      rows: Array.from(feature.keys()), sort: { key: "effect", ascending: false }, open: (k) => (location.hash = route("feature", feature[k])),
      columns: [
        { key: "feature", title: "feature", numeric: true, value: (k) => feature[k], cell: (k) => link(route("feature", feature[k]), String(feature[k])) },
        { key: "name", title: "name", value: (k) => names[feature[k]], cell: (k) => el("span", { title: names[feature[k]] }, names[feature[k]]) },
        column("effect", "correlation", effect, "of its log expression with the activation, over test cells"),
        column("within", "within classes", within, "the same within the classes of the first label"), column("q", "q", q),
      ],
    });
    return el("section", { class: "below" }, el("h2", null, "Features that fire where it is expressed"), list.element);
  }

  const render = (core, [identifier]) => (identifier === undefined ? index(core) : one(core, identifier));
  return { render, title: ([identifier]) => identifier ?? "Genes" };
})();
