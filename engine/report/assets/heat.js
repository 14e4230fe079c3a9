"use strict";

/* Patch similarity: a patch of a, and how similar each patch of b is to it. */
(function () {
  const { el, t } = Report;
  const decoded = new Map();
  let opacity = 65;

  /* Tokens of an image: {rows, cols, dim, values: Int8Array, norms: Float32Array}. */
  function decode(image, document_) {
    if (decoded.has(image)) return decoded.get(image);
    const text = atob(document_.data);
    const values = new Int8Array(text.length);
    for (let at = 0; at < text.length; at += 1) values[at] = (text.charCodeAt(at) << 24) >> 24;
    const [rows, cols] = document_.grid;
    const { dim } = document_;
    const norms = new Float32Array(rows * cols);
    for (let token = 0; token < norms.length; token += 1) {
      let sum = 0;
      for (let at = token * dim; at < (token + 1) * dim; at += 1) sum += values[at] * values[at];
      norms[token] = Math.max(1e-9, Math.sqrt(sum));
    }
    if (decoded.size > 6) decoded.delete(decoded.keys().next().value);
    const made = { rows, cols, dim, values, norms };
    decoded.set(image, made);
    return made;
  }

  /* Cosine similarity of a token of a with every token of b, row-major. */
  function similarities(a, token, b) {
    const made = new Float32Array(b.rows * b.cols);
    const from = token * a.dim;
    for (let other = 0; other < made.length; other += 1) {
      let sum = 0;
      const to = other * b.dim;
      for (let at = 0; at < a.dim; at += 1) sum += a.values[from + at] * b.values[to + at];
      made[other] = sum / (a.norms[token] * b.norms[other]);
    }
    return made;
  }

  Report.views.heat = function (pair) {
    if (!pair.imageA.tokens || !pair.imageB.tokens) return el("p.calm.wide-note", {}, t("no_heat"));
    const photos = { a: Report.photograph(pair, "a"), b: Report.photograph(pair, "b") };
    const marks = { a: el("canvas.over", { id: "heat-a", tabindex: "0", role: "application", "aria-label": t("photograph_a"), "aria-describedby": "heat-line" }), b: el("canvas.over.quiet") };
    const colours = el("canvas.colours", { id: "heat-b" });
    colours.style.opacity = String(opacity / 100);
    const line = el("p.status", { id: "heat-line", "aria-live": "polite" }, t("loading"));
    const duo = el("div.duo", {}, el("figure", {}, el("div.panel", {}, photos.a, marks.a), Report.caption(pair, "a")), el("figure", {}, el("div.panel", {}, photos.b, colours, marks.b), Report.caption(pair, "b")));
    const ends = [el("b", {}, "–"), el("b", {}, "–")];
    const ramp = el("i.ramp");
    ramp.style.background = "linear-gradient(90deg," + [0, 0.25, 0.5, 0.75, 1].map(Report.format.colour).join(",") + ")";
    const slider = Report.parts.slider(t("heat_opacity"), { id: "heat-opacity", min: 0, max: 100, step: 1, value: opacity, show: (value) => value + " %" }, (value) => {
      opacity = value;
      colours.style.opacity = String(value / 100);
    });
    let [a, b, token, found] = [null, null, 0, null];

    function paint() {
      found = similarities(a, token, b);
      let [low, high, best] = [Infinity, -Infinity, 0];
      found.forEach((value, at) => {
        low = Math.min(low, value);
        if (value > high) [high, best] = [value, at];
      });
      colours.width = b.cols;
      colours.height = b.rows;
      const context = colours.getContext("2d");
      const image = context.createImageData(b.cols, b.rows);
      found.forEach((value, at) => {
        const rgb = parseInt(Report.format.colour((value - low) / Math.max(1e-9, high - low)).slice(1), 16);
        image.data.set([rgb >> 16, (rgb >> 8) & 255, rgb & 255, 255], 4 * at);
      });
      context.putImageData(image, 0, 0);
      ends[0].textContent = low.toFixed(2);
      ends[1].textContent = high.toFixed(2);
      line.textContent = t("heat_result", { s: high.toFixed(3) }) + "  ·  " + t("heat_help");
      marks.a.dataset.token = String(token);
      marks.b.dataset.best = String(best);
      mark(marks.a, a, token);
      mark(marks.b, b, best);
    }

    function mark(canvas, tokens, at) {
      const [width, height] = [canvas.clientWidth, canvas.clientHeight];
      const context = Report.parts.prepare(canvas, width, height);
      const [w, h] = [width / tokens.cols, height / tokens.rows];
      const [x, y] = [(at % tokens.cols) * w, Math.floor(at / tokens.cols) * h];
      for (const [size, colour] of [[5, Report.parts.COLOURS.halo], [2.4, Report.parts.COLOURS.bright]]) {
        context.lineWidth = size;
        context.strokeStyle = colour;
        context.strokeRect(x, y, w, h);
      }
    }

    function move(row, col) {
      if (!a) return;
      token = Math.min(a.rows - 1, Math.max(0, row)) * a.cols + Math.min(a.cols - 1, Math.max(0, col));
      paintSoon();
    }

    const paintSoon = Report.parts.perFrame(() => a && marks.a.isConnected && paint());
    const at = (event) => {
      const box = marks.a.getBoundingClientRect();
      move(Math.floor(((event.clientY - box.top) / box.height) * a.rows), Math.floor(((event.clientX - box.left) / box.width) * a.cols));
    };
    marks.a.addEventListener("pointerdown", (event) => {
      if (!a) return;
      marks.a.setPointerCapture(event.pointerId);
      at(event);
    });
    marks.a.addEventListener("pointermove", (event) => a && event.buttons & 1 && at(event));
    marks.a.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!step || !a) return;
      event.preventDefault();
      move(Math.floor(token / a.cols) + step[0], (token % a.cols) + step[1]);
    });

    const made = el("div", {}, el("div.controls", {}, slider), el("div.plate-box", {}, duo, el("div.legend", {}, el("span.legend-entry", {}, t("similarity"), ends[0], ramp, ends[1]))), line);
    made.leave = Report.parts.onResize(duo, () => paintSoon());
    made.enter = () => {
      Promise.all([Report.load("tokens/" + pair.a), Report.load("tokens/" + pair.b)]).then(
        ([first, second]) => {
          a = decode(pair.a, first);
          b = decode(pair.b, second);
          // Begin at the best match, where there is something to see.
          const [x, y] = pair.detail.a.length ? pair.detail.a : [pair.imageA.size[0] / 2, pair.imageA.size[1] / 2];
          move(Math.floor(((y + 0.5) * a.rows) / pair.imageA.size[1]), Math.floor(((x + 0.5) * a.cols) / pair.imageA.size[0]));
        },
        (error) => (line.textContent = t("load_failed", { file: error.message })),
      );
    };
    return made;
  };
})();
