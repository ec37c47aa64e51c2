// What steering did: how well batches mix and labels stay apart, beside methods that need no SAE.
"use strict";

const steeringPage = (() => {
  const { el, number, fixed, plural } = dom;
  const METHODS = {
    sae: ["SAE features", "s0"], matched_features: ["matched random features", "s1"], random_features: ["random features", "s2"],
    random_direction: ["random direction", "s3"], difference_in_means: ["difference in means", "s4"], centring: ["centring", "s5"],
    harmony: ["Harmony", "s6"], scvi: ["scVI", "s7"], pca: ["PCA of counts", "s8"], original: ["unedited model", "s9"],
  };
  const SCORES = {
    total: "total", batch_correction: "batch correction", bio_conservation: "bio-conservation",
    transfer_macro_f1: "label transfer, macro-F1", transfer_accuracy: "label transfer, accuracy",
  };
  const EFFECTS = {
    target_gap: "distance between groups that is left", label_gap: "distance between labels that is left", label_kept: "samples that keep their label",
    shift: "samples move by (in units of their spread)",
  };
  const PERTURBED = {
    distance_closed: "distance to the treated closed", energy_closed: "energy distance to the treated closed", label_kept: "samples that keep their label",
    label_accuracy: "accuracy of the label vote",
  };

  const ORDER = Object.keys(METHODS);

  const sentence = (text) => text[0].toUpperCase() + text.slice(1);
  const nameOf = (row) => METHODS[row.method]?.[0] ?? row.method;
  const withInterval = (value, low, high) => (low === null || low === undefined ? fixed(value, 3) : `${fixed(value, 3)} (${fixed(low, 3)} to ${fixed(high, 3)})`);

  function choice(options, label, onchange) {
    return el("select", { "aria-label": label, onchange }, Object.entries(options).map(([value, text]) => el("option", { value }, text)));
  }

  // A figure whose metric is chosen from a list; make(metric) gives the parts of the figure.
  function chosen(options, label, make) {
    const known = Object.fromEntries(Object.entries(options).filter(([metric]) => make(metric)));
    if (!Object.keys(known).length) return null;
    const holder = el("div", { class: "wide" });
    const tools = choice(known, label, (event) => show(event.target.value));
    const show = (metric) => holder.replaceChildren(figure.make({ ...make(metric), tools, wide: true }));
    show(Object.keys(known)[0]);
    return holder;
  }

  // Of several values of one operation, the largest in size: the figure compares numbers of features.
  function atLargestValue(rows) {
    const largest = Math.max(0, ...rows.map((row) => Math.abs(row.value ?? 0)));
    return rows.filter((row) => row.value === null || Math.abs(row.value) === largest);
  }

  function scores(rows, metric) {
    const shown = atLargestValue(rows);
    const counts = [...new Set(shown.map((row) => row.n_features).filter((n) => n !== null))].sort((a, b) => a - b);
    const mark = (row) => ({
      value: row[metric], low: row[`${metric}_low`], high: row[`${metric}_high`],
      title: `${nameOf(row)}: ${withInterval(row[metric], row[`${metric}_low`], row[`${metric}_high`])}`,
    });
    const methods = Object.keys(METHODS).filter((method) => shown.some((row) => row.method === method && row.n_features !== null));
    const series = methods.map((method) => ({
      name: METHODS[method][0], class: METHODS[method][1],
      points: shown.filter((row) => row.method === method).sort((a, b) => a.n_features - b.n_features).map((row) => ({ level: counts.indexOf(row.n_features), ...mark(row) })),
    }));
    const rules = shown.filter((row) => row.n_features === null).map((row) => {
      const { low, high, ...others } = mark(row);
      return { name: nameOf(row), class: METHODS[row.method]?.[1] ?? "s8", ...others, ...(row.method === "original" ? { low, high } : {}) };
    });
    const columns = ["method", "chooser", "n_features", "operation", "value", "n_seeds", "n_samples", metric, `${metric}_low`, `${metric}_high`];
    return {
      title: `Integration: ${SCORES[metric]}`, name: `integration-${metric}`,
      draw: (width) => charts.levels(width, { levels: counts.map((n) => number(n)), series, rules, xTitle: "features edited", yTitle: SCORES[metric] }),
      rows: () => [columns, ...rows.map((row) => columns.map((name) => row[name]))],
      note: "1 is best. Bars, and the band of the unedited model: 95 % intervals over random halves of the samples and, for what is drawn at random, over seeds. Horizontal lines edit no features.",
    };
  }

  function methodTable(rows) {
    const cell = (metric) => (row) => withInterval(row[metric], row[`${metric}_low`], row[`${metric}_high`]);
    const gain = (row) => withInterval(row.total_difference, row.total_difference_low, row.total_difference_high);
    const list = table.make({
      rows: rows.slice(), height: "520px", sort: { key: "total", ascending: false },
      columns: [
        { key: "method", title: "method", value: nameOf, cell: (row) => el("span", { title: row.chooser ?? null }, nameOf(row)) },
        { key: "n", title: "features", numeric: true, value: (row) => row.n_features, cell: (row) => number(row.n_features) },
        { key: "dose", title: "edit", value: (row) => row.operation, cell: (row) => (row.operation ? `${row.operation}${row.operation === "ablate" ? "" : ` ${number(row.value)}`}` : "–") },
        ...Object.entries(SCORES).map(([metric, title]) => ({ key: metric, title, numeric: true, value: (row) => row[metric], cell: cell(metric) })),
        { key: "gain", title: "total − unedited", numeric: true, hint: "paired: both scored on the same halves", value: (row) => row.total_difference, cell: gain },
      ],
    });
    const columns = Object.keys(rows[0]);
    return figure.make({
      title: "All methods", name: "integration-methods", wide: true, body: list.element,
      rows: () => [columns, ...rows.map((row) => columns.map((name) => row[name]))],
      note: "Mean (95 % interval). Label transfer: neighbours in the other batches vote for the samples of a batch that is left out.",
    });
  }

  // What the SAE's features add to every other method, or lose to it.
  function versus(rows, metric) {
    const mine = rows.filter((row) => row.metric === metric);
    if (!mine.length) return null;
    const order = Object.keys(METHODS);
    const edit = (row) => (row.operation === "ablate" ? "" : `, ${row.operation} ${number(row.value)}`);
    const dots = mine
      .slice().sort((a, b) => order.indexOf(a.versus) - order.indexOf(b.versus) || a.n_features - b.n_features || a.value - b.value)
      .map((row) => ({
        label: `${number(row.n_features)}${edit(row)} − ${METHODS[row.versus]?.[0] ?? row.versus}`,
        value: row.difference, low: row.low, high: row.high, strong: row.low > 0 || row.high < 0,
        note: withInterval(row.difference, row.low, row.high),
      }));
    const spans = mine.flatMap((row) => [row.difference, row.low, row.high]).filter((value) => value !== null);
    const columns = Object.keys(mine[0]);
    return {
      title: `SAE features less other methods: ${SCORES[metric]}`, name: `integration-versus-${metric}`,
      draw: (width) => charts.dots(width, { rows: dots, domain: [Math.min(-0.02, ...spans), Math.max(0.02, ...spans)], xTitle: `difference in ${SCORES[metric]}`, reference: 0, referenceText: "no difference" }),
      rows: () => [columns, ...mine.map((row) => columns.map((column) => row[column]))],
      note: "Left of 0 the other method is better. The number is that of the SAE's features. Paired: both scored on the same random halves of the samples; bar: 95 % interval; large dots: it excludes 0. It covers samples and seeds, not other batches, donors or SAEs.",
    };
  }

  function offTargetTable(rows, labels) {
    const list = table.make({
      rows: rows.slice(), height: "420px", sort: { key: "n", ascending: false },
      columns: [
        { key: "edit", title: "edit", value: (row) => labels[row.key] ?? row.key, cell: (row) => labels[row.key] ?? row.key },
        { key: "group", title: "samples", value: (row) => row.group, cell: (row) => (row.group ? `${row.group} (${row.group_by})` : "all") },
        { key: "n", title: "number", numeric: true, value: (row) => row.n_samples, cell: (row) => number(row.n_samples) },
        { key: "on", title: "change in edited features", numeric: true, value: (row) => row.on_target, cell: (row) => fixed(row.on_target, 3) },
        { key: "off", title: "in other features", numeric: true, value: (row) => row.off_target, cell: (row) => fixed(row.off_target, 3) },
        { key: "moved", title: "others that make up 90 %", numeric: true, value: (row) => row.n_moved, cell: (row) => number(row.n_moved) },
      ],
    });
    const columns = Object.keys(rows[0]);
    return figure.make({
      title: "Off target", name: "off-target", wide: true, body: list.element,
      rows: () => [columns, ...rows.map((row) => columns.map((name) => row[name]))],
      note: `Summed absolute changes of mean codes when the SAE reads the edited activations again. Genes: ${rows[0].genes}.`,
    });
  }

  function genesTable(rows, labels) {
    const list = table.make({
      rows: rows.slice(), height: "420px", sort: { key: "n", ascending: false },
      columns: [
        { key: "edit", title: "edit", value: (row) => labels[row.key] ?? row.key, cell: (row) => labels[row.key] ?? row.key },
        { key: "gene", title: "gene", value: (row) => row.gene, cell: (row) => row.gene },
        { key: "group", title: "samples", value: (row) => row.group, cell: (row) => (row.group ? `${row.group} (${row.group_by})` : "all") },
        { key: "n", title: "with the gene", numeric: true, value: (row) => row.n_samples, cell: (row) => number(row.n_samples) },
        ...["before", "after", "change"].map((key) => ({ key, title: key, numeric: true, value: (row) => row[key], cell: (row) => fixed(row[key], 3) })),
      ],
    });
    const columns = Object.keys(rows[0]);
    return figure.make({
      title: "Genes whose predicted expression moves", name: "off-target-genes", wide: true, body: list.element,
      rows: () => [columns, ...rows.map((row) => columns.map((name) => row[name]))],
      note: "The model's own prediction from the edited states, mean over the cells that have the gene.",
    });
  }

  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

  // One point of a method: of several draws their mean and range, of one its interval.
  function drawn(rows) {
    const values = rows.map((row) => row.estimate);
    const several = rows.length > 1;
    const [value, low, high] = several ? [mean(values), Math.min(...values), Math.max(...values)] : [values[0], rows[0].low, rows[0].high];
    const features = rows[0].n_features === null ? "" : `, ${plural(rows[0].n_features, "feature")}`;
    return { value, low, high, title: `${nameOf(rows[0])}${features}: ${withInterval(value, low, high)}${several ? `, mean and range of ${rows.length} draws` : ""}` };
  }

  function estimates(rows, titles, name, note) {
    return (metric) => {
      const mine = atLargestValue(rows.filter((row) => row.metric === metric && row.estimate !== null));
      if (!mine.length) return null;
      const counts = [...new Set(mine.map((row) => row.n_features).filter((n) => n !== null))].sort((a, b) => a - b);
      const of = (method, n) => mine.filter((row) => row.method === method && row.n_features === n);
      const methods = [...new Set(mine.map((row) => row.method))].sort((a, b) => ORDER.indexOf(a) - ORDER.indexOf(b));
      const look = (method) => ({ name: nameOf({ method }), class: METHODS[method]?.[1] ?? "s8" });
      const series = methods.map((method) => ({ ...look(method), points: counts.map((n, level) => ({ n, level })).filter(({ n }) => of(method, n).length).map(({ n, level }) => ({ level, ...drawn(of(method, n)) })) }));
      const rules = methods.filter((method) => of(method, null).length).map((method) => ({ ...drawn(of(method, null)), ...look(method) }));
      const columns = Object.keys(mine[0]);
      return {
        title: sentence(titles[metric]), name: `${name}-${metric}`,
        draw: (width) => charts.levels(width, { levels: counts.map((n) => number(n)), series: series.filter((one) => one.points.length), rules, xTitle: "features edited", yTitle: titles[metric] }),
        rows: () => [columns, ...rows.filter((row) => row.metric === metric).map((row) => columns.map((column) => row[column]))],
        note,
      };
    };
  }

  function lead(scored) {
    if (!scored) return "What editing features does to the embeddings of test samples, beside edits that need no SAE.";
    const { settings, n_scored, n_available, n_per_batch } = scored;
    const thinned = n_scored < n_available ? `, drawn from ${number(n_available)}` : "";
    return `${plural(n_scored, "sample")} of ${settings.parts.join(" and ")}${thinned}: ${plural(Object.keys(n_per_batch).length, "batch")} (${settings.batch_key}), ${plural(scored.labels.length, "label")} (${settings.label_key}). Features were chosen on other samples.`;
  }

  function leftOut(scored) {
    const entries = Object.entries(scored?.labels_left_out ?? {}).map(([name, reason]) => `${name} (${reason})`);
    const single = scored?.labels_in_one_batch ?? [];
    const texts = [entries.length && `Left out: ${entries.join(", ")}.`, single.length && `In one batch only, so not mixed or transferred: ${single.join(", ")}.`];
    return texts.some(Boolean) ? el("p", { class: "note" }, texts.filter(Boolean).join(" ")) : null;
  }

  async function render() {
    const { scored, integration, versus: pairs, effects, perturbation, offTarget, genes, labels } = await biosae.load("steering");
    return el("div", null,
      el("h1", null, "Steering"),
      el("p", { class: "lead" }, lead(scored)),
      el("div", { class: "grid" },
        integration && chosen(SCORES, "Score", (metric) => scores(integration, metric)),
        pairs && chosen(SCORES, "Score of the difference", (metric) => versus(pairs, metric)),
        integration && methodTable(integration),
        effects && chosen(EFFECTS, "Effect", estimates(effects, EFFECTS, "steering", "Test samples; 1 is the unedited model. Bars and bands: 95 % bootstrap intervals; of several random draws, their range. Horizontal lines edit no features.")),
        perturbation && chosen(PERTURBED, "Effect", estimates(perturbation, PERTURBED, "perturbation", "Control samples of the test part, each method at the strength that was best on the select samples. Bars and bands: 95 % bootstrap intervals; of several random draws, their range.")),
        offTarget?.length > 0 && offTargetTable(offTarget, labels),
        genes?.length > 0 && genesTable(genes, labels)),
      leftOut(scored));
  }

  return { render, withInterval, chosen, title: () => "Steering" };
})();
