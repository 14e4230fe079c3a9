"use strict";

/* a warped onto b: with an opacity and an edge to swipe, or as a checkerboard. The browser's compositor does the warping. */
(function () {
  const { el, t } = Report;
  const state = { opacity: 60, swipe: 100, tile: 96 };

  function stage(pair, note) {
    const photoA = Report.photograph(pair, "a");
    const photoB = Report.photograph(pair, "b");
    photoA.classList.add("warped");
    const layer = el("div.layer", {}, photoA);
    const edge = el("div.edge");
    const made = el("div.stage", { id: "stage" }, photoB, layer, edge);
    made.style.aspectRatio = pair.imageB.size[0] + " / " + pair.imageB.size[1];
    made.style.setProperty("--shape", String(pair.imageB.size[0] / pair.imageB.size[1]));

    function fit() {
      const scale = made.clientWidth / pair.imageB.size[0];
      const [w, h] = pair.imageA.size;
      photoA.style.width = w * scale + "px";
      photoA.style.height = h * scale + "px";
      const m = Report.geometry.edgeMatrix(pair.map, scale, scale);
      const columns = [m[0], m[3], 0, m[6], m[1], m[4], 0, m[7], 0, 0, 1, 0, m[2], m[5], 0, m[8]];
      photoA.style.transform = "matrix3d(" + columns.map((value) => value.toPrecision(12)).join(",") + ")";
    }

    const box = el("div", {}, note.controls, el("div.plate-box", {}, made, el("div.captions", {}, Report.caption(pair, "a"), Report.caption(pair, "b"))), el("p.status", {}, note.help));
    box.leave = Report.parts.onResize(made, fit);
    box.enter = () => {
      fit();
      note.apply(layer, edge);
    };
    return { box, layer, edge, made };
  }

  function without() {
    return el("p.calm.wide-note", {}, t("no_warp"));
  }

  Report.views.overlay = function (pair) {
    if (!pair.map) return without();
    const apply = () => {
      view.layer.style.opacity = String(state.opacity / 100);
      view.layer.style.clipPath = "inset(0 " + (100 - state.swipe) + "% 0 0)";
      view.edge.style.left = state.swipe + "%";
      view.edge.hidden = state.swipe <= 0 || state.swipe >= 100;
    };
    const percent = (value) => Math.round(value) + " %";
    const opacity = Report.parts.slider(t("opacity"), { id: "opacity", min: 0, max: 100, step: 1, value: state.opacity, show: percent }, (value) => {
      state.opacity = value;
      apply();
    });
    const swipe = Report.parts.slider(t("swipe"), { id: "swipe", min: 0, max: 100, step: 0.5, value: state.swipe, show: percent }, (value) => {
      state.swipe = value;
      apply();
    });
    const view = stage(pair, { controls: el("div.controls", {}, opacity, swipe), help: t("overlay_help"), apply });
    const drag = (event) => {
      const box = view.made.getBoundingClientRect();
      state.swipe = Math.min(100, Math.max(0, (100 * (event.clientX - box.left)) / box.width));
      swipe.set(state.swipe);
      apply();
    };
    view.made.classList.add("swiped");
    view.made.addEventListener("pointerdown", (event) => {
      view.made.setPointerCapture(event.pointerId);
      drag(event);
    });
    view.made.addEventListener("pointermove", (event) => event.buttons & 1 && drag(event));
    return view.box;
  };

  Report.views.checker = function (pair) {
    if (!pair.map) return without();
    const apply = () => {
      const size = 2 * state.tile + "px " + 2 * state.tile + "px";
      for (const name of ["maskImage", "webkitMaskImage"]) view.layer.style[name] = "repeating-conic-gradient(#000 0 25%, transparent 0 50%)";
      for (const name of ["maskSize", "webkitMaskSize"]) view.layer.style[name] = size;
      view.edge.hidden = true;
    };
    const tile = Report.parts.slider(t("tile"), { id: "tile", min: 24, max: 240, step: 4, value: state.tile, show: (value) => value + " px" }, (value) => {
      state.tile = value;
      apply();
    });
    const view = stage(pair, { controls: el("div.controls", {}, tile), help: t("checker_help"), apply });
    return view.box;
  };
})();
