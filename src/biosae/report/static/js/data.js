// Shards: scripts that call biosae.receive(name, text), where text is base64 of gzipped JSON.
"use strict";

const biosae = (() => {
  const MOST_KEPT = 32; // decoded shards; older ones are loaded again when needed
  const texts = new Map(); // name -> text that came before anyone asked
  const kept = new Map(); // name -> promise of content, least recently used first
  const waiting = new Map(); // name -> resolve
  const arrays = new WeakMap();
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
    const binary = atob(base64);
    const out = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) out[i] = binary.charCodeAt(i);
    return out;
  }

  function decode(base64) {
    const stream = new Blob([bytes(base64)]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  }

  // The typed array of a packed array, unpacked once.
  function array(packed) {
    let out = arrays.get(packed);
    if (!out) {
      out = new types[packed.dtype](bytes(packed.base64).buffer);
      arrays.set(packed, out);
    }
    return out;
  }

  // The i-th part of a packed ragged array.
  const part = (offsets, packed, i) => array(packed).subarray(array(offsets)[i], array(offsets)[i + 1]);

  return { receive, load, array, part };
})();
