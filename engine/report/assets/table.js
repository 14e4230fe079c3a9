"use strict";

/* The table of pairs: sorted, filtered, with only the rows on the screen in the page. */
(function () {
  const { el, t } = Report;
  const ROW_PX = 60;
  const SPARE = 6;
  const COLUMNS = [
    ["a", "photograph_a", "name"], ["b", "photograph_b", "name"], ["i", "inliers", ""], ["share", "share", "minor"],
    ["m", "matches", "minor"], ["e", "error", "minor"], ["c", "similarity", "minor"], ["p", "verdict", "minor"],
  ];
  const state = { text: "", least: 0, group: "", model: false, same: false, sort: "", down: true };
  const place = { top: 0, active: 0 };
  let order = null;

  function value(row, column) {
    const pairs = Report.get("pairs");
    if (column === "share") return pairs.i[row] < 0 ? -1 : pairs.i[row] / Math.max(1, pairs.m[row]);
    return pairs[column][row];
  }

  /* Rows that pass the filter, in the order asked for. Equal ones keep the order of their photographs. */
  function select() {
    const pairs = Report.get("pairs");
    const images = Report.get("run").images;
    state.sort = state.sort || (pairs.p ? "p" : "i");
    const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
    const named = images.map((image) => (image.key + " " + image.file).toLowerCase());
    const fits = words.map((word) => named.map((name) => name.includes(word)));
    const [from, to] = state.group.split("\n");
    const count = pairs.a.length;
    const rows = new Uint32Array(count);
    const keys = new Float64Array(count);
    const lowest = state.down ? -Infinity : Infinity;
    let found = 0;
    for (let row = 0; row < count; row += 1) {
      const [a, b] = [pairs.a[row], pairs.b[row]];
      if (state.model && pairs.i[row] < 0) continue;
      if (state.same && (pairs.p[row] === null || !Report.format.samePlace(pairs.p[row]))) continue;
      if (state.least && pairs.i[row] < state.least) continue;
      if (state.group && (images[a].group !== from || images[b].group !== to)) continue;
      if (!fits.every((named) => named[a] || named[b])) continue;
      const key = value(row, state.sort);
      keys[row] = key === null ? lowest : key;
      rows[found] = row;
      found += 1;
    }
    const sign = state.down ? -1 : 1;
    const tie = (p, q) => pairs.a[p] - pairs.a[q] || pairs.b[p] - pairs.b[q];
    return rows.subarray(0, found).sort((p, q) => (keys[p] === keys[q] ? tie(p, q) : keys[p] < keys[q] ? -sign : sign));
  }

  /* The pairs in the order of the table: what "previous" and "next" of a pair go through. */
  Report.tableOrder = function () {
    if (!order) order = select();
    return order;
  };

  Report.showOnly = function (text) {
    Object.assign(state, { text, least: 0, group: "", model: false, same: false });
    Object.assign(place, { top: 0, active: 0 });
    order = null;
  };

  function groupPairs() {
    const pairs = Report.get("pairs");
    const images = Report.get("run").images;
    const found = new Set();
    for (let row = 0; row < pairs.a.length; row += 1) found.add(images[pairs.a[row]].group + "\n" + images[pairs.b[row]].group);
    return Array.from(found);
  }

  /* Class of a column's cells: in a narrow window the minor ones are hidden, except that which sorts. */
  const kindOf = (name) => (state.sort === name ? ".minor.sorted" : ".minor");

  function cells(row) {
    const pairs = Report.get("pairs");
    const images = Report.get("run").images;
    const { thumbnail } = Report.parts;
    const { whole, px, percent, number } = Report.format;
    const none = pairs.i[row] < 0;
    const photograph = (image) => el("span.cell.name", { role: "cell" }, thumbnail(image), el("span.names", {}, el("b", {}, images[image].key), el("small", {}, images[image].file)));
    const minor = (name, text) => el("span.cell.number" + kindOf(name), { role: "cell" }, text);
    const meter = el("i.meter" + (Report.parts.praise(row) && ".good"));
    meter.style.width = Math.min(100, (100 * Math.max(0, pairs.i[row])) / Report.parts.mostInliers()) + "%";
    const made = [
      photograph(pairs.a[row]), photograph(pairs.b[row]),
      none ? el("span.cell.number.warning", { role: "cell" }, t("no_model")) : el("span.cell.number", { role: "cell" }, el("b", {}, whole(pairs.i[row])), el("span.meter-room", {}, meter)),
      minor("share", none ? "–" : percent(pairs.i[row], pairs.m[row])), minor("m", whole(pairs.m[row])),
      minor("e", pairs.e[row] === null ? "–" : px(pairs.e[row]) + " px"), minor("c", number(pairs.c[row], 3)),
    ];
    if (pairs.p) made.push(minor("p", Report.parts.verdict(row) || "–"));
    return made;
  }

  Report.pages.pairs = function () {
    const pairs = Report.get("pairs");
    const total = pairs.a.length;
    const columns = COLUMNS.filter(([name]) => name !== "p" || pairs.p);
    const shown = new Map();
    const count = el("span.count", { id: "count", "aria-live": "polite" });
    const header = el("div.row.header", { role: "row" });
    const filler = el("div.filler", { role: "rowgroup" });
    const empty = el("p.calm", { hidden: true }, t("no_pairs"));
    const scroller = el("div.scroller", { id: "rows", tabindex: "0", role: "table", "aria-label": t("pairs"), "aria-rowcount": total + 1 }, header, filler, empty);

    function drawHeader() {
      header.replaceChildren(...columns.map(([name, label, kind]) => {
        const sorted = state.sort === name;
        const button = el("button", { type: "button", "data-sort": name, onclick: () => sortBy(name) }, t(label), el("span.sort", { "aria-hidden": "true" }, sorted ? (state.down ? " ↓" : " ↑") : ""));
        return el("span.cell" + (kind === "minor" ? kindOf(name) : kind && "." + kind), { role: "columnheader", "aria-sort": sorted ? (state.down ? "descending" : "ascending") : "none" }, button);
      }));
    }

    function sortBy(name) {
      state.down = state.sort === name ? !state.down : name !== "a" && name !== "b" && name !== "e";
      state.sort = name;
      startAgain();
    }

    function startAgain() {
      Object.assign(place, { top: 0, active: 0 });
      refresh();
    }

    /* The table as it was left, at the pair that was looked at last. */
    function comeBack() {
      const seen = Report.lastPair === undefined ? -1 : Report.tableOrder().indexOf(Report.lastPair);
      delete Report.lastPair;
      refresh();
      if (seen >= 0) goTo(seen);
    }

    /* Makes a row the active one, and scrolls as far as it takes to see it. */
    function goTo(at) {
      place.active = Math.min(order.length - 1, Math.max(0, at));
      const [top, room] = [place.active * ROW_PX, scroller.clientHeight - header.offsetHeight - ROW_PX];
      scroller.scrollTop = Math.min(top, Math.max(scroller.scrollTop, top - room));
      drawSoon();
    }

    function refresh() {
      order = select();
      shown.forEach((element) => element.remove());
      shown.clear();
      drawHeader();
      made.classList.toggle("sorted-by-minor", columns.some(([name, , kind]) => name === state.sort && kind === "minor"));
      filler.style.height = order.length * ROW_PX + "px";
      place.active = Math.min(place.active, Math.max(0, order.length - 1));
      scroller.scrollTop = place.top;
      count.textContent = t("of_pairs", { n: Report.format.whole(order.length), all: Report.format.whole(total) });
      empty.hidden = order.length > 0;
      drawRows();
    }

    function drawRows() {
      const top = scroller.scrollTop;
      const from = Math.max(0, Math.floor(top / ROW_PX) - SPARE);
      const to = Math.min(order.length, Math.ceil((top + scroller.clientHeight) / ROW_PX) + SPARE);
      for (const [at, element] of shown)
        if (at < from || at >= to) {
          element.remove();
          shown.delete(at);
        }
      for (let at = from; at < to; at += 1) {
        if (shown.has(at)) continue;
        const row = order[at];
        const element = el("a.row", { role: "row", href: "#/pair/" + row, "aria-rowindex": at + 2, "aria-label": Report.parts.pairName(row), tabindex: "-1", "data-row": row }, cells(row));
        element.style.transform = "translateY(" + at * ROW_PX + "px)";
        shown.set(at, element);
        filler.append(element);
      }
      shown.forEach((element, at) => element.classList.toggle("active", at === place.active && document.activeElement === scroller));
    }

    const drawSoon = Report.parts.perFrame(drawRows);
    scroller.addEventListener("scroll", () => {
      place.top = scroller.scrollTop;
      drawSoon();
    }, { passive: true });
    scroller.addEventListener("focus", drawSoon);
    scroller.addEventListener("blur", drawSoon);
    scroller.addEventListener("keydown", (event) => {
      if (event.target !== scroller || !order.length) return;
      const page = Math.max(1, Math.floor(scroller.clientHeight / ROW_PX) - 2);
      const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -order.length, End: order.length };
      if (event.key === "Enter") location.hash = "#/pair/" + order[place.active];
      else if (event.key in steps) {
        goTo(place.active + steps[event.key]);
      } else return;
      event.preventDefault();
    });

    const text = el("input", { type: "search", id: "filter-text", placeholder: t("filter_hint"), value: state.text, oninput: () => changed({ text: text.value }) });
    const least = el("input", { type: "number", id: "filter-least", min: "0", step: "1", value: state.least || "", placeholder: "0", oninput: () => changed({ least: Number(least.value) || 0 }) });
    const groups = groupPairs();
    const group = el("select", { id: "filter-group", onchange: () => changed({ group: group.value }) }, el("option", { value: "" }, t("all")), groups.map((name) => el("option", { value: name }, name.replace("\n", " → "))));
    group.value = state.group;
    let waiting = 0;
    function changed(values) {
      Object.assign(state, values);
      clearTimeout(waiting);
      waiting = setTimeout(startAgain, total > 20000 ? 120 : 0);
    }
    const model = Report.parts.check(t("only_model"), "filter-model", state.model, (on) => changed({ model: on }));
    const same = pairs.p ? Report.parts.check(t("only_same"), "filter-same", state.same, (on) => changed({ same: on })) : null;
    const reset = el("button", { type: "button", id: "filter-clear", onclick: () => {
      Report.showOnly("");
      text.value = least.value = group.value = "";
      for (const box of [model, same]) if (box) box.querySelector("input").checked = false;
      startAgain();
    } }, t("reset"));
    const made = el(
      "div.table-page" + (pairs.p ? ".with-verdict" : ""), {},
      el("div.controls", {},
        el("label.field", {}, el("span", {}, t("filter")), text), el("label.field.short", {}, el("span", {}, t("least_inliers")), least),
        groups.length > 1 ? el("label.field", {}, el("span", {}, t("altitude")), group) : null, model, same, reset, count),
      scroller,
    );
    made.leave = Report.parts.onResize(scroller, drawRows);
    made.enter = comeBack;
    made.focusPlace = scroller;
    return made;
  };
})();
