// First page: what was trained on what, how well, what was found beside its null, and what to ask.
"use strict";

const overviewPage = (() => {
  const { el, route, link, number, fixed, percent, plural, words } = dom;
  const MOST_SITES = 30;
  const MANY_CLASSES = 11;
  const HEIGHTS = [340, 420, 520]; // of the map beside one, two or three lines of features
  const QUANTITIES = { fvu: "Variance left unexplained (FVU)", l0: "Active features per token (L0)", dead_fraction: "Share of dead features" };

  function lead({ settings }, sample) {
    const { data, model, sae, split } = settings;
    const description = data.description ? ` (${data.description})` : "";
    return `A ${sae.variant} sparse autoencoder reads layer ${model.layer} of ${model.n_layers} on ${plural(data.n_samples, sample)} of ` +
      `${data.name}${description}: ${number(split.n.train)} trained it, ${number(split.n.test ?? 0)} were kept for the scores below.`;
  }

  function headline({ evaluation, labels, enrichment, explanations }) {
    const entry = (title, value, note) => el("div", null, el("dt", null, title), el("dd", null, value, el("small", null, note)));
    const first = labels.map((label) => entry(
      `Features that mark a ${words(label.key)}`, label.untested ? "–" : number(label.n_supported),
      label.untested ? `could not be tested: ${label.untested}` : `of ${number(label.n_tested)}, above the null of the best; by chance ${number(label.classes_by_chance, 2)} of ${label.n_classes} classes would have one`));
    if (explanations) first.push(entry("Explained features", percent(explanations.n_explained / Math.max(explanations.n_features, 1)), `${number(explanations.n_explained)} of ${number(explanations.n_features)} that fire enough; with shuffled codes ${number(explanations.n_by_chance)}`));
    else if (enrichment) first.push(entry("Features with a gene set", percent(enrichment.annotated_share), `beside ${percent(enrichment.matched_share)} of random lists matched in size and popularity`));
    const numbers = [
      ["Unexplained variance", "fvu", fixed, "FVU on held-out tokens; 0 is perfect, 1 the mean"],
      ["Active per token", "l0", (v) => number(v), "L0, measured with the inference path"],
      ["Dead features", "dead_fraction", percent, "never active on held-out tokens"],
      ["Embedding recovery", "recovery_vs_mean", percent, "100 % is the unedited model, 0 % the mean ablation"],
    ].filter(([, key]) => evaluation[key] !== undefined && evaluation[key] !== null);
    return grid([...first, ...numbers.map(([title, key, format, note]) => entry(title, format(evaluation[key]), note))]);
  }

  // Numbers in full lines: five in one, six in two of three.
  function grid(entries) {
    const list = el("dl", { class: "numbers" }, entries);
    list.style.setProperty("--columns", entries.length <= 5 ? entries.length : Math.ceil(entries.length / 2));
    return list;
  }

  function concerns({ concerns: found }, wide) {
    if (!found.length) return null;
    return el("section", { class: wide ? "card wide concerns" : "card concerns", "aria-label": "What a referee would ask" },
      el("h2", null, "What a referee would ask"),
      el("dl", null, found.map(({ title, text }) => el("div", null, el("dt", null, title), el("dd", null, text)))));
  }

  function best(label, featureNames, wide) {
    const rows = label.best.slice().sort((a, b) => b.auroc - a.auroc).map((row) => ({
      label: row.class, href: route("label", label.key, row.class), value: row.auroc, low: row.auroc_low, high: row.auroc_high,
      reference: label.untested ? null : row.null_auroc, strong: row.q_value <= 0.05 && row.auroc > row.null_auroc,
      note: `feature ${row.feature} (${featureNames[row.feature]}): held-out AUROC ${fixed(row.auroc)}, null ${fixed(row.null_auroc)}, q ${number(row.q_value, 2)}`,
    }));
    const columns = ["class", "feature", "auroc_select", "auroc", "auroc_low", "auroc_high", "null_auroc", "q_value"];
    const low = Math.floor(10 * Math.min(0.5, ...rows.map((row) => row.value))) / 10; // a wide interval may leave the axis
    const goesOn = rows.some((row) => row.low < low) ? " An interval that touches the left edge goes on." : "";
    return figure.make({
      title: `The best feature of each ${words(label.key)}`, name: `best-${label.key}`, wide,
      draw: (width) => charts.dots(width, { rows, domain: [low, 1], xTitle: "AUROC on test samples", referenceText: label.untested ? null : "dashed: null of the best of all features" }),
      rows: () => [columns, ...label.best.map((row) => columns.map((name) => row[name]))],
      note: "Chosen on the select samples, scored once on the test samples. Bar: 95 % interval." + goesOn + " " + (label.untested
        ? `Chance could not be asked: ${label.untested}.`
        : "Dashed: 95th percentile of the best AUROC when labels are permuted; grey dots do not pass it."),
    });
  }

  function sites({ sites: found }, featureNames) {
    if (!found.length) return null;
    const shown = found.slice().sort((a, b) => b.f1 - a.f1).slice(0, MOST_SITES);
    const rows = shown.map((row) => ({
      label: row.concept, href: route("feature", row.feature), value: row.f1, reference: row.null_f1, strong: row.p_value <= 0.05,
      note: `feature ${row.feature} (${featureNames[row.feature]}): precision ${fixed(row.precision)} by residue, recall ${fixed(row.recall)} by domain, p ${number(row.p_value, 2)}; best amino acid ${row.residue} ${fixed(row.residue_f1)}`,
    }));
    const columns = ["concept", "feature", "f1", "precision", "recall", "null_f1", "p_value", "residue", "residue_f1"];
    const left = found.length - shown.length;
    return figure.make({
      title: "The best feature of each site or domain", name: "best-sites", wide: true,
      draw: (width) => charts.dots(width, { rows, domain: [0, 1], xTitle: "F1 on test proteins", referenceText: "dashed: null of the best of all features" }),
      rows: () => [columns, ...found.map((row) => columns.map((name) => row[name]))],
      note: "F1 of precision by residue and recall by domain; feature and threshold were chosen on the select proteins. Dashed: 95th percentile of the best feature's F1 when annotations are turned around their proteins. Grey dots do not pass." +
        (left ? ` ${number(left)} more in the CSV.` : ""),
    });
  }

  function curves({ curves: all }) {
    return Object.entries(QUANTITIES).map(([name, title]) => {
      const mine = all.filter((curve) => curve.name === name && curve.tokens.length > 1);
      if (!mine.length) return null;
      const series = mine.map((curve) => ({ name: curve.split, x: curve.tokens, y: curve.values, class: curve.split === "train" ? "second" : "" }));
      return figure.make({
        title, name: `training-${name}`,
        draw: (width) => charts.curves(width, { series, xTitle: "training tokens", yTitle: name.replaceAll("_", " ") }),
        rows: () => [["split", "tokens", name], ...mine.flatMap((c) => c.tokens.map((t, i) => [c.split, t, c.values[i]]))],
      });
    });
  }

  function density({ density: { edges, counts, dead } }) {
    return figure.make({
      title: "How often features fire", name: "density",
      draw: (width) => charts.histogram(width, { edges, counts, log: true, xTitle: "share of tokens where active", yTitle: "features" }),
      rows: () => [["from", "to", "features"], [0, 0, dead], ...counts.map((count, i) => [edges[i], edges[i + 1], count])],
      note: `Each feature counts once${dead ? `; ${plural(dead, "feature")} never ${dead === 1 ? "fires" : "fire"} and ${dead === 1 ? "is" : "are"} not drawn` : ""}.`,
    });
  }

  // The cells by class, and the features that mark the classes on the same map. Comes after the page: it needs all cells.
  async function maps(core) {
    const [cells, shown] = await Promise.all([biosae.load("cells"), biosae.load("gallery")]);
    const column = cells.columns.find((c) => c.name === shown.label) ?? cells.columns[0];
    return [classes(core, cells, column, HEIGHTS[Math.ceil(shown.best.length / 3) - 1]), gallery(core, cells, shown)];
  }

  function classes(core, cells, first, height) {
    const { sample } = cells.map;
    const of = (column) => ({ category: Uint8Array.from(sample, (s) => column.values[s]), names: column.categories });
    const tag = (column, i) => column.categories[column.values[sample[i]]] ?? "–";
    const describe = (i) => [cells.names[sample[i]], ...cells.columns.map((column) => tag(column, i))].join("\n");
    const view = cellmap.make({ map: cells.map, paint: of(first), describe, height });
    const holder = el("div", null, view.element, cellmap.legend(of(first), first.categories));
    const choose = ({ target }) => {
      const column = cells.columns[target.value];
      view.repaint(of(column));
      holder.lastChild.replaceWith(cellmap.legend(of(column), column.categories));
    };
    const tools = el("select", { "aria-label": "Colour the map by", onchange: choose }, cells.columns.map((column, k) => el("option", { value: k, selected: column === first }, words(column.name))));
    return figure.make({
      title: `The ${core.sample}s`, name: "map", body: holder, svgText: view.svgText, tools,
      rows: () => [[core.sample, "x", "y", ...cells.columns.map((c) => c.name)], ...Array.from(sample, (s, i) => [cells.names[s], cells.map.x[i], cells.map.y[i], ...cells.columns.map((column) => tag(column, i))])],
      note: `${cells.map.method}; ${number(sample.length)} of ${number(cells.names.length)} ${core.sample}s.`,
    });
  }

  function gallery(core, cells, shown) {
    const n = cells.map.sample.length;
    const passes = (row) => row.null_auroc === null || (row.auroc > row.null_auroc && row.q_value <= 0.05);
    const [found, missed] = [shown.best.map((row, k) => [row, k]).filter(([row]) => passes(row)), shown.best.filter((row) => !passes(row))];
    const also = (row) => shown.best.filter((other) => other.feature === row.feature && other !== row && passes(other)).map((other) => other.class);
    const views = found.map(([row, k]) => {
      const levels = cellmap.levelsOf(shown.cells, k, n);
      return { row, levels, view: cellmap.make({ map: cells.map, paint: cellmap.stretched(levels), height: 132, title: `Where feature ${row.feature} fires` }) };
    });
    const tiles = views.map(({ row, view }) => el("a", { class: "tile", href: route("feature", row.feature), title: core.features.names[row.feature] },
      view.element, el("strong", null, row.class), el("small", null, `AUROC ${fixed(row.auroc)} · f${row.feature}${also(row).length ? ` · also ${also(row).join(", ")}` : ""}`)));
    tiles.push(...missed.map((row) => el("div", { class: "tile missed" }, el("strong", null, row.class), el("small", null, `not found: the best feature has AUROC ${fixed(row.auroc)}, chance alone reaches ${fixed(row.null_auroc)}`))));
    const drawing = () => {
      const [width, height, across] = [200, 170, 3];
      const parts = views.map(({ row, view }, k) => {
        const part = view.drawing();
        for (const [name, value] of Object.entries({ x: (k % across) * width, y: Math.floor(k / across) * height, width, height: 140 })) part.setAttribute(name, value);
        return [part, dom.svg("text", { x: (k % across) * width + width / 2, y: Math.floor(k / across) * height + 156, "text-anchor": "middle", "font-family": "sans-serif", "font-size": 12 }, `${row.class} (feature ${row.feature})`)];
      });
      const size = { width: across * width, height: Math.ceil(views.length / across) * height };
      return new XMLSerializer().serializeToString(dom.svg("svg", { xmlns: "http://www.w3.org/2000/svg", ...size }, parts));
    };
    return figure.make({
      title: `Features that mark a ${words(shown.label)}`, name: "marking-features", body: el("div", { class: "tiles" }, tiles), svgText: drawing,
      rows: () => [[core.sample, ...found.map(([row]) => `feature ${row.feature}`)], ...Array.from(cells.map.sample, (s, i) => [cells.names[s], ...views.map(({ row, levels }) => (levels[i] / 255) * core.features.max_code[row.feature])])],
      note: "Where the best feature of each class fires; in grey cells it is silent. A class is not found when its best feature does not pass the null of the best of all.",
    });
  }

  function frontier({ frontier: rows }) {
    const known = rows.filter((row) => row.l0 !== null && row.fvu !== null);
    if (known.length < 2) return null;
    return figure.make({
      title: "Reconstruction against sparsity", name: "frontier", wide: true,
      draw: (width) => charts.scatter(width, { rows: known.map((row) => ({ x: row.l0, y: row.fvu, name: row.name, strong: row.mine, title: `${row.name}: L0 ${number(row.l0)}, FVU ${fixed(row.fvu, 3)}` })), xTitle: "active features per token (L0)", yTitle: "unexplained variance (FVU)" }),
      rows: () => [["run", "l0", "fvu", "this_run"], ...rows.map((row) => [row.name, row.l0, row.fvu, row.mine])],
      note: "Held-out tokens; this run in colour, beside the runs of its experiment. Down and to the left is better.",
    });
  }

  function provenance({ settings }) {
    const { data, model, sae, split, activations } = settings;
    const rows = [
      ["Data", `${data.name}: ${number(data.n_samples)} samples${data.n_columns ? ` × ${number(data.n_columns)} columns` : ""}, hash ${data.hash}`],
      ["Split", Object.entries(split.n).map(([part, n]) => `${part} ${number(n)}`).join(", ") + (split.group_key ? `, by ${split.group_key}` : ", sample by sample") + `, seed ${split.seed}`],
      ["Host model", `${model.name}, layer ${model.layer} of ${model.n_layers}, width ${model.d_model}, fingerprint ${model.fingerprint}`],
      ["Vocabulary", model.n_genes_matched !== undefined && model.n_genes_matched !== null ? `${number(model.n_genes_matched)} genes matched` : "–"],
      ["SAE", `${sae.variant}, ${number(sae.d_in)} → ${number(sae.d_sae)}, weights ${sae.hash}`],
      ["Tokens", activations ? `${number(activations.n_train_tokens)} for training of ${number(activations.n_tokens)}` : "–"],
      ["Run", `seed ${settings.seed}, ${dom.when(settings.created)}`],
      ["Command", settings.command],
      ["Versions", [`biosae ${settings.biosae}`, ...Object.entries(settings.versions ?? {}).map(([name, version]) => `${name} ${version}`)].join(", ")],
    ];
    return el("section", { class: "card wide" }, el("div", { class: "head" }, el("h2", null, "Provenance")),
      el("table", { class: "plain" }, el("tbody", null, rows.map(([name, text]) => el("tr", null, el("th", { scope: "row" }, name), el("td", null, text))))));
  }

  function render(core) {
    const content = core.overview;
    const marked = content.labels.filter((label) => label.best.length);
    const long = marked[0]?.best.length > MANY_CLASSES; // then there is room beside them
    const place = el("div", { class: "wide pair" });
    if (core.has.gallery) maps(core).then((figures) => place.replaceChildren(...figures));
    return el("div", null,
      el("h1", null, `${number(content.settings.sae.d_sae)} features of ${content.settings.model.name}`),
      el("p", { class: "lead" }, lead(content, core.sample)),
      headline(content),
      el("div", { class: "grid" },
        core.has.gallery && place,
        marked.slice(0, 1).map((label) => best(label, core.features.names)),
        long ? el("div", { class: "stack" }, concerns(content), density(content)) : concerns(content, !marked.length),
        marked.length > 1 && el("div", { class: "wide row" }, marked.slice(1).map((label) => best(label, core.features.names))),
        sites(content, core.features.names),
        frontier(content),
        el("div", { class: "wide row" }, curves(content), !long && density(content)),
        provenance(content)),
      el("p", { class: "note" }, link("#/features", "All features"), " · a report of files only: copy the folder, and it opens anywhere."));
  }

  return { render, best, grid, title: () => "Overview" };
})();
