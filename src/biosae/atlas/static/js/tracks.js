// The strongest proteins of a feature along their sequence, with what is annotated there.
"use strict";

const tracks = (() => {
  const { svg, number } = dom;
  const { part } = biosae;
  const LEFT = 8;
  const ROW = 68;
  const BAR = 20;
  const LEGIBLE = 40; // px; a shorter stretch has its name in the tooltip only

  function read(core, cells, shard, i, feature) {
    const { offsets, sample, ends, level, proteins } = shard.tracks;
    const top = core.features.max_code[feature];
    const first = offsets[i];
    return Array.from(part(offsets, sample, i), (s, k) => ({
      name: cells.names[s], levels: part(ends, level, first + k), code: (value) => (value / 255) * top, ...proteins[s],
    }));
  }

  function residue(track, position, x, y, step) {
    const value = track.levels[position];
    if (!value) return null;
    const text = `${track.name} ${track.letters[position] ?? ""}${position + 1}: activation ${number(track.code(value), 2)}`;
    return svg("rect", { x: x(position), y, width: Math.max(step, 1.2), height: BAR, class: "mark", "fill-opacity": 0.15 + (0.85 * value) / 255 }, svg("title", null, text));
  }

  function span(track, [start, end, concept], x, y, step) {
    const right = x(end - 1) + step;
    return svg("g", null,
      svg("line", { x1: x(start - 1), x2: Math.max(right, x(start - 1) + 2), y1: y, y2: y, class: "interval" }),
      right - x(start - 1) > LEGIBLE && svg("text", { x: x(start - 1), y: y + 13, class: "tick" }, charts.shortened(concept, right - x(start - 1))),
      svg("title", null, `${concept}: ${start} to ${end}`));
  }

  function row(track, n, width) {
    const y = n * ROW + 18;
    const step = (width - 2 * LEFT) / track.levels.length;
    const x = (position) => LEFT + position * step;
    return svg("g", null,
      svg("text", { x: LEFT, y: y - 5, class: "tick" }, `${track.name}, ${number(track.levels.length)} residues`),
      svg("line", { x1: LEFT, x2: width - LEFT, y1: y + BAR, y2: y + BAR, class: "axis" }),
      Array.from(track.levels, (_, position) => residue(track, position, x, y, step)),
      track.spans.map((one) => span(track, one, x, y + BAR + 7, step)));
  }

  function make(core, cells, shard, i, feature) {
    if (!shard.tracks) return null;
    const shown = read(core, cells, shard, i, feature);
    if (!shown.length) return null;
    const height = shown.length * ROW;
    const annotated = shown.some((track) => track.spans.length);
    return figure.make({
      title: "Where along the sequence", name: `feature-${feature}-residues`,
      draw: (width) => svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "activation along the sequence" }, shown.map((track, n) => row(track, n, width))),
      rows: () => [["protein", "position", "residue", "activation"], ...shown.flatMap((track) => Array.from(track.levels, (value, p) => [track.name, p + 1, track.letters[p] ?? "", track.code(value)]))],
      note: `The proteins with the largest activation; the fuller the colour, the stronger.${annotated ? " Lines below: annotated sites and domains." : ""}`,
    });
  }

  return { make };
})();
