// The list of all features: search by name, gene or class, filter and sort by any score.
"use strict";

const featuresPage = (() => {
  const { el, link, route, number } = dom;
  const state = { query: "", kind: "", named: false, column: "", low: "", sort: null };
  const PREFERRED = [["density", "frequency_token"]];
  const LABEL = ["class", "auroc", "null_auroc", "above_null", "q_value"];
  const TITLES = { frequency_token: "fires on", auroc: "AUROC", null_auroc: "null", above_null: "above null", q_value: "q", class: "marks" };
  const HINTS = {
    frequency_token: "share of tokens where the feature is active", auroc: "on the test samples, for the class chosen on the select samples",
    null_auroc: "95th percentile of the best AUROC under permuted labels", above_null: "AUROC minus its null; a rare class has a high null", q_value: "Benjamini-Hochberg over all features and classes",
    kind: "dead, rare, normal or dense",
  };

  const titleOf = ({ analysis, metric }) => `${dom.words(analysis.replace(":", " "))}: ${dom.words(metric)}`;
  const id = (column) => `${column.analysis}/${column.metric}`;

  function value(column, feature) {
    const entry = column.values[feature];
    return column.kind === "number" ? entry : entry < 0 ? "" : column.categories[entry];
  }

  function preferred(core) {
    const keys = core.labels.slice(0, 1).flatMap(({ key }) => LABEL.map((metric) => [`label:${key}`, metric]));
    return [...keys, ...PREFERRED].map((pair) => core.features.columns.find((c) => c.analysis === pair[0] && c.metric === pair[1])).filter(Boolean);
  }

  const isUnnamed = (name) => name === "unnamed" || name === "unexplained";

  function topGenes(core, feature, n, all = core.features.top_genes) {
    const first = feature * core.features.n_top_genes;
    return Array.from(all.subarray(first, first + n)).filter((gene) => gene >= 0);
  }

  function format(metric) {
    if (/auroc|ami|f1|margin|above|correlation/.test(metric)) return (v) => dom.fixed(v);
    if (/frequency|share/.test(metric)) return dom.percent;
    return (v) => number(v, 2);
  }

  function scoreColumn(column) {
    const numeric = column.kind === "number";
    const show = (feature) => (numeric ? format(column.metric)(value(column, feature)) : value(column, feature));
    const title = TITLES[column.metric] ?? column.metric.replaceAll("_", " ");
    return { key: id(column), title, hint: `${column.analysis}: ${HINTS[column.metric] ?? column.metric}`, numeric, value: (f) => value(column, f), cell: show };
  }

  function tableColumns(core, scores) {
    const { names } = core.features;
    const geneNames = core.genes.names;
    const genes = (feature) => topGenes(core, feature, 4).map((gene) => geneNames[gene]).join(", ");
    const expressed = (feature) => topGenes(core, feature, 4, core.features.expressed).map((gene) => geneNames[gene]).join(", ");
    const column = (key, title, of) => ({ key, title, value: of, cell: (f) => el("span", { title: of(f) }, of(f)) });
    return [
      { key: "feature", title: "feature", numeric: true, value: (f) => f, cell: (f) => link(route("feature", f), String(f)) },
      { key: "name", title: "name", value: (f) => (isUnnamed(names[f]) ? "" : names[f]), cell: (f) => el("span", { class: isUnnamed(names[f]) ? "unnamed" : null, title: names[f] }, names[f]) },
      ...(core.features.expressed ? [column("expressed", "expressed where it fires", expressed)] : []),
      ...(core.genes.names.length ? [column("genes", core.token === "gene" ? "tokens it reads" : `top ${core.token}s`, genes)] : []),
      ...scores.map(scoreColumn),
    ];
  }

  // Features whose name, class, number or one of the top genes contains the words of the query.
  function matcher(core, query) {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    const texts = core.features.columns.filter((column) => column.kind === "text");
    const lists = [core.features.top_genes, core.features.expressed].filter(Boolean);
    const n = core.features.n_top_genes;
    const tests = words.map((word) => {
      const has = (text) => text.toLowerCase().includes(word);
      const genes = Uint8Array.from(core.genes.names, (name) => name.toLowerCase().startsWith(word));
      const fires = (f) => {
        for (const top of lists) for (let k = f * n; k < (f + 1) * n; k++) if (top[k] >= 0 && genes[top[k]]) return true;
        return false;
      };
      const categories = texts.map((column) => new Set(column.categories.flatMap((name, i) => (has(name) ? [i] : []))));
      return (f) => String(f) === word || has(core.features.names[f]) || texts.some((column, t) => categories[t].has(column.values[f])) || fires(f);
    });
    return (f) => tests.every((test) => test(f));
  }

  function filtered(core) {
    const match = matcher(core, state.query);
    const kind = core.features.columns.find((column) => column.metric === "kind");
    const bound = core.features.columns.find((column) => id(column) === state.column);
    const low = parseFloat(state.low);
    const rows = [];
    for (let f = 0; f < core.features.n; f++) {
      if (state.kind && kind && value(kind, f) !== state.kind) continue;
      if (state.named && isUnnamed(core.features.names[f])) continue;
      if (bound && !Number.isNaN(low) && !(value(bound, f) >= low)) continue;
      if (match(f)) rows.push(f);
    }
    return rows;
  }

  function controls(core, update) {
    const { columns } = core.features;
    const kind = columns.find((column) => column.metric === "kind");
    const set = (key) => (event) => {
      state[key] = event.target.type === "checkbox" ? event.target.checked : event.target.value;
      update();
    };
    const option = (text, name, chosen) => el("option", { value: name, selected: name === chosen }, text);
    return [
      el("input", { type: "search", id: "search", placeholder: `Search ${core.token}, class, number   ( / )`, "aria-label": "Search features", value: state.query, oninput: set("query") }),
      kind && el("select", { "aria-label": "Kind of feature", onchange: set("kind") }, option("any frequency", "", state.kind), kind.categories.map((name) => option(name, name, state.kind))),
      el("label", null, el("input", { type: "checkbox", checked: state.named, onchange: set("named") }), "named only"),
      el("label", null, el("select", { "aria-label": "Score to filter by", onchange: set("column") }, option("any score", "", state.column),
        columns.filter((column) => column.kind === "number").map((column) => option(titleOf(column), id(column), state.column))), "≥",
        el("input", { type: "number", step: "any", "aria-label": "Least value", value: state.low, oninput: set("low") })),
    ];
  }

  function render(core) {
    let scores = preferred(core);
    const above = scores.find((column) => column.metric === "above_null");
    state.sort ??= above ? { key: id(above), ascending: false } : { key: "feature", ascending: true };
    const count = el("span", { class: "count", "aria-live": "polite" });
    const list = table.make({
      columns: tableColumns(core, scores), rows: [], sort: state.sort, onsort: (sort) => (state.sort = sort),
      open: (feature) => (location.hash = route("feature", feature)),
    });
    const update = () => {
      const rows = filtered(core);
      count.textContent = `${number(rows.length)} of ${number(core.features.n)}${found(core)}`;
      list.setRows(rows);
    };
    const more = el("select", { "aria-label": "Add a column", onchange: (event) => {
      const column = core.features.columns.find((c) => id(c) === event.target.value);
      if (column && !scores.includes(column)) list.setColumns(tableColumns(core, (scores = [...scores, column])));
      event.target.value = "";
    } }, el("option", { value: "" }, "add column"), core.features.columns.map((column) => el("option", { value: id(column) }, titleOf(column))));
    const all = () => [["feature", "name", ...core.features.columns.map(id)], ...list.rows().map((f) => [f, core.features.names[f], ...core.features.columns.map((c) => value(c, f))])];
    const download = el("button", { type: "button", onclick: () => figure.save("features.csv", "text/csv", figure.csv(all())) }, "CSV");
    update();
    return el("div", { id: "features" }, el("h1", null, "Features"), el("div", { class: "controls" }, controls(core, update), more, download, count), list.element);
  }

  // Where a gene was found, when the query is one: the two lists are not one.
  function found(core) {
    const gene = core.genes.names.findIndex((name) => name.toLowerCase() === state.query.trim().toLowerCase());
    if (gene < 0 || !core.features.expressed) return "";
    const n = core.features.n_top_genes;
    const count = (list) => Array.from({ length: core.features.n }, (_, f) => list.subarray(f * n, (f + 1) * n).includes(gene)).filter(Boolean).length;
    return ` · ${core.genes.names[gene]}: among the first tokens of ${number(count(core.features.top_genes))}, among the first expressed genes of ${number(count(core.features.expressed))}`;
  }

  return { render, title: () => "Features", value, topGenes, isUnnamed };
})();
