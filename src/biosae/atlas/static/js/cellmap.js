// The 2-D map of cells on a canvas, coloured by a feature's activation or by a category.
"use strict";

const cellmap = (() => {
  const { el, svg, number } = dom;
  const STEPS = 24;
  const SMALL = 1.5; // px; a point under this radius is a square of pixels, which is many times quicker than a path
  const MOST_NAMES = 20; // written on the map; the legend has more
  const GREY = 255; // category of a missing value
  // Okabe and Ito's colours first, then Tol's muted ones
  const PALETTE = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#882255", "#44aa99", "#999933", "#332288", "#aa4499", "#88ccee", "#661100", "#6699cc"];

  const color = (i) => PALETTE[i % PALETTE.length];
  const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const channels = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

  function ramp() {
    const stops = ["--ramp-0", "--ramp-1", "--ramp-2", "--ramp-3"].map(variable).map(channels);
    return Array.from({ length: STEPS }, (_, step) => {
      const at = (step / (STEPS - 1)) * (stops.length - 1);
      const i = Math.min(stops.length - 2, Math.floor(at));
      return "#" + stops[i].map((c, k) => Math.round(c + (stops[i + 1][k] - c) * (at - i)).toString(16).padStart(2, "0")).join("");
    });
  }

  // Of n points the level of each, from the i-th part of a shard's points; zero where the feature is silent.
  function levelsOf({ offsets, index, level }, i, n) {
    const levels = new Uint8Array(n);
    const own = biosae.part(offsets, level, i);
    biosae.part(offsets, index, i).forEach((point, k) => (levels[point] = own[k]));
    return levels;
  }

  // Levels stretched between the first and last percentile of the active cells, so that shades tell them apart.
  function stretched(levels) {
    const active = levels.filter((level) => level > 0).sort();
    const at = (share) => active[Math.floor(share * (active.length - 1))] ?? 0;
    const [low, high] = [at(0.01), at(0.99)];
    const wide = high > low;
    const out = levels.map((level) => (level ? (wide ? Math.max(1, Math.min(255, Math.round((254 * (level - low)) / (high - low)) + 1)) : 128) : 0));
    return { levels: out, low: low / 255, high: high / 255 };
  }

  // Points in drawing order, as [colour, indices]: grey first, the brightest last.
  function layers(n, paint) {
    const grey = variable("--ramp-zero");
    const groups = new Map();
    const put = (key, i) => (groups.has(key) ? groups.get(key).push(i) : groups.set(key, [i]));
    if (paint.levels) {
      const colors = ramp();
      for (let i = 0; i < n; i++) put(paint.levels[i] ? Math.floor((paint.levels[i] / 256) * STEPS) : -1, i);
      return [...groups.keys()].sort((a, b) => a - b).map((key) => [key < 0 ? grey : colors[key], groups.get(key)]);
    }
    for (let i = 0; i < n; i++) put(paint.category[i], i);
    return [...groups].sort(([a], [b]) => (b === GREY) - (a === GREY)).map(([key, members]) => [key === GREY ? grey : color(key), members]);
  }

  const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];

  // Where the names of categories stand: in the middle of their points, moved down where two would overlap.
  function placed(entries, width) {
    const done = [];
    for (const entry of entries.sort((a, b) => a.y - b.y)) {
      const half = Math.min(width / 2, 4.6 * entry.text.length); // of 12 px bold capitals: a name at the edge stays whole
      entry.x = Math.min(Math.max(entry.x, half), width - half);
      for (const other of done) if (Math.abs(entry.x - other.x) < 3.4 * (entry.text.length + other.text.length) && entry.y - other.y < 14) entry.y = other.y + 14;
      done.push(entry);
    }
    return done;
  }

  // map: {x, y} in 65,536ths, method; paint: stretched levels or {category, names}; describe(i) is the tooltip's text
  function make({ map, paint, describe, height: tallest = 400, title = "Map of cells" }) {
    const canvas = el("canvas", { role: "img", "aria-label": title });
    const tip = el("div", { class: "tip", hidden: true });
    const holder = el("div", { class: "map" }, canvas, tip);
    const { x, y } = map;
    let size = { width: 0, height: tallest, scale: 1, left: 0, top: 0 };

    const px = (i) => size.left + (x[i] / 65535) * size.scale;
    const py = (i) => size.top + size.scale - (y[i] / 65535) * size.scale;
    const radius = () => Math.max(0.7, Math.min(3.2, 130 / Math.sqrt(x.length)) * Math.min(1, size.scale / 340));

    function place(width) {
      const height = Math.min(tallest, Math.round(1.05 * width));
      const [spanX, spanY] = [x, y].map((values) => values.reduce((a, b) => Math.max(a, b), 0) / 65535 || 1);
      const scale = Math.min((width - 16) / spanX, (height - 16) / spanY);
      size = { width, height, scale, left: (width - scale * spanX) / 2, top: (height - scale * spanY) / 2 - scale * (1 - spanY) };
    }

    function draw() {
      if (!size.width) return;
      const ratio = window.devicePixelRatio || 1;
      canvas.width = size.width * ratio;
      canvas.height = size.height * ratio;
      canvas.style.width = `${size.width}px`;
      canvas.style.height = `${size.height}px`;
      const context = canvas.getContext("2d", { willReadFrequently: true }); // drawn by the processor: small points are pixels
      const groups = layers(x.length, paint);
      if (radius() < SMALL) squares(context, groups, ratio);
      else circles(context, groups, ratio);
      write(context, ratio);
    }

    function names() {
      if (!paint.names || paint.names.length > MOST_NAMES) return [];
      const members = paint.names.map(() => []);
      for (let i = 0; i < x.length; i++) members[paint.category[i]]?.push(i);
      const entries = members.map((own, k) => own.length && { text: paint.names[k], x: median(own.map(px)), y: median(own.map(py)) });
      return placed(entries.filter(Boolean), size.width);
    }

    function write(context, ratio) {
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      Object.assign(context, { font: `600 12px ${getComputedStyle(canvas).fontFamily}`, textAlign: "center", textBaseline: "middle", lineJoin: "round", lineWidth: 4 });
      Object.assign(context, { strokeStyle: variable("--card"), fillStyle: variable("--text") });
      for (const { text, x: left, y: top } of names()) {
        context.strokeText(text, left, top);
        context.fillText(text, left, top);
      }
    }

    function squares(context, groups, ratio) {
      const image = context.createImageData(canvas.width, canvas.height);
      const pixels = new Uint32Array(image.data.buffer);
      const side = Math.max(1, Math.round(2 * radius() * ratio));
      for (const [fill, members] of groups) {
        const [red, green, blue] = channels(fill);
        const value = ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
        for (const i of members) {
          const start = Math.round(py(i) * ratio - side / 2) * canvas.width + Math.round(px(i) * ratio - side / 2);
          for (let line = 0; line < side; line++) pixels.fill(value, start + line * canvas.width, start + line * canvas.width + side);
        }
      }
      context.putImageData(image, 0, 0);
    }

    function circles(context, groups, ratio) {
      const r = radius();
      context.scale(ratio, ratio);
      for (const [fill, members] of groups) {
        context.fillStyle = fill;
        context.beginPath();
        for (const i of members) {
          context.moveTo(px(i) + r, py(i));
          context.arc(px(i), py(i), r, 0, 2 * Math.PI);
        }
        context.fill();
      }
    }

    function nearest(event) {
      const box = canvas.getBoundingClientRect();
      const [mx, my] = [event.clientX - box.left, event.clientY - box.top];
      let [best, distance] = [-1, 12 ** 2];
      for (let i = 0; i < x.length; i++) {
        const d = (px(i) - mx) ** 2 + (py(i) - my) ** 2;
        if (d < distance) [best, distance] = [i, d];
      }
      return { i: best, mx, my };
    }

    if (describe) canvas.addEventListener("pointermove", (event) => {
      const { i, mx, my } = nearest(event);
      tip.hidden = i < 0;
      if (i < 0) return;
      tip.textContent = describe(i);
      tip.style.left = `${Math.min(mx + 12, size.width - 180)}px`;
      tip.style.top = `${my + 12}px`;
    });
    canvas.addEventListener("pointerleave", () => (tip.hidden = true));
    new ResizeObserver(([entry]) => {
      place(entry.contentRect.width);
      draw();
    }).observe(holder);
    window.addEventListener("theme", () => holder.isConnected && draw());

    function drawing() {
      const r = radius().toFixed(1);
      const groups = layers(x.length, paint).map(([fill, members]) => svg("g", { fill }, members.map((i) => svg("circle", { cx: px(i).toFixed(1), cy: py(i).toFixed(1), r }))));
      const text = { "text-anchor": "middle", "font-family": "sans-serif", "font-size": 12, "font-weight": 600, fill: variable("--text"), stroke: variable("--card"), "stroke-width": 3, "paint-order": "stroke" };
      const written = names().map((name) => svg("text", { x: name.x.toFixed(1), y: (name.y + 4).toFixed(1), ...text }, name.text));
      return svg("svg", { xmlns: "http://www.w3.org/2000/svg", viewBox: `0 0 ${size.width} ${size.height}`, width: size.width, height: size.height }, groups, written);
    }

    const svgText = () => new XMLSerializer().serializeToString(drawing());

    const repaint = (next) => ((paint = next), draw());
    return { element: holder, repaint, drawing, svgText };
  }

  // top is the value of level 255
  function legend(paint, categories, top) {
    if (paint.levels) {
      const bar = el("span", { class: "ramp" });
      return el("div", { class: "legend" }, el("span", { class: "swatch zero" }), "inactive", el("span", null, number(paint.low * top, 2)), bar, el("span", null, number(paint.high * top, 2)));
    }
    return el("div", { class: "legend" }, categories.map((name, i) => {
      const swatch = el("span", { class: "swatch" });
      swatch.style.background = color(i);
      return el("span", { class: "entry" }, swatch, name);
    }));
  }

  return { make, legend, stretched, levelsOf };
})();
