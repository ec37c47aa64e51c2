// Shards: scripts that call biosae.receive(name, text), where text is base64 of gzip: a JSON text and the arrays it refers to.
"use strict";

const biosae = (() => {
  const MOST_KEPT = 32; // decoded shards; older ones are loaded again when needed
  const texts = new Map(); // name -> text that came before anyone asked
  const kept = new Map(); // name -> promise of content, least recently used first
  const waiting = new Map(); // name -> resolve
  const types = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, i4: Int32Array, f4: Float32Array };

  function receive(name, text) {
    const resolve = waiting.get(name);
    if (!resolve) return texts.set(name, text);
    waiting.delete(name);
    resolve(text);
  }

  function load(name) {
    const known = kept.get(name);
    if (known) kept.delete(name);
    const content = known ?? text(name).then(decode);
    kept.set(name, content);
    content.catch(() => kept.delete(name));
    if (kept.size > MOST_KEPT) kept.delete([...kept.keys()].find((key) => key.includes("-")));
    return content;
  }

  function text(name) {
    if (texts.has(name)) return Promise.resolve(texts.get(name));
    return new Promise((resolve, reject) => {
      waiting.set(name, resolve);
      const script = document.createElement("script");
      script.src = `data/${name}.js`;
      script.onload = () => script.remove();
      script.onerror = () => reject(new Error(`data/${name}.js is missing: keep the report's folder whole`));
      document.head.append(script);
    });
  }

  function bytes(base64) {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
    const binary = atob(base64);
    const out = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) out[i] = binary.charCodeAt(i);
    return out;
  }

  async function decode(base64) {
    const stream = new Blob([bytes(base64)]).stream().pipeThrough(new DecompressionStream("gzip"));
    const buffer = await new Response(stream).arrayBuffer();
    const length = new Uint32Array(buffer, 0, 1)[0];
    const content = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    return withArrays(content, buffer, 4 + length);
  }

  // The content with every reference {dtype, at, n} replaced by the typed array that lies there.
  function withArrays(node, buffer, start) {
    if (node === null || typeof node !== "object") return node;
    if (node.dtype in types && "at" in node) return new types[node.dtype](buffer, start + node.at, node.n);
    if (Array.isArray(node) && typeof node[0] !== "object") return node; // thousands of names
    for (const key of Object.keys(node)) node[key] = withArrays(node[key], buffer, start);
    return node;
  }

  // The i-th part of a ragged array.
  const part = (offsets, values, i) => values.subarray(offsets[i], offsets[i + 1]);

  return { receive, load, part };
})();
