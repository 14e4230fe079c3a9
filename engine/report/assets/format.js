"use strict";

/* Numbers as people read them, colours of the scale, and 3 x 3 matrices (row-major, nine numbers). */
(function () {
  const number = (value, digits) =>
    value === null || value === undefined || !Number.isFinite(value)
      ? "–"
      : value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });

  const whole = (value) => number(value, 0);

  /* Pixels with the digits that matter. */
  const px = (value) => number(value, value < 10 ? 2 : value < 1000 ? 1 : 0);

  const percent = (part, all) => (all ? Math.round((100 * part) / all) + " %" : "–");

  /* What a verdict's probability says, and how sure it is of it: never 1, which no verdict is. */
  const samePlace = (probability) => probability >= 0.5;
  const certainty = (probability) => number(Math.min(0.99, Math.max(probability, 1 - probability)), 2);

  function milliseconds(value) {
    if (value === null || value === undefined) return ["–", ""];
    return value < 1000 ? [number(value, value < 10 ? 1 : 0), "ms"] : [number(value / 1000, 1), "s"];
  }

  /* Three lines of three numbers, of no more width than five digits of each need: it stands in a narrow column. */
  function matrixText(matrix) {
    const words = matrix.map((value) => (value && Math.abs(value) < 1e-3 ? value.toExponential(3) : value.toPrecision(5)));
    const width = (col) => Math.max(...[0, 1, 2].map((row) => words[3 * row + col].length));
    const line = (row) => [0, 1, 2].map((col) => words[3 * row + col].padStart(width(col))).join(" ");
    return [0, 1, 2].map(line).join("\n");
  }

  /* Colour "#rrggbb" of a share 0 to 1 on the scale of the program's pictures. */
  function colour(share) {
    const scale = Report.get("run").scale;
    return scale[Math.round(Math.min(1, Math.max(0, share || 0)) * (scale.length - 1))];
  }

  function multiply(p, q) {
    const made = [];
    for (let row = 0; row < 3; row += 1)
      for (let col = 0; col < 3; col += 1)
        made.push(p[3 * row] * q[col] + p[3 * row + 1] * q[3 + col] + p[3 * row + 2] * q[6 + col]);
    return made;
  }

  function invert(m) {
    const [a, b, c, d, e, f, g, h, i] = m;
    const cofactors = [e * i - f * h, c * h - b * i, b * f - c * e, f * g - d * i, a * i - c * g, c * d - a * f, d * h - e * g, b * g - a * h, a * e - b * d];
    const determinant = a * cofactors[0] + b * cofactors[3] + c * cofactors[6];
    return Math.abs(determinant) < 1e-300 ? null : cofactors.map((value) => value / determinant);
  }

  /* The point that (x, y) is mapped to; null where it lies beyond the horizon, seen from `inside`. */
  function project(m, x, y, inside) {
    const depth = m[6] * x + m[7] * y + m[8];
    const sign = inside ? Math.sign(m[6] * inside[0] + m[7] * inside[1] + m[8]) : Math.sign(depth);
    if (depth * sign <= 1e-9) return null;
    return [(m[0] * x + m[1] * y + m[2]) / depth, (m[3] * x + m[4] * y + m[5]) / depth];
  }

  /* The map between pixel edges at another scale, from the map between pixel centres: (0, 0) is the first pixel's centre. */
  function edgeMatrix(m, scaleA, scaleB) {
    const fromCss = [1 / scaleA, 0, -0.5, 0, 1 / scaleA, -0.5, 0, 0, 1];
    const toCss = [scaleB, 0, 0.5 * scaleB, 0, scaleB, 0.5 * scaleB, 0, 0, 1];
    return multiply(toCss, multiply(m, fromCss));
  }

  /* Rotation (degrees, clockwise) and scale of a map near a point. */
  function localMotion(m, x, y) {
    const centre = project(m, x, y);
    const right = project(m, x + 1, y);
    const down = project(m, x, y + 1);
    if (!centre || !right || !down) return null;
    const [ux, uy, vx, vy] = [right[0] - centre[0], right[1] - centre[1], down[0] - centre[0], down[1] - centre[1]];
    return {
      rotation: (Math.atan2(uy - vx, ux + vy) * 180) / Math.PI,
      scale: Math.sqrt(Math.abs(ux * vy - uy * vx)),
    };
  }

  Report.format = { number, whole, px, percent, samePlace, certainty, milliseconds, matrixText, colour };
  Report.geometry = { multiply, invert, project, edgeMatrix, localMotion };
})();
