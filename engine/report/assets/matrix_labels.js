"use strict";

/* The names along the map of pairs: of groups always, of photographs once there is room for them. */
(function () {
  const { el } = Report;
  const GROUPS = { left: 92, top: 34 };
  const NAME_PX = { smallest: 16, longest: 76 };

  /* What a photograph is called within its group. */
  function nameOf(image) {
    const { key, group } = Report.get("run").images[image];
    return group && key.startsWith(group) ? key.slice(group.length + 1) : key;
  }

  /* Room for the names of groups, and beside it for those of photographs; names too long for it are cut. */
  function margins(plan) {
    const context = el("canvas").getContext("2d");
    context.font = "12px " + getComputedStyle(document.body).fontFamily;
    const longest = (images) => Math.min(NAME_PX.longest, images.reduce((most, image) => Math.max(most, context.measureText(nameOf(image)).width), 0)) + 10;
    return { left: GROUPS.left + longest(plan.rows), top: GROUPS.top + longest(plan.cols) };
  }

  Report.mapLabels = function (plan, view) {
    const { ground } = Report.cells;
    const margin = margins(plan);

    /* Draws all of them; returns the names of photographs shown along the rows. */
    function drawLabels(context, { width, height }, { left, top }) {
      context.fillStyle = ground().dim;
      context.strokeStyle = ground().bright;
      context.textBaseline = "middle";
      const within = (group, offset, room) => {
        const from = Math.max(0, group.from * view.scale + offset);
        const to = Math.min(room, group.to * view.scale + offset);
        return to - from > 0 ? { from, to, middle: (from + to) / 2 } : null;
      };
      const label = (text, x, y, room) => {
        let shown = text;
        while (shown.length > 1 && context.measureText(shown).width > room) shown = shown.slice(0, -2) + "…";
        if (context.measureText(shown).width <= room) context.fillText(shown, x, y);
      };
      const named = view.scale >= NAME_PX.smallest;
      const [groupsLeft, groupsTop] = named ? [left - (margin.left - GROUPS.left), top - (margin.top - GROUPS.top)] : [left, top];
      const names = named ? drawNames(context, label, { width, height }, { left, top }) : [];
      context.font = "13px " + getComputedStyle(document.body).fontFamily;
      context.textAlign = "center";
      let last = -Infinity;
      for (const group of plan.colGroups) {
        const span = within(group, view.x, width);
        if (!span) continue;
        if (span.to - span.from > 14) label(group.name, left + span.middle, groupsTop - GROUPS.top / 2, span.to - span.from - 4);
        if (group.from && span.from > 0 && span.from - last > 3) line(left + span.from, groupsTop - 8, left + span.from, top + Math.min(height, plan.rows.length * view.scale));
        last = span.from;
      }
      context.textAlign = "right";
      last = -Infinity;
      for (const group of plan.rowGroups) {
        const span = within(group, view.y, height);
        if (!span) continue;
        if (span.to - span.from > 12) label(group.name, groupsLeft - 12, top + span.middle, GROUPS.left - 18);
        if (group.from && span.from > 0 && span.from - last > 3) line(groupsLeft - 8, top + span.from, left + Math.min(width, plan.cols.length * view.scale), top + span.from);
        last = span.from;
      }
      return names;

      function line(x0, y0, x1, y1) {
        context.globalAlpha = 0.6;
        context.lineWidth = 1;
        context.beginPath();
        context.moveTo(Math.round(x0) - 0.5, Math.round(y0) - 0.5);
        context.lineTo(Math.round(x1) - 0.5, Math.round(y1) - 0.5);
        context.stroke();
        context.globalAlpha = 1;
      }
    }

    /* Names of photographs along the cells; those of columns stand upright where cells are too narrow for them. */
    function drawNames(context, label, { width, height }, { left, top }) {
      context.font = "12px " + getComputedStyle(document.body).fontFamily;
      const shown = (count, offset, room) => [Math.max(0, Math.floor(-offset / view.scale)), Math.min(count, Math.ceil((room - offset) / view.scale))];
      const [firstCol, lastCol] = shown(plan.cols.length, view.x, width);
      const across = view.scale >= margin.top - GROUPS.top;
      for (let col = firstCol; col < lastCol; col += 1) {
        const x = (col + 0.5) * view.scale + view.x;
        if (x < 0 || x > width) continue;
        context.save();
        context.translate(left + x, top - (across ? 12 : 7));
        if (!across) context.rotate(-Math.PI / 2);
        context.textAlign = across ? "center" : "left";
        label(nameOf(plan.cols[col]), 0, 0, across ? view.scale - 4 : NAME_PX.longest);
        context.restore();
      }
      context.textAlign = "right";
      const [firstRow, lastRow] = shown(plan.rows.length, view.y, height);
      for (let row = firstRow; row < lastRow; row += 1) {
        const y = (row + 0.5) * view.scale + view.y;
        if (y >= 0 && y <= height) label(nameOf(plan.rows[row]), left - 7, top + y, NAME_PX.longest);
      }
      return plan.rows.slice(firstRow, lastRow).map(nameOf);
    }

    return { margin, drawLabels };
  };
})();
