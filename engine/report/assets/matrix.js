"use strict";

/* The map of pairs: a row per photograph a, a column per photograph b, in groups of one altitude. */
(function () {
  const { el, t } = Report;
  const { layout, paint, legend, bytes, ground } = Report.cells;
  const LARGEST = 120;
  const MODES = ["inliers", "share", "similarity", "verdict"];
  /* Kept while the report is open, so that the map is found as it was left. */
  const view = { scale: 1, x: 0, y: 0 };
  const cursor = { row: 0, col: 0, shown: false };
  let fitted = true;
  let mode = "";

  Report.pages.map = function () {
    const plan = layout();
    const pairs = Report.get("pairs");
    mode = mode || (pairs.p ? "verdict" : "inliers");
    const { margin, drawLabels } = Report.mapLabels(plan, view);
    let painted = paint(mode);
    let names = [];
    let dragged = null;
    const canvas = el("canvas.plate", { id: "map", tabindex: "0", role: "application", "aria-label": t("map_label"), "aria-describedby": "map-status" });
    const status = el("p.status", { id: "map-status", "aria-live": "polite" }, t("map_help"));
    const stage = el("div.map-stage", {}, canvas);
    const legendPlace = el("div", {}, legend(painted));
    const area = () => ({ width: stage.clientWidth - margin.left - 12, height: stage.clientHeight - margin.top - 12 });
    /* Where the cells begin: a map smaller than the stage lies in its middle. */
    const origin = () => ({
      left: margin.left + Math.max(0, (area().width - plan.cols.length * view.scale) / 2),
      top: margin.top + Math.max(0, (area().height - plan.rows.length * view.scale) / 2),
    });
    const fitScale = () => Math.min(LARGEST, area().width / plan.cols.length, area().height / plan.rows.length);
    const pairAt = (row, col) => plan.cells.get(row * plan.cols.length + col);

    function fit() {
      Object.assign(view, { scale: fitScale(), x: 0, y: 0 });
      fitted = true;
      draw();
    }

    function clampView() {
      const limit = (offset, cells, room) => Math.min(0, Math.max(offset, Math.min(0, room - cells * view.scale)));
      view.x = limit(view.x, plan.cols.length, area().width);
      view.y = limit(view.y, plan.rows.length, area().height);
    }

    function zoom(factor, x, y) {
      const scale = Math.min(LARGEST, Math.max(fitScale(), view.scale * factor));
      const [from, share] = [origin(), scale / view.scale];
      view.scale = scale;
      view.x = x + from.left - origin().left - (x - view.x) * share;
      view.y = y + from.top - origin().top - (y - view.y) * share;
      fitted = scale <= fitScale();
      draw();
    }

    const draw = Report.parts.perFrame(() => {
      if (!canvas.isConnected) return;
      clampView();
      const context = Report.parts.prepare(canvas, stage.clientWidth, stage.clientHeight);
      drawCells(context);
      names = drawLabels(context, area(), origin());
      if (cursor.shown) drawCursor(context);
    });

    function drawCells(context) {
      const ratio = window.devicePixelRatio || 1;
      const [width, height] = [Math.round(area().width * ratio), Math.round(area().height * ratio)];
      if (width < 1 || height < 1) return;
      const image = context.createImageData(width, height);
      const target = new Uint32Array(image.data.buffer);
      const [scale, x, y] = [view.scale * ratio, view.x * ratio, view.y * ratio];
      const gap = scale >= 7 ? 1 : 0;
      const block = (row, col, colour) => {
        const [left, top] = [Math.round(col * scale + x), Math.round(row * scale + y)];
        const right = Math.min(width, Math.max(left + 1, Math.round((col + 1) * scale + x) - gap));
        const bottom = Math.min(height, Math.max(top + 1, Math.round((row + 1) * scale + y) - gap));
        if (right <= 0 || bottom <= 0) return;
        for (let line = Math.max(0, top); line < bottom; line += 1) target.fill(colour, line * width + Math.max(0, left), line * width + right);
      };
      const empty = bytes(ground().panel);
      const right = Math.min(width, Math.round(plan.cols.length * scale + x));
      const bottom = Math.min(height, Math.round(plan.rows.length * scale + y));
      for (let line = 0; line < bottom; line += 1) target.fill(empty, line * width, line * width + right);
      for (const at of painted.order) block(plan.row[at], plan.col[at], painted.pixels[at]);
      context.putImageData(image, Math.round(origin().left * ratio), Math.round(origin().top * ratio));
      if (view.scale >= 36) drawValues(context);
    }

    function drawValues(context) {
      context.font = "600 12px " + getComputedStyle(document.body).fontFamily;
      context.textAlign = "center";
      context.textBaseline = "middle";
      const { width, height } = area();
      const { left, top } = origin();
      for (let at = 0; at < plan.row.length; at += 1) {
        const [x, y] = [(plan.col[at] + 0.5) * view.scale + view.x, (plan.row[at] + 0.5) * view.scale + view.y];
        if (x < 0 || y < 0 || x > width || y > height) continue;
        const value = painted.values[at];
        if (Number.isNaN(value)) continue;
        const part = (value - painted.low) / (painted.high - painted.low);
        const bright = mode === "verdict" ? Report.format.samePlace(value) : (mode === "similarity" ? part : Math.sqrt(part)) > 0.55;
        context.fillStyle = bright ? "#0c0e10" : "#f0f3f7";
        const text = mode === "verdict" ? Report.format.certainty(value) : mode === "inliers" ? String(value) : mode === "share" ? Math.round(100 * value) + "%" : value.toFixed(2);
        context.fillText(text, left + x, top + y);
      }
    }

    function drawCursor(context) {
      const size = Math.max(5, view.scale);
      const { left, top } = origin();
      const x = left + (cursor.col + 0.5) * view.scale + view.x - size / 2;
      const y = top + (cursor.row + 0.5) * view.scale + view.y - size / 2;
      context.lineWidth = 2;
      context.strokeStyle = ground().bright;
      context.strokeRect(x, y, size, size);
    }

    function tell() {
      const images = Report.get("run").images;
      const row = pairAt(cursor.row, cursor.col);
      const name = images[plan.rows[cursor.row]].key + " → " + images[plan.cols[cursor.col]].key;
      if (row === undefined) {
        status.textContent = name + "  ·  " + t("not_matched");
        return;
      }
      const { whole, number } = Report.format;
      const found = pairs.i[row] < 0 ? t("no_model") : whole(pairs.i[row]) + " " + t("inliers");
      const verdict = Report.parts.verdict(row);
      status.textContent = [name, found, whole(pairs.m[row]) + " " + t("matches"), t("similarity") + " " + number(pairs.c[row], 3), verdict].filter(Boolean).join("  ·  ");
    }

    function cellAt(event) {
      const box = canvas.getBoundingClientRect();
      const { left, top } = origin();
      const [x, y] = [event.clientX - box.left - left, event.clientY - box.top - top];
      const [col, row] = [Math.floor((x - view.x) / view.scale), Math.floor((y - view.y) / view.scale)];
      const inside = x >= 0 && y >= 0 && row >= 0 && col >= 0 && row < plan.rows.length && col < plan.cols.length;
      return { x, y, row, col, inside };
    }

    function moveTo(row, col) {
      cursor.row = Math.min(plan.rows.length - 1, Math.max(0, row));
      cursor.col = Math.min(plan.cols.length - 1, Math.max(0, col));
      cursor.shown = true;
      tell();
      draw();
    }

    function open() {
      const row = pairAt(cursor.row, cursor.col);
      if (row !== undefined) location.hash = "#/pair/" + row;
    }

    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const { x, y } = cellAt(event);
      zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), x, y);
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      dragged = { x: event.clientX, y: event.clientY, from: { ...view }, moved: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (dragged) {
        const [dx, dy] = [event.clientX - dragged.x, event.clientY - dragged.y];
        dragged.moved = dragged.moved || Math.hypot(dx, dy) > 4;
        if (dragged.moved) Object.assign(view, { x: dragged.from.x + dx, y: dragged.from.y + dy });
        draw();
        return;
      }
      const at = cellAt(event);
      canvas.style.cursor = at.inside && pairAt(at.row, at.col) !== undefined ? "pointer" : "default";
      if (at.inside) moveTo(at.row, at.col);
    });
    canvas.addEventListener("pointercancel", () => (dragged = null));
    canvas.addEventListener("pointerup", (event) => {
      const click = dragged && !dragged.moved;
      dragged = null;
      const at = cellAt(event);
      if (!click || !at.inside) return;
      moveTo(at.row, at.col);
      open();
    });
    canvas.addEventListener("keydown", (event) => {
      const { width, height } = area();
      const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
      if (event.key in steps) {
        moveTo(cursor.row + steps[event.key][0], cursor.col + steps[event.key][1]);
        const reach = (cell, offset, room) => Math.min(Math.max(offset, -cell * view.scale), room - (cell + 1) * view.scale);
        view.x = reach(cursor.col, view.x, width);
        view.y = reach(cursor.row, view.y, height);
      } else if (event.key === "Enter") open();
      else if (event.key === "+" || event.key === "=") zoom(1.4, width / 2, height / 2);
      else if (event.key === "-") zoom(1 / 1.4, width / 2, height / 2);
      else if (event.key === "0") fit();
      else return;
      event.preventDefault();
    });

    const choices = MODES.filter((name) => name !== "verdict" || pairs.p).map((name) => el("option", { value: name }, t(name === "share" ? "share_long" : name === "similarity" ? "similarity_long" : name)));
    const select = el("select", { id: "map-mode", onchange: () => {
      mode = select.value;
      repaint(mode);
    } }, choices);
    select.value = mode;
    const middle = (factor) => () => zoom(factor, area().width / 2, area().height / 2);
    const controls = el(
      "div.controls", {}, el("label.field", {}, el("span", {}, t("colour_by")), select),
      el("span.buttons", {},
        el("button", { type: "button", id: "map-in", "aria-label": t("zoom_in"), title: t("zoom_in"), onclick: middle(1.6) }, "+"),
        el("button", { type: "button", id: "map-out", "aria-label": t("zoom_out"), title: t("zoom_out"), onclick: middle(1 / 1.6) }, "−"),
        el("button", { type: "button", id: "map-fit", onclick: fit }, t("fit"))),
      legendPlace,
    );
    const made = el("div.map-page", {}, controls, stage, status);
    const repaint = () => {
      painted = paint(mode);
      legendPlace.replaceChildren(legend(painted));
      draw();
    };
    const unwatch = Report.parts.onResize(stage, () => (fitted ? fit() : draw()));
    window.addEventListener("themechange", repaint);
    made.leave = () => {
      unwatch();
      window.removeEventListener("themechange", repaint);
    };
    made.focusPlace = canvas;
    made.enter = () => cursor.shown && tell();
    made.inspect = () => ({ ...view, names, cell: (row, col) => ({ x: origin().left + (col + 0.5) * view.scale + view.x, y: origin().top + (row + 0.5) * view.scale + view.y }) });
    return made;
  };
})();
