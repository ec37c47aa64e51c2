// Small charts as SVG: histogram, curves, points, bars, and dots with intervals.
"use strict";

const charts = (() => {
  const { svg, number } = dom;
  const TOP = 24;
  const BOTTOM = 40;
  const LEFT = 54;
  const RIGHT = 14;
  const SHAPES = [
    (r) => `M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`, // circle, square, triangle, diamond, triangle on its tip
    (r) => `M${-r} ${-r}h${2 * r}v${2 * r}h${-2 * r}Z`,
    (r) => `M0 ${-1.3 * r}L${1.2 * r} ${r}H${-1.2 * r}Z`,
    (r) => `M0 ${-1.4 * r}L${1.4 * r} 0L0 ${1.4 * r}L${-1.4 * r} 0Z`,
    (r) => `M0 ${1.3 * r}L${1.2 * r} ${-r}H${-1.2 * r}Z`,
  ];

  function ticks(low, high, count = 5) {
    const raw = (high - low) / count || 1;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= raw * 0.999);
    const out = [];
    for (let t = Math.ceil(low / step - 1e-9); t * step <= high + step * 1e-9; t++) out.push(Number((t * step).toPrecision(12)));
    return out;
  }

  const short = (value) => {
    const size = Math.abs(value);
    if (size >= 1e6) return `${value / 1e6}M`;
    if (size >= 1e4) return `${value / 1e3}k`;
    return String(value).replace("-", "−");
  };

  function linear(domain, range) {
    const [low, high] = domain;
    const scale = (value) => range[0] + ((value - low) / (high - low || 1)) * (range[1] - range[0]);
    return Object.assign(scale, { ticks: ticks(low, high), text: short });
  }

  function logarithmic(domain, range) {
    const [low, high] = domain.map(Math.log10);
    const scale = (value) => range[0] + ((Math.log10(value) - low) / (high - low || 1)) * (range[1] - range[0]);
    const steps = high - low < 2 ? [1, 2, 5] : [1];
    const powers = [];
    for (let p = Math.floor(low); p <= high + 1e-9; p++) powers.push(...steps.map((k) => k * 10 ** p));
    const shown = powers.filter((value) => value >= domain[0] * (1 - 1e-9) && value <= domain[1] * (1 + 1e-9));
    const text = (value) => (value >= 0.01 && value <= 1000 ? short(Number(value.toPrecision(3))) : `1e${Math.round(Math.log10(value))}`.replace("-", "−"));
    return Object.assign(scale, { ticks: shown, text });
  }

  const label = (x, y, text, anchor = "middle", name = "tick") => svg("text", { x, y, "text-anchor": anchor, class: name }, text);

  function frame(width, height, x, y, xTitle, yTitle) {
    const bottom = height - BOTTOM;
    return [
      y.ticks.map((t) => [svg("line", { x1: LEFT, x2: width - RIGHT, y1: y(t), y2: y(t), class: "grid" }), label(LEFT - 7, y(t) + 4, y.text(t), "end")]),
      svg("line", { x1: LEFT, x2: width - RIGHT, y1: bottom, y2: bottom, class: "axis" }),
      x.ticks.map((t) => label(x(t), bottom + 16, x.text(t))),
      label((LEFT + width - RIGHT) / 2, height - 6, xTitle, "middle", "title"),
      svg("text", { x: 0, y: 0, transform: `translate(10 ${(TOP + bottom) / 2}) rotate(-90)`, "text-anchor": "middle", class: "title" }, yTitle),
    ];
  }

  const drawing = (width, height, text, ...children) =>
    svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": text }, ...children);

  // Counts between edges; log puts the edges on a log axis, and the counts on a root axis keep the tail visible.
  function histogram(width, { edges, counts, xTitle, yTitle, log = false, height = 220 }) {
    const x = (log ? logarithmic : linear)([edges[0], edges.at(-1)], [LEFT, width - RIGHT]);
    const most = Math.max(1, ...counts);
    const root = linear([0, Math.sqrt(most)], [height - BOTTOM, TOP]);
    const y = Object.assign((value) => root(Math.sqrt(value)), { ticks: rootTicks(most), text: short });
    const bars = Array.from(counts, (count, i) => {
      const [left, right] = [x(edges[i]), x(edges[i + 1])];
      return svg("rect", { x: left + 0.5, width: Math.max(0.5, right - left - 1), y: y(count), height: height - BOTTOM - y(count), class: "mark" },
        svg("title", null, `${number(edges[i])} to ${number(edges[i + 1])}: ${number(count)}`));
    });
    return drawing(width, height, `${yTitle} by ${xTitle}`, frame(width, height, x, y, xTitle, yTitle), bars);
  }

  function rootTicks(most) {
    const round = (value) => Number(value.toPrecision(1));
    return [...new Set([0, round(most / 16), round(most / 3), most >= 10 ? Number(most.toPrecision(2)) : most].filter((t) => Number.isInteger(t)))];
  }

  // series: [{name, x, y, class, step}]; rules: [{y, text}]
  function curves(width, { series, xTitle, yTitle, domainX, domainY, rules = [], height = 220 }) {
    const all = (key) => series.flatMap((s) => Array.from(s[key]));
    const x = linear(domainX ?? [0, Math.max(...all("x"))], [LEFT, width - RIGHT]);
    const y = linear(domainY ?? [0, Math.max(...all("y")) * 1.05 || 0.1], [height - BOTTOM, TOP]);
    const lines = series.map((s) => svg("polyline", { points: Array.from(s.x, (v, i) => `${x(v).toFixed(1)},${y(s.y[i]).toFixed(1)}`).join(" "), class: `line ${s.class ?? ""}` }));
    const names = series.length > 1 && series.map((s, i) => label(LEFT + 80 * i, 12, s.name, "start", `key ${s.class ?? ""}`));
    const across = rules.map((r) => [
      svg("line", { x1: LEFT, x2: width - RIGHT, y1: y(r.y), y2: y(r.y), class: "null" }),
      label(width - RIGHT, y(r.y) - 5, r.text, "end"),
    ]);
    return drawing(width, height, `${yTitle} by ${xTitle}`, frame(width, height, x, y, xTitle, yTitle), across, lines, names);
  }

  function points(width, { x: xs, y: ys, titles, xTitle, yTitle, height = 260 }) {
    const positive = Array.from(xs).filter((v) => v > 0);
    const [low, high] = [Math.min(...positive), Math.max(...positive)];
    const wide = positive.length === xs.length && high > 30 * low;
    const x = wide ? logarithmic([low, high], [LEFT + 6, width - RIGHT]) : linear([Math.min(0, ...xs), Math.max(...xs)], [LEFT, width - RIGHT]);
    const y = linear([0, Math.max(...ys) * 1.05], [height - BOTTOM, TOP]);
    const dots = Array.from(xs, (v, i) => svg("circle", { cx: x(v), cy: y(ys[i]), r: 3, class: "point" }, svg("title", null, titles[i])));
    return drawing(width, height, `${yTitle} by ${xTitle}`, frame(width, height, x, y, xTitle, yTitle), dots);
  }

  // Runs as named dots, the own one marked; rows: [{x, y, name, strong, title}]
  function scatter(width, { rows, xTitle, yTitle, height = 280 }) {
    const x = linear([0, Math.max(...rows.map((row) => row.x)) * 1.08], [LEFT, width - RIGHT]);
    const y = linear([0, Math.max(...rows.map((row) => row.y)) * 1.08 || 1], [height - BOTTOM, TOP]);
    const few = rows.length <= 12;
    const dots = rows.map((row) => {
      const left = x(row.x) > width * 0.75;
      return [
        svg("circle", { cx: x(row.x), cy: y(row.y), r: row.strong ? 6 : 4.5, class: row.strong ? "dot" : "dot weak" }, svg("title", null, row.title)),
        (few || row.strong) && label(x(row.x) + (left ? -9 : 9), y(row.y) + 4, shortened(row.name, width * 0.25), left ? "end" : "start", row.strong ? "row" : "tick"),
      ];
    });
    return drawing(width, height, `${yTitle} by ${xTitle}`, frame(width, height, x, y, xTitle, yTitle), dots);
  }

  const pen = document.createElement("canvas").getContext("2d");
  let font = null; // read once: asking for it in between would lay out the page each time

  function textWidth(text) {
    pen.font = font ??= `13px ${getComputedStyle(document.documentElement).fontFamily}`;
    return pen.measureText(text).width;
  }

  const gutter = (rows, width) => Math.min(width * 0.42, 14 + Math.max(...rows.map((row) => textWidth(row.label))));

  function shortened(text, width) {
    if (textWidth(text) <= width) return text;
    let n = text.length - 1;
    while (n > 1 && textWidth(`${text.slice(0, n)}…`) > width) n--;
    return `${text.slice(0, n)}…`;
  }

  function rowLabel(row, left, y) {
    const shown = shortened(row.label, left - 12);
    const text = svg("text", { x: left - 10, y: y + 4, "text-anchor": "end", class: row.href ? "row linked" : "row" }, shown, svg("title", null, row.title ?? row.label));
    return row.href ? svg("a", { href: row.href }, text) : text;
  }

  // Horizontal bars; rows: [{label, value, text, href}]
  function bars(width, { rows, xTitle, domain }) {
    const [step, left] = [26, gutter(rows, width)];
    const height = rows.length * step + 30;
    const x = linear(domain ?? [0, Math.max(...rows.map((row) => row.value))], [left, width - 56]);
    const drawn = rows.map((row, i) => {
      const y = i * step + step / 2;
      return [rowLabel(row, left, y), svg("rect", { x: left, y: y - 7, height: 14, width: Math.max(1, x(row.value) - left), class: "mark" }), label(x(row.value) + 6, y + 4, row.text, "start")];
    });
    return drawing(width, height, xTitle, drawn, label((left + width - 56) / 2, height - 8, xTitle, "middle", "title"));
  }

  // Dots with intervals on a shared axis; rows: [{label, value, low, high, reference, href, strong, note}]
  function dots(width, { rows, xTitle, domain, reference, referenceText }) {
    const [step, left, head] = [28, gutter(rows, width), 22];
    const [height, right] = [head + rows.length * step + BOTTOM, width - 54];
    const x = linear(domain, [left, right]);
    const bottom = height - BOTTOM;
    const known = (value) => value !== null && value !== undefined && !Number.isNaN(value);
    const at = (value) => x(Math.min(domain[1], Math.max(domain[0], value)));
    const drawn = rows.map((row, i) => {
      const y = head + i * step + step / 2;
      return [
        rowLabel(row, left, y),
        known(row.reference) && svg("line", { x1: at(row.reference), x2: at(row.reference), y1: y - 9, y2: y + 9, class: "null" }),
        known(row.low) && svg("line", { x1: at(row.low), x2: at(row.high), y1: y, y2: y, class: "interval" }),
        known(row.value) && svg("circle", { cx: at(row.value), cy: y, r: row.strong === false ? 3.5 : 5, class: row.strong === false ? "dot weak" : "dot" }, svg("title", null, row.note ?? number(row.value))),
        label(width - 4, y + 4, dom.fixed(row.value), "end"),
      ];
    });
    return drawing(
      width, height, xTitle,
      x.ticks.map((t) => [svg("line", { x1: x(t), x2: x(t), y1: head, y2: bottom, class: "grid" }), label(x(t), bottom + 16, x.text(t))]),
      known(reference) && [svg("line", { x1: at(reference), x2: at(reference), y1: head - 4, y2: bottom, class: "null" }), label(at(reference), 12, referenceText)],
      !known(reference) && referenceText && label(right, 12, referenceText, "end"),
      drawn,
      label((left + right) / 2, height - 6, xTitle, "middle", "title"),
    );
  }

  // A series' mark; shapes tell series apart where colours do not.
  function spot(x, y, r, kind, title) {
    const shape = SHAPES[Number(kind.slice(1)) % SHAPES.length];
    return svg("path", { d: shape(r * 1.1), transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`, class: `spot ${kind}` }, title && svg("title", null, title));
  }

  // Names of series and rules in lines across the top; gives the nodes and the height they take.
  function keyed(width, entries) {
    const [nodes, line] = [[], 18];
    let [x, y] = [LEFT, 12];
    for (const { name, class: kind, isRule } of entries) {
      const needed = textWidth(name) + 44;
      if (x > LEFT && x + needed > width) [x, y] = [LEFT, y + line];
      nodes.push(svg("line", { x1: x, x2: x + 20, y1: y - 4, y2: y - 4, class: isRule ? `line rule ${kind}` : `line ${kind}` }), !isRule && spot(x + 10, y - 4, 3, kind), label(x + 26, y, name, "start"));
      x += needed;
    }
    return [nodes, y + 6];
  }

  // Estimates with intervals at a few levels, a line a series, beside horizontal rules of methods without levels.
  // levels: texts; series: [{name, class, points: [{level, value, low, high, title}]}]; rules: [{name, class, value, low, high}]
  function levels(width, { levels: names, series, rules, xTitle, yTitle, height = 320, spread = 9 }) {
    const known = (value) => value !== null && value !== undefined && !Number.isNaN(value);
    const marks = [...series.flatMap((s) => s.points), ...rules];
    const values = marks.flatMap((m) => [m.value, m.low, m.high]).filter(known);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const margin = (high - low) * 0.06 || 0.05;
    const [legend, used] = keyed(width, [...series, ...rules.map((rule) => ({ ...rule, isRule: true }))]);
    const bottom = height + used - BOTTOM;
    const place = (level) => LEFT + ((width - RIGHT - LEFT) * (level + 0.5)) / Math.max(1, names.length);
    const x = Object.assign(place, { ticks: [...names.keys()], text: (level) => names[level] });
    const y = linear([low - margin, high + margin], [bottom, used + 6]);
    const across = rules.map((rule) => [
      known(rule.low) && svg("rect", { x: LEFT, width: width - RIGHT - LEFT, y: y(rule.high), height: y(rule.low) - y(rule.high), class: `band ${rule.class}` }),
      svg("line", { x1: LEFT, x2: width - RIGHT, y1: y(rule.value), y2: y(rule.value), class: `line rule ${rule.class}` }, svg("title", null, rule.title ?? rule.name)),
    ]);
    const drawn = series.map((s, i) => {
      const at = (point) => x(point.level) + spread * (i - (series.length - 1) / 2);
      const path = s.points.map((point) => `${at(point).toFixed(1)},${y(point.value).toFixed(1)}`).join(" ");
      return [
        svg("polyline", { points: path, class: `line ${s.class}` }),
        s.points.map((p) => [
          known(p.low) && svg("line", { x1: at(p), x2: at(p), y1: y(p.low), y2: y(p.high), class: `line ${s.class}` }),
          spot(at(p), y(p.value), 4, s.class, p.title ?? s.name),
        ]),
      ];
    });
    return drawing(width, height + used, `${yTitle} by ${xTitle}`, frame(width, height + used, x, y, xTitle, yTitle), legend, across, drawn);
  }

  return { histogram, curves, points, scatter, bars, dots, levels, shortened };
})();
