// Elements and numbers. Text always becomes a text node: nothing from a file is read as markup.
"use strict";

const dom = (() => {
  const SVG = "http://www.w3.org/2000/svg";

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes ?? {})) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  }

  const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
  const route = (...parts) => "#/" + parts.map((part) => encodeURIComponent(part)).join("/");
  const link = (href, text, attributes) => el("a", { href, ...attributes }, text);

  function number(value, digits = 3) {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    if (Number.isInteger(value)) return value.toLocaleString("en");
    const size = Math.abs(value);
    if (size !== 0 && (size < 0.001 || size >= 1e6)) return value.toExponential(1).replace("e-", "e−").replace("e+", "e");
    return size >= 10 ** digits - 0.5 ? Math.round(value).toLocaleString("en") : value.toPrecision(digits).replace("-", "−");
  }

  const fixed = (value, digits = 2) => (value === null || value === undefined || Number.isNaN(value) ? "–" : value.toFixed(digits).replace("-", "−"));
  const percent = (value) => (value === null || Number.isNaN(value) ? "–" : `${number(100 * value, 2)} %`);
  const plurals = (noun) => (/(s|x|ch|sh)$/.test(noun) ? `${noun}es` : /[^aeiou]y$/.test(noun) ? `${noun.slice(0, -1)}ies` : `${noun}s`);
  const plural = (n, noun) => `${n.toLocaleString("en")} ${n === 1 ? noun : plurals(noun)}`;
  // A column of obs or of scores.csv as words: cell_type, biosae_part.
  const words = (name) => name.replace(/^biosae_/, "").replaceAll("_", " ");
  const when = (time) => (/^\d{4}-\d\d-\d\dT\d\d:\d\d/.test(time) ? `${time.slice(0, 10)} ${time.slice(11, 16)} UTC` : time);

  return { el, svg, route, link, number, fixed, percent, plural, words, when };
})();
