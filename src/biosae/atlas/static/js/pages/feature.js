// One feature: where it fires, on which genes, which class it marks and how sure that is.
"use strict";

const featurePage = (() => {
  const { el, link, route, number, fixed, percent, words } = dom;
  const { part } = biosae;
  const N_GENES = 15;
  const [GAP, LINE] = [18, 6]; // px between figures, and of a line of the grid, as in style.css

  // The matrices of one label column hold a row a feature; this is the row of one metric.
  const row = (matrix, i, n) => (matrix ? matrix.subarray(i * n, (i + 1) * n) : null);

  function score(core, analysis, metric, feature) {
    const column = core.features.columns.find((c) => c.analysis === analysis && c.metric === metric);
    return column ? featuresPage.value(column, feature) : undefined;
  }

  // How many of the runs that stability compared have the feature too.
  function foundAgain(core, feature) {
    const [n, share] = [score(core, "stability", "n_runs", feature), score(core, "stability", "comes_back", feature)];
    return n > 0 && !Number.isNaN(share) ? ` Found again in ${number(Math.round(n * share))} of ${dom.plural(n, "other run")}.` : "";
  }

  function header(core, feature) {
    const { names, reasons, n } = core.features;
    const name = names[feature];
    const pager = [[feature - 1, "←", "Previous feature"], [feature + 1, "→", "Next feature"]]
      .filter(([to]) => to >= 0 && to < n).map(([to, text, label]) => link(route("feature", to), text, { "aria-label": label, rel: text === "←" ? "prev" : "next" }));
    return el("div", { class: "title-line" },
      el("div", null, el("p", { class: "eyebrow" }, `Feature ${feature}`), el("h1", { class: featuresPage.isUnnamed(name) ? "unnamed" : null }, name), el("p", { class: "lead" }, reasons[feature], foundAgain(core, feature))),
      el("div", { class: "pager" }, pager));
  }

  function summary(core, feature) {
    const entries = [
      ["Fires on", percent(score(core, "density", "frequency_token", feature) ?? null), "of tokens"],
      ["Seen in", percent(score(core, "density", "frequency_sample", feature) ?? null), `of ${core.sample}s`],
      ["Mean when active", number(score(core, "density", "mean_active", feature)), `largest ${number(core.features.max_code[feature])}`],
      [core.token === "gene" ? "Genes" : "Residues", number(score(core, "genes", "effective_genes", feature)), "effective number, by share of activation"],
      [`${core.token === "gene" ? "Gene" : "Residue"} identity`, percent(score(core, "expression", "gene_identity_share", feature) ?? NaN), `of its variance is which ${core.token} it reads`],
    ].filter(([, value]) => value !== "–");
    return overviewPage.grid(entries.map(([title, value, note]) => el("div", null, el("dt", null, title), el("dd", null, value, el("small", null, note)))));
  }

  function map(core, cells, shard, i, feature) {
    if (!cells.map || !shard.cells) return null;
    const shown = cells.map.sample;
    const levels = cellmap.levelsOf(shard.cells, i, shown.length);
    const top = core.features.max_code[feature];
    const code = (cell) => (levels[cell] / 255) * top;
    const tags = (cell) => cells.columns.map((column) => column.categories[column.values[shown[cell]]] ?? "–");
    const describe = (cell) => [cells.names[shown[cell]], ...tags(cell), `activation ${number(code(cell), 2)}`].join("\n");
    const activation = cellmap.stretched(levels);
    const view = cellmap.make({ map: cells.map, paint: activation, describe });
    const holder = el("div", null, view.element, cellmap.legend(activation, [], top));
    const repaint = (event) => {
      const column = cells.columns[event.target.value];
      const paint = column ? { category: Uint8Array.from(shown, (sample) => column.values[sample]), names: column.categories } : activation;
      view.repaint(paint);
      holder.lastChild.replaceWith(cellmap.legend(paint, column?.categories, top));
    };
    const choice = el("select", { "aria-label": "Colour the map by", onchange: repaint }, el("option", { value: "" }, "activation"), cells.columns.map((column, k) => el("option", { value: k }, words(column.name))));
    return figure.make({
      title: `Where it fires`, name: `feature-${feature}-map`, body: holder, svgText: view.svgText, tools: choice,
      rows: () => [[core.sample, "x", "y", "activation", ...cells.columns.map((c) => c.name)], ...Array.from(shown, (s, c) => [cells.names[s], cells.map.x[c], cells.map.y[c], code(c), ...tags(c)])],
      note: `${cells.map.method}; ${number(shown.length)} of ${number(cells.names.length)} ${core.sample}s. Colour: the largest activation over the ${core.sample}'s tokens.`,
    });
  }

  function labels(core, shard, i, feature) {
    return (shard.labels ?? []).map((matrices, k) => {
      const { key, classes, n_test } = core.labels[k];
      const get = (metric) => row(matrices[metric], i, classes.length);
      const [auroc, low, high] = ["auroc", "auroc_low", "auroc_high"].map(get);
      const marked = score(core, `label:${key}`, "class", feature);
      const own = (metric) => score(core, `label:${key}`, metric, feature);
      const rows = classes.map((name, c) => ({
        label: name, title: `${name}, ${n_test[c]} test samples`, href: route("label", key, name), value: auroc[c], strong: name === marked,
        low: low ? low[c] : name === marked ? own("auroc_low") : NaN, high: high ? high[c] : name === marked ? own("auroc_high") : NaN,
        note: `${name}: held-out AUROC ${fixed(auroc[c], 3)}, ${n_test[c]} positive test samples`,
      }));
      if (!rows.some((r) => !Number.isNaN(r.value))) return null;
      const chance = own("null_auroc");
      return figure.make({
        title: `How well it tells apart: ${words(key)}`, name: `feature-${feature}-${key}`,
        draw: (width) => charts.dots(width, { rows, domain: [0, 1], xTitle: "AUROC on test samples (0.5 is chance)", reference: chance, referenceText: chance === undefined || Number.isNaN(chance) ? "" : `null ${fixed(chance)}` }),
        rows: () => [["class", "n_positive_test", "auroc_select", "auroc", "auroc_low", "auroc_high", "average_precision", "f1"],
          ...classes.map((name, c) => [name, n_test[c], get("auroc_select")?.[c], auroc[c], rows[c].low, rows[c].high, get("average_precision")?.[c], get("f1")?.[c]])],
        note: marked ? `Large dot: ${marked}, chosen on the select samples${Number.isNaN(own("q_value") ?? NaN) ? "" : `; q = ${number(own("q_value"), 2)}`}. Bar: 95 % interval.` : "No class was chosen on the select samples.",
      });
    });
  }

  function histogram(core, shard, i, feature) {
    if (!shard.histogram) return null;
    const counts = row(shard.histogram, i, shard.n_bins);
    const top = core.features.max_code[feature];
    if (!(top > 0)) return null;
    const edges = Array.from({ length: counts.length + 1 }, (_, b) => (top * b) / counts.length);
    return figure.make({
      title: "How strongly it fires", name: `feature-${feature}-histogram`,
      draw: (width) => charts.histogram(width, { edges, counts, xTitle: "activation", yTitle: "tokens" }),
      rows: () => [["from", "to", "tokens"], ...Array.from(counts, (count, b) => [edges[b], edges[b + 1], count])],
      note: "Tokens where the feature is active; the height follows the square root of the count.",
    });
  }

  function genes(core, shard, i, feature) {
    if (!shard.genes) return null;
    const get = (name) => part(shard.genes.offsets, shard.genes[name], i);
    const [gene, share, specificity, mean, tokens] = ["gene", "share", "specificity", "mean", "n_tokens"].map(get);
    if (!gene.length) return null;
    const { names, identifiers } = core.genes;
    const rows = Array.from(gene.subarray(0, N_GENES), (g, k) => ({
      label: names[g], title: `${names[g]}: active on ${percent(specificity[k])} of its tokens`, value: share[k], text: percent(share[k]), href: route("gene", identifiers[g]),
    }));
    return figure.make({
      title: core.token === "gene" ? "Tokens it reads" : `Top ${core.token}s`, name: `feature-${feature}-genes`,
      draw: (width) => charts.bars(width, { rows, xTitle: "share of the feature's summed activation" }),
      rows: () => [["gene", "identifier", "share", "specificity", "mean", "n_tokens"], ...Array.from(gene, (g, k) => [names[g], identifiers[g], share[k], specificity[k], mean[k], tokens[k]])],
      note: core.features.expressed && "The genes on whose tokens it fires. What a model does not read of a cell is not here.",
    });
  }

  // Genes of the cells in which it fires, read by the model or not.
  function expressed(core, shard, i, feature) {
    if (!shard.expressed) return null;
    const get = (name) => part(shard.expressed.offsets, shard.expressed[name], i);
    const [gene, effect, within, q] = ["gene", "effect", "within", "q_value"].map(get);
    if (!gene.length) return null;
    const { names, identifiers } = core.genes;
    const label = core.expressed?.label;
    const left = (k) => (Number.isNaN(within[k]) ? "" : `, ${fixed(within[k])} within`);
    const rows = Array.from(gene.subarray(0, N_GENES), (g, k) => ({
      label: names[g], title: `${names[g]}: correlation ${fixed(effect[k])}${left(k)}, q ${number(q[k], 2)}`, value: Math.max(0, effect[k]), text: fixed(effect[k]), href: route("gene", identifiers[g]),
    }));
    const mean = score(core, "expressed", "null_effect", feature);
    const byChance = mean === undefined || Number.isNaN(mean) ? "" : ` With shuffled codes the first ten have a mean of ${fixed(mean)}.`;
    const known = Array.from(within.subarray(0, N_GENES)).filter((v) => !Number.isNaN(v));
    const inside = known.length && label ? ` Within the classes of ${words(label)} their mean is ${fixed(known.reduce((a, b) => a + b, 0) / known.length)}.` : "";
    return figure.make({
      title: "Expressed where it fires", name: `feature-${feature}-expressed`,
      draw: (width) => charts.bars(width, { rows, domain: [0, Math.max(0.1, ...rows.map((row) => row.value))], xTitle: "correlation of expression with activation" }),
      rows: () => [["gene", "identifier", "effect", "effect_within_class", "q_value"], ...Array.from(gene, (g, k) => [names[g], identifiers[g], effect[k], within[k], q[k]])],
      note: `Log expression over test cells, of all genes of the data; ranked on train and select cells.${byChance}${inside}`,
    });
  }

  const setWords = ({ kind, terms }) => (kind === "set" && terms.startsWith("HALLMARK_") ? `${terms.slice(9).replaceAll("_", " ").toLowerCase()} genes` : terms.replaceAll(";", ", "));

  // What else was tried, so that the name can be judged.
  function tried(core, shard, i, feature) {
    const all = shard.tried?.[i] ?? [];
    if (!all.length) return null;
    const own = (metric) => score(core, "explanation", metric, feature);
    const isChosen = (row) => row.kind === own("kind") && row.terms === own("terms");
    const ordered = [...all.filter(isChosen), ...all.filter((row) => !isChosen(row))];
    const list = table.make({
      rows: Array.from(ordered.keys()), height: "260px",
      columns: [
        { key: "terms", title: "says", value: (k) => ordered[k].terms, cell: (k) => el(isChosen(ordered[k]) ? "strong" : "span", { title: ordered[k].terms }, setWords(ordered[k])) },
        { key: "kind", title: "kind", value: (k) => ordered[k].kind, cell: (k) => ordered[k].kind },
        { key: "fidelity", title: "explains", hint: "share of the activity in test samples", numeric: true, value: (k) => ordered[k].fidelity, cell: (k) => percent(Math.max(0, ordered[k].fidelity)) },
      ],
    });
    const names = ["kind", "label", "terms", "fidelity_select", "fidelity"];
    const unit = core.overview.explanations?.unit === "residue" ? "single residues" : `the pooled code, the largest of a ${core.sample}'s tokens, as the map and the top ${core.sample}s show it`;
    return figure.make({
      title: "Why this name", name: `feature-${feature}-explanations`, body: list.element,
      rows: () => [names, ...ordered.map((row) => names.map((name) => row[name]))],
      note: `Bold: the simplest that predicts the select samples within one standard error of the best. "Explains": share of the held-out activity of ${unit}. Shuffled codes: ${percent(Math.max(0, own("null_fidelity") || 0))}.`,
    });
  }

  function expression(core, shard, i, feature) {
    if (!shard.tokens) return null;
    const get = (name) => part(shard.tokens.offsets, shard.tokens[name], i);
    const [gene, value, code] = ["gene", "value", "code"].map(get);
    if (code.length < 3 || value.every((v) => v === value[0])) return null; // residues have no input value
    const name = (g) => core.genes.names[g] ?? "–";
    return figure.make({
      title: "Expression against activation", name: `feature-${feature}-expression`,
      draw: (width) => charts.points(width, { x: value, y: code, xTitle: "input value of the token", yTitle: "activation", titles: Array.from(gene, (g, k) => `${name(g)}: ${number(value[k])}, activation ${number(code[k])}`) }),
      rows: () => [["gene", "value", "activation"], ...Array.from(gene, (g, k) => [name(g), value[k], code[k]])],
      note: `${number(code.length)} tokens at even steps through the sorted activations. A flat cloud: it reads which ${core.token}, not how much of it.`,
    });
  }

  function topCells(core, cells, shard, i, feature) {
    const sample = part(shard.top_cells.offsets, shard.top_cells.sample, i);
    const code = part(shard.top_cells.offsets, shard.top_cells.code, i);
    if (!sample.length) return null;
    const tag = (column, k) => column.categories[column.values[sample[k]]] ?? "–";
    const list = table.make({
      rows: Array.from(sample.keys()), height: "340px",
      columns: [
        { key: "cell", title: core.sample, value: (k) => cells.names[sample[k]], cell: (k) => el("span", { title: cells.names[sample[k]] }, cells.names[sample[k]]) },
        { key: "code", title: "activation", numeric: true, value: (k) => code[k], cell: (k) => number(code[k]) },
        ...cells.columns.map((column) => ({ key: column.name, title: words(column.name), value: (k) => tag(column, k), cell: (k) => el("span", { title: tag(column, k) }, tag(column, k)) })),
      ],
    });
    return figure.make({
      title: `Top ${core.sample}s`, name: `feature-${feature}-${core.sample}s`, body: list.element,
      rows: () => [[core.sample, "activation", ...cells.columns.map((c) => c.name)], ...Array.from(sample, (s, k) => [cells.names[s], code[k], ...cells.columns.map((c) => tag(c, k))])],
    });
  }

  function neighbours(core, shard, i, feature) {
    if (!shard.neighbours) return null;
    const { n } = shard.neighbours;
    const near = row(shard.neighbours.feature, i, n);
    const cosine = row(shard.neighbours.cosine, i, n);
    const rows = Array.from(near, (f, k) => ({ label: `${f}  ${core.features.names[f]}`, href: route("feature", f), value: Math.max(0, cosine[k]), text: fixed(cosine[k]) }));
    return figure.make({
      title: "Nearest decoder directions", name: `feature-${feature}-neighbours`,
      draw: (width) => charts.bars(width, { rows, domain: [0, 1], xTitle: "cosine" }),
      rows: () => [["feature", "name", "cosine"], ...Array.from(near, (f, k) => [f, core.features.names[f], cosine[k]])],
    });
  }

  function enrichment(core, shard, i, feature) {
    if (!shard.enrichment) return null;
    const sets = shard.enrichment[i];
    const { matched_share } = core.overview.enrichment ?? {};
    const note = matched_share === undefined ? "" : ` Of random lists matched in size and popularity, ${percent(matched_share)} have any.`;
    if (!sets.length) return el("section", { class: "card" }, el("h2", null, "Gene sets"), el("p", { class: "note" }, `No gene set is enriched at q ≤ 0.05.${note}`));
    const names = Object.keys(sets[0]);
    const list = table.make({
      rows: Array.from(sets.keys()), height: "320px",
      columns: [
        { key: "set", title: "set", value: (k) => sets[k].set, cell: (k) => el("span", { title: `${sets[k].source}: ${sets[k].genes}` }, sets[k].set) },
        { key: "overlap", title: "genes", numeric: true, value: (k) => sets[k].overlap, cell: (k) => `${sets[k].overlap} of ${sets[k].set_size}` },
        { key: "fold", title: "fold", numeric: true, value: (k) => sets[k].fold, cell: (k) => number(sets[k].fold, 2) },
        { key: "q_value", title: "q", numeric: true, value: (k) => sets[k].q_value, cell: (k) => number(sets[k].q_value, 2) },
      ],
    });
    return figure.make({
      title: "Gene sets", name: `feature-${feature}-sets`, body: list.element,
      rows: () => [names, ...sets.map((row) => names.map((name) => row[name]))],
      note: `Corrected over all features and sets.${note}`,
    });
  }

  function steering(shard, i, feature) {
    const { edited = [], moved = [] } = shard.steering?.[i] ?? {};
    if (!edited.length && !moved.length) return null;
    const text = (effect) => (effect ? steeringPage.withInterval(effect.estimate, effect.low, effect.high) : "–");
    const line = (title, ...values) => el("tr", null, el("th", { scope: "row" }, title), values.map((value) => el("td", null, value)));
    const rows = [
      ...edited.map((row) => line(row.label, `edited; distance between groups left ${text(row.target_gap)}; samples that keep their label ${text(row.label_kept)}`)),
      ...moved.map((row) => line(row.label, `moved along: mean code ${number(row.before)} → ${number(row.after)}`)),
    ];
    const csv = () => [
      ["setting", "role", "n_features", "target_gap", "label_kept", "before", "after"],
      ...edited.map((row) => [row.label, "edited", row.n_features, row.target_gap?.estimate, row.label_kept?.estimate]),
      ...moved.map((row) => [row.label, "moved", null, null, null, row.before, row.after]),
    ];
    return figure.make({
      title: "Steering effect", name: `feature-${feature}-steering`, body: el("table", { class: "plain" }, el("tbody", null, rows)), rows: csv,
      note: "Effects are of the whole edit, on test samples; 95 % bootstrap intervals.",
    });
  }

  function allScores(core, feature) {
    const rows = core.features.columns.map((column) => [column.analysis, column.metric, featuresPage.value(column, feature)]);
    const text = (value) => (typeof value === "number" ? number(value, 4) : value || "–");
    return el("section", { class: "card" }, el("details", null, el("summary", null, "All scores of this feature"),
      el("table", { class: "plain" }, el("tbody", null, rows.map(([analysis, metric, value]) => el("tr", null, el("th", { scope: "row" }, `${analysis} ${metric.replaceAll("_", " ")}`), el("td", { class: "number" }, text(value))))))));
  }

  async function render(core, [text]) {
    const feature = Number(text);
    if (!Number.isInteger(feature) || feature < 0 || feature >= core.features.n) throw new Error(`Features run from 0 to ${core.features.n - 1}.`);
    const [cells, shard] = await Promise.all([biosae.load("cells"), biosae.load(`features-${Math.floor(feature / core.features_per_shard)}`)]);
    const i = feature - shard.first;
    const dead = !(core.features.max_code[feature] > 0);
    const figures = [neighbours(core, shard, i, feature), allScores(core, feature)];
    if (!dead) {
      figures.unshift(
        map(core, cells, shard, i, feature), tracks.make(core, cells, shard, i, feature), ...labels(core, shard, i, feature), genes(core, shard, i, feature), expressed(core, shard, i, feature), tried(core, shard, i, feature),
        topCells(core, cells, shard, i, feature), enrichment(core, shard, i, feature), histogram(core, shard, i, feature), expression(core, shard, i, feature), steering(shard, i, feature));
    }
    return el("div", null, header(core, feature), dead ? el("p", { class: "quiet" }, "This feature never fires on these samples.") : summary(core, feature), balanced(figures.filter(Boolean)));
  }

  // Two columns of nearly one height: each figure goes where there is more room. In one column the order stays.
  function balanced(figures) {
    const grid = el("div", { class: "balanced" }, figures);
    const place = () => {
      const used = [1, 1]; // the next free line of each column
      for (const [one, lines] of figures.map((one) => [one, Math.ceil((one.offsetHeight + GAP) / LINE)])) {
        const side = used[0] <= used[1] ? 0 : 1;
        one.style.gridArea = `${used[side]} / ${side + 1} / span ${lines} / auto`;
        used[side] += lines;
      }
    };
    const watch = new ResizeObserver(place);
    figures.forEach((one) => watch.observe(one));
    return grid;
  }

  return { render, title: ([feature]) => `Feature ${feature}` };
})();
