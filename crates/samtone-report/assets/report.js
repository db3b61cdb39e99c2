"use strict";

// Makes every drawing of the page interactive. The markup is complete without this script; texts
// of data sets enter the page through textContent alone.

const SVG = "http://www.w3.org/2000/svg";
const MOST_ZOOM = 400;
/** How near, in pixels, the pointer must come to a point. */
const REACH = 28;
/** Pixels left of an axis, at least. */
const LEAST_MARGIN = 52;
/** Most series that are named at once beside the pointer. */
const MOST_NAMED = 8;
/** Tables with more rows can be filtered. */
const FEW_ROWS = 12;
/** Queries that are shown at first. */
const FEW_QUERIES = 20;
/** Milliseconds between two questions for what is new. */
const ASK_EVERY = 1500;

// ---------------------------------------------------------------------------------------------
// Elements

/** An HTML element with attributes and children; strings become text. */
function html(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

// ---------------------------------------------------------------------------------------------
// Scales and numbers, as in scale.rs and theme.rs

function ticks(low, high, target) {
  const span = high - low;
  if (!(span > 0)) return [];
  const rough = span / Math.max(1, target);
  const power = 10 ** Math.floor(Math.log10(rough));
  const ratio = rough / power;
  const step = (ratio < 1.41 ? 1 : ratio < 3.16 ? 2 : ratio < 7.07 ? 5 : 10) * power;
  const out = [];
  for (let i = Math.ceil(low / step - 1e-9); i <= Math.floor(high / step + 1e-9); i++) {
    out.push([i * step, tickText(i * step, step)]);
  }
  return out;
}

function tickText(value, step) {
  const size = Math.max(step, Math.abs(value) / 10);
  if (size < 1e-4) return value.toExponential(1).replaceAll("-", "−");
  const [divisor, suffix] = size >= 1e6 ? [1e6, "M"] : size >= 1e3 ? [1e3, "k"] : [1, ""];
  const decimals = Math.min(12, Math.max(0, Math.ceil(-Math.log10(step / divisor) - 1e-9)));
  return ((value / divisor).toFixed(decimals) + suffix).replace(/^-(?=[0.]*\D*$)/, "").replaceAll("-", "−");
}

function number(value) {
  const size = Math.abs(value);
  let text;
  if (!Number.isFinite(value)) return "–";
  else if (value === 0 || (size >= 1e-3 && size < 10)) text = value.toFixed(4);
  else if (size < 1e-3) text = value.toExponential(2);
  else if (size >= 1e4 || Number.isInteger(value)) text = grouped(Math.round(value));
  else text = value.toFixed(1);
  return text.replaceAll("-", "−");
}

function grouped(value) {
  return String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/** A circle, triangle, square or diamond around the origin. */
function pointPath(series, r) {
  const at = (v) => Math.round(v * 100) / 100;
  switch (series % 4) {
    case 0: return `M${r} 0A${r} ${r} 0 1 1 ${-r} 0A${r} ${r} 0 1 1 ${r} 0Z`;
    case 1: return `M0 ${at(-1.3 * r)}L${at(1.15 * r)} ${at(0.85 * r)}H${at(-1.15 * r)}Z`;
    case 2: return `M${at(-0.9 * r)} ${at(-0.9 * r)}H${at(0.9 * r)}V${at(0.9 * r)}H${at(-0.9 * r)}Z`;
    default: return `M0 ${at(-1.3 * r)}L${at(1.3 * r)} 0L0 ${at(1.3 * r)}L${at(-1.3 * r)} 0Z`;
  }
}

function dashes(series) {
  return [undefined, "7 4", "2 3", "9 3 2 3"][series % 4];
}

/** An exponential moving average, corrected for its start; gaps stay gaps. */
function smooth(points, weight) {
  let mean = 0;
  let scale = 0;
  return points.map(([x, y]) => {
    if (y === null) return [x, null];
    mean = weight * mean + (1 - weight) * y;
    scale = weight * scale + (1 - weight);
    return [x, mean / scale];
  });
}

// ---------------------------------------------------------------------------------------------
// What is drawn: one class a kind of mark. Each draws its series, finds the mark nearest to a
// pixel, steps from one mark to another, and says what a mark means.

class Lines {
  constructor(plot) {
    this.series = plot.series;
    this.axes = true;
    this.reference = plot.reference;
    this.setSmoothing(plot.smoothing ?? 0);
    this.steps = [...new Set(this.series.flatMap((s) => s.points.map((p) => p[0])))];
    this.steps.sort((a, b) => a - b);
    this.xLabel = plot.x_label;
  }

  setSmoothing(weight) {
    this.smoothing = weight;
    this.smoothed = this.series.map((s) => smooth(s.points, weight));
  }

  draw(view, index) {
    const group = svg("g");
    if (this.series[index].muted) {
      group.append(svg("path", { class: "line muted", d: this.path(view, this.smoothed[index]) }));
      return group;
    }
    if (this.smoothing > 0) {
      group.append(svg("path", { class: "raw", d: this.path(view, this.series[index].points) }));
    }
    const d = this.path(view, this.smoothed[index]);
    group.append(svg("path", { class: "line", d, "stroke-dasharray": dashes(index) }));
    return group;
  }

  drawOver(view) {
    return guide(view, this.reference);
  }

  path(view, points) {
    let d = "";
    let open = false;
    points.forEach(([x, y], i) => {
      if (y === null) {
        open = false;
        return;
      }
      d += `${open ? "L" : "M"}${view.x(x)} ${view.y(y)}`;
      if (!open && (points[i + 1]?.[1] ?? null) === null) d += "h.01";
      open = true;
    });
    return d;
  }

  /** A mark is a step. */
  nearest(view, x) {
    const at = view.xValue(x);
    let [low, high] = [0, this.steps.length - 1];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.steps[middle] < at) low = middle;
      else high = middle;
    }
    if (high < 0) return null;
    return Math.abs(this.steps[low] - at) <= Math.abs(this.steps[high] - at) ? low : high;
  }

  step(_view, mark, dx) {
    if (mark === null) return this.steps.length ? 0 : null;
    return Math.min(this.steps.length - 1, Math.max(0, mark + dx));
  }

  describe(view, mark, pointer) {
    const x = this.steps[mark];
    const shapes = [svg("path", { class: "mark guide", d: `M${view.x(x)} ${view.top}V${view.bottom}` })];
    const rows = [];
    let top = view.bottom;
    let found = [];
    for (const index of view.visible) {
      // Series need not share their steps: each shows its last value up to here.
      const at = lastUpTo(this.smoothed[index], x);
      if (at !== null) found.push([index, at, view.y(this.smoothed[index][at][1])]);
    }
    if (found.length > MOST_NAMED) {
      if (pointer !== null) found.sort((a, b) => Math.abs(a[2] - pointer) - Math.abs(b[2] - pointer));
      found = found.slice(0, MOST_NAMED).sort((a, b) => a[2] - b[2]);
    }
    for (const [index, at, y] of found) {
      const px = this.smoothed[index][at][0];
      top = Math.min(top, y);
      shapes.push(svg("circle", { class: `mark dot series-${index % 8}`, cx: view.x(px), cy: y, r: 4 }));
      rows.push([index, this.series[index].name, number(this.series[index].points[at][1])]);
    }
    return { x: view.x(x), y: top, title: `${this.xLabel} ${number(x)}`, rows, shapes };
  }
}

/** The x that is marked, if one is. */
function guide(view, x) {
  return x === null ? [] : [svg("path", { class: "reference", d: `M${view.x(x)} ${view.top}V${view.bottom}` })];
}

/** The index of the last point at or before `x` that holds a value. */
function lastUpTo(points, x) {
  let found = null;
  for (let i = 0; i < points.length && points[i][0] <= x; i++) {
    if (points[i][1] !== null) found = i;
  }
  return found;
}

class Points {
  constructor(plot) {
    this.series = plot.series;
    this.axes = false;
  }

  draw(view, index) {
    const group = svg("g", { class: "dots" });
    // Smaller in a narrow plane, where as many points must fit.
    const d = pointPath(index, Math.min(3.8, Math.max(2.5, view.width / 130)));
    for (const [x, y] of this.series[index].points) {
      group.append(svg("path", { d, transform: `translate(${view.x(x)} ${view.y(y)})` }));
    }
    return group;
  }

  /** A mark is [series, point]. */
  nearest(view, x, y) {
    return this.best(view, (dx, dy) => (dx * dx + dy * dy <= REACH * REACH ? dx * dx + dy * dy : Infinity), x, y);
  }

  step(view, mark, dx, dy) {
    if (mark === null) {
      return this.best(view, (a, b) => a * a + b * b, (view.left + view.right) / 2, (view.top + view.bottom) / 2);
    }
    const [x, y] = this.position(view, mark);
    // The nearest point in the arrow's direction: what lies aside counts twice.
    const cost = (px, py) => {
      const along = px * dx + py * dy;
      const aside = Math.abs(px * dy) + Math.abs(py * dx);
      return along > 0.5 ? along + 2 * aside : Infinity;
    };
    return this.best(view, cost, x, y) ?? mark;
  }

  best(view, cost, x, y) {
    let best = null;
    let least = Infinity;
    for (const s of view.visible) {
      this.series[s].points.forEach((point, i) => {
        const [px, py] = [view.x(point[0]), view.y(point[1])];
        if (px < view.left || px > view.right || py < view.top || py > view.bottom) return;
        const value = cost(px - x, py - y);
        if (value < least) [least, best] = [value, [s, i]];
      });
    }
    return best;
  }

  position(view, [s, i]) {
    const [x, y] = this.series[s].points[i];
    return [view.x(x), view.y(y)];
  }

  describe(view, [s, i]) {
    const [x, y] = this.position(view, [s, i]);
    const [, , id, text, partner] = this.series[s].points[i];
    const shapes = [svg("circle", { class: "mark", cx: x, cy: y, r: 7.5 })];
    let other;
    if (partner && view.visible.includes(partner[0])) {
      const [px, py] = this.position(view, partner);
      shapes.unshift(svg("path", { class: "mark", d: `M${x} ${y}L${px} ${py}` }));
      shapes.push(svg("circle", { class: "mark", cx: px, cy: py, r: 7.5 }));
      const [, , otherId, otherText] = this.series[partner[0]].points[partner[1]];
      other = { title: `${this.series[partner[0]].name} ${otherId}`, text: otherText };
    }
    return { x, y, title: `${this.series[s].name} ${id}`, text, other, shapes };
  }
}

class Bars {
  constructor(plot) {
    this.series = plot.series;
    this.edges = plot.edges;
    this.reference = plot.reference;
    this.axes = true;
  }

  share(index, bin) {
    const { counts, total } = this.series[index];
    return total ? (100 * counts[bin]) / total : 0;
  }

  draw(view, index) {
    let d = `M${view.x(this.edges[0])} ${view.y(0)}`;
    this.series[index].counts.forEach((_, bin) => {
      d += `V${view.y(this.share(index, bin))}H${view.x(this.edges[bin + 1])}`;
    });
    return svg("path", { class: "bars", d: `${d}V${view.y(0)}`, "stroke-dasharray": dashes(index) });
  }

  drawOver(view) {
    return guide(view, this.reference);
  }

  /** A mark is a bin. */
  nearest(view, x) {
    const last = this.edges.length - 2;
    const [low, high] = [this.edges[0], this.edges[last + 1]];
    return Math.min(last, Math.max(0, Math.floor(((view.xValue(x) - low) / (high - low)) * (last + 1))));
  }

  step(_view, mark, dx) {
    return mark === null ? 0 : Math.min(this.edges.length - 2, Math.max(0, mark + dx));
  }

  describe(view, bin) {
    const [low, high] = [this.edges[bin], this.edges[bin + 1]];
    const [x0, x1] = [view.x(low), view.x(high)];
    const rows = view.visible.map((index) => [
      index,
      this.series[index].name,
      `${this.share(index, bin).toFixed(1)} % · ${grouped(this.series[index].counts[bin])}`,
    ]);
    const shape = svg("path", { class: "mark guide", d: `M${x0} ${view.top}V${view.bottom}M${x1} ${view.top}V${view.bottom}` });
    const top = Math.max(0, ...view.visible.map((index) => this.share(index, bin)));
    return { x: (x0 + x1) / 2, y: view.y(top), title: `${number(low)} to ${number(high)}`, rows, shapes: [shape] };
  }
}

// ---------------------------------------------------------------------------------------------
// The view: which values lie at which pixels

class View {
  constructor(domain, hasAxes, width) {
    this.domain = domain;
    this.hasAxes = hasAxes;
    this.visible = [];
    this.resize(width);
  }

  resize(width) {
    this.width = width;
    const share = this.hasAxes ? 0.56 : 0.78;
    this.height = Math.round(Math.min(this.hasAxes ? 380 : 620, Math.max(240, width * share)));
    this.left = this.hasAxes ? LEAST_MARGIN : 1;
    this.right = width - (this.hasAxes ? 18 : 1);
    this.top = this.hasAxes ? 8 : 1;
    this.bottom = this.height - (this.hasAxes ? 42 : 1);
    const [x0, x1, y0, y1] = this.domain;
    this.home = [x0, x1, y0, y1];
    if (!this.hasAxes) {
      // A plane has no units: one unit is as long on both axes.
      const unit = Math.max((x1 - x0) / this.plotWidth, (y1 - y0) / this.plotHeight);
      const [x, y] = [(x0 + x1) / 2, (y0 + y1) / 2];
      const [dx, dy] = [(unit * this.plotWidth) / 2, (unit * this.plotHeight) / 2];
      this.home = [x - dx, x + dx, y - dy, y + dy];
    }
    this.shown = [...this.home];
  }

  /** The horizontal grid lines' values and texts; the margin grows to hold the widest text. */
  rows() {
    const [, , y0, y1] = this.shown;
    const rows = ticks(y0, y1, this.plotHeight / 45);
    const widest = Math.max(0, ...rows.map(([, text]) => text.length));
    this.left = Math.max(LEAST_MARGIN, Math.round(27 + 7.2 * widest));
    return rows;
  }

  get plotWidth() {
    return this.right - this.left;
  }

  get plotHeight() {
    return this.bottom - this.top;
  }

  get zoom() {
    return (this.home[1] - this.home[0]) / (this.shown[1] - this.shown[0]);
  }

  x(value) {
    const [low, high] = this.shown;
    return Math.round((this.left + ((value - low) / (high - low)) * this.plotWidth) * 100) / 100;
  }

  y(value) {
    const [, , low, high] = this.shown;
    return Math.round((this.top + ((high - value) / (high - low)) * this.plotHeight) * 100) / 100;
  }

  xValue(pixel) {
    const [low, high] = this.shown;
    return low + ((pixel - this.left) / this.plotWidth) * (high - low);
  }

  yValue(pixel) {
    const [, , low, high] = this.shown;
    return high - ((pixel - this.top) / this.plotHeight) * (high - low);
  }

  /** Zooms by `factor`, keeping the value under the pixel where it is. */
  zoomBy(factor, px, py) {
    const next = Math.min(MOST_ZOOM, Math.max(1, this.zoom * factor));
    factor = next / this.zoom;
    const [x, y] = [this.xValue(px), this.yValue(py)];
    const [x0, x1, y0, y1] = this.shown;
    this.shown = [x + (x0 - x) / factor, x + (x1 - x) / factor, y + (y0 - y) / factor, y + (y1 - y) / factor];
    this.clamp();
  }

  /** Moves by pixels. */
  pan(dx, dy) {
    const [x0, x1, y0, y1] = this.shown;
    const [ux, uy] = [(x1 - x0) / this.plotWidth, (y1 - y0) / this.plotHeight];
    this.shown = [x0 - dx * ux, x1 - dx * ux, y0 + dy * uy, y1 + dy * uy];
    this.clamp();
  }

  /** Keeps the shown part within the whole. */
  clamp() {
    for (const i of [0, 2]) {
      const span = Math.min(this.shown[i + 1] - this.shown[i], this.home[i + 1] - this.home[i]);
      const low = Math.min(Math.max(this.shown[i], this.home[i]), this.home[i + 1] - span);
      [this.shown[i], this.shown[i + 1]] = [low, low + span];
    }
  }

  reset() {
    this.shown = [...this.home];
  }
}

// ---------------------------------------------------------------------------------------------
// A figure: the view, its marks, the controls, and the pointer and keys over it

class Figure {
  constructor(node, plot, index) {
    this.node = node;
    this.plot = plot;
    this.index = index;
    this.marks = marksOf(plot);
    this.hidden = new Set();
    this.mark = null;
    /** The pointer's height, where one points. */
    this.pointer = null;
    this.pointers = new Map();

    this.canvas = node.querySelector(".canvas");
    this.view = new View(plot.domain, this.marks.axes, this.canvas.clientWidth || 640);
    this.tip = html("div", { class: "tip", role: "status", hidden: "" });
    this.drawing = this.makeDrawing();
    this.tools = this.makeTools();
    this.canvas.replaceChildren(this.drawing, this.tip);
    this.canvas.before(this.tools);
    node.querySelector("figcaption").prepend(this.makeZoom());
    this.draw();
    new ResizeObserver(() => this.resize()).observe(this.canvas);
  }

  makeDrawing() {
    const caption = this.node.querySelector("figcaption p");
    return svg("svg", {
      class: "live",
      tabindex: 0,
      role: "application",
      "aria-roledescription": "interactive plot",
      "aria-label": `${this.plot.title}. Arrow keys step through the marks, plus and minus zoom, ` +
        "Shift with arrow keys moves, 0 resets.",
      "aria-describedby": caption?.id,
      onpointerdown: (event) => this.pointerDown(event),
      onpointermove: (event) => this.pointerMove(event),
      onpointerup: (event) => this.pointerUp(event),
      onpointercancel: (event) => this.pointerUp(event),
      onpointerleave: () => this.pointers.size || this.select(null),
      ondblclick: (event) => this.zoom(2, ...this.pixel(event)),
      onkeydown: (event) => this.key(event),
      onblur: () => this.select(null),
      onwheel: (event) => this.wheel(event),
    });
  }

  makeTools() {
    const tools = html("div", { class: "tools", role: "group", "aria-label": "Controls" });
    this.plot.series.forEach((series, index) => {
      if (series.muted) return;
      const button = html(
        "button",
        { type: "button", class: `legend series-${index % 8}`, "aria-pressed": "true", onclick: () => this.toggle(index, button) },
        swatch(this.plot.kind, index),
        html("bdi", {}, series.name),
      );
      tools.append(button);
    });
    tools.append(html("span", { class: "gap" }));
    const muted = this.plot.series.filter((series) => series.muted).length;
    if (muted) tools.append(html("span", { class: "choice" }, `grey: ${muted} others`));
    if (this.plot.kind === "lines" && this.plot.smoothing !== null) {
      const output = html("output", {}, this.marks.smoothing.toFixed(2));
      const range = html("input", {
        type: "range", min: 0, max: 0.99, step: 0.01, value: this.marks.smoothing,
        oninput: () => {
          this.isSmoothed = true;
          this.marks.setSmoothing(Number(range.value));
          output.textContent = this.marks.smoothing.toFixed(2);
          this.draw();
        },
      });
      tools.append(html("label", { class: "choice" }, "Smoothing", range, output));
    }
    return tools;
  }

  makeZoom() {
    const middle = () => [(this.view.left + this.view.right) / 2, (this.view.top + this.view.bottom) / 2];
    const square = (name, sign, action) =>
      html("button", { type: "button", "aria-label": name, title: name, onclick: action }, sign);
    return html(
      "div",
      { class: "zoom", role: "group", "aria-label": "Zoom" },
      square("Zoom in", "+", () => this.zoom(1.6, ...middle())),
      square("Zoom out", "−", () => this.zoom(1 / 1.6, ...middle())),
      square("Reset zoom", "⟲", () => this.reset()),
    );
  }

  // Drawing

  draw() {
    const { view, marks, drawing } = this;
    view.visible = this.plot.series.map((_, i) => i).filter((i) => !this.hidden.has(i));
    drawing.setAttribute("viewBox", `0 0 ${view.width} ${view.height}`);
    drawing.classList.toggle("zoomed", view.zoom > 1.001);
    drawing.dataset.zoom = view.zoom.toFixed(2);

    const axes = this.drawAxes();
    const clip = `clip-${this.index}`;
    const frame = svg("rect", { x: view.left, y: view.top, width: view.plotWidth, height: view.plotHeight });
    const body = svg("g", { "clip-path": `url(#${clip})` });
    const isMuted = (index) => Boolean(this.plot.series[index].muted);
    for (const index of [...view.visible].sort((a, b) => isMuted(b) - isMuted(a) || a - b)) {
      const color = isMuted(index) ? "" : ` series-${index % 8}`;
      body.append(svg("g", { class: `series${color}` }, marks.draw(view, index)));
    }
    body.append(...(marks.drawOver?.(view) ?? []));
    this.overlay = svg("g", { "aria-hidden": "true" });
    drawing.replaceChildren(
      svg("clipPath", { id: clip }, frame),
      axes,
      body,
      this.overlay,
    );
    this.select(this.mark);
  }

  drawAxes() {
    const { view, plot } = this;
    const out = svg("g", { "aria-hidden": "true" });
    if (!view.hasAxes) {
      out.append(svg("rect", { class: "axis", x: view.left, y: view.top, width: view.plotWidth, height: view.plotHeight, rx: 6 }));
      return out;
    }
    const [x0, x1] = view.shown;
    for (const [value, text] of view.rows()) {
      const y = view.y(value);
      out.append(svg("path", { class: "grid", d: `M${view.left} ${y}H${view.right}` }));
      out.append(svg("text", { x: view.left - 7, y: y + 4, "text-anchor": "end" }, text));
    }
    for (const [value, text] of ticks(x0, x1, view.plotWidth / 85)) {
      const x = view.x(value);
      out.append(svg("path", { class: "axis", d: `M${x} ${view.bottom}v5` }));
      out.append(svg("text", { x, y: view.bottom + 18, "text-anchor": "middle" }, text));
    }
    const [x, y] = [(view.left + view.right) / 2, (view.top + view.bottom) / 2];
    out.append(
      svg("path", { class: "axis", d: `M${view.left} ${view.bottom}H${view.right}` }),
      svg("text", { x, y: view.height - 6, "text-anchor": "middle" }, plot.x_label),
      svg("text", { transform: `translate(12 ${y}) rotate(-90)`, "text-anchor": "middle" }, plot.y_label),
    );
    return out;
  }

  /** Marks what the pointer or the keys are on, and says what it is. */
  select(mark) {
    if (mark !== null && Array.isArray(mark) && this.hidden.has(mark[0])) mark = null;
    this.mark = mark;
    if (mark === null || this.view.visible.length === 0) {
      this.overlay?.replaceChildren();
      this.tip.hidden = true;
      return;
    }
    const about = this.marks.describe(this.view, mark, this.pointer);
    this.overlay.replaceChildren(...about.shapes);
    this.tip.replaceChildren(html("p", {}, html("b", { dir: "auto" }, about.title)));
    for (const [index, name, value] of about.rows ?? []) {
      const isMuted = this.plot.series[index].muted;
      const sample = isMuted ? html("span", { class: "swatch" }) : swatch(this.plot.kind, index);
      this.tip.append(html("p", { class: isMuted ? "row" : `row series-${index % 8}` }, sample, html("bdi", {}, name), html("span", {}, value)));
    }
    if (about.text) this.tip.append(html("p", { dir: "auto" }, about.text));
    if (about.other) {
      this.tip.append(html("p", { class: "partner", dir: "auto" }, html("b", {}, about.other.title), about.other.text));
    }
    this.tip.hidden = false;
    this.placeTip(about.x, about.y);
  }

  /** Beside the mark, within the canvas where there is room. */
  placeTip(x, y) {
    const scale = this.canvas.clientWidth / this.view.width;
    const [width, height] = [this.tip.offsetWidth, this.tip.offsetHeight];
    const room = this.canvas.clientWidth - width;
    let left = x * scale + 14;
    if (left > room) left = x * scale - width - 14;
    let top = y * scale - height - 12;
    if (top < -40) top = y * scale + 16;
    this.tip.style.left = `${Math.max(0, Math.min(left, room))}px`;
    this.tip.style.top = `${top}px`;
  }

  /** Shows another plot of the same kind and series, as the reader has set this one. */
  update(plot) {
    const smoothing = this.marks.smoothing;
    const isWhole = this.view.zoom <= 1.001;
    this.plot = plot;
    this.marks = marksOf(plot);
    if (this.isSmoothed) this.marks.setSmoothing(smoothing);
    const shown = this.view.shown;
    this.view = new View(plot.domain, this.marks.axes, this.canvas.clientWidth || 640);
    if (!isWhole) {
      this.view.shown = shown;
      this.view.clamp();
    }
    this.mark = null;
    this.draw();
  }

  resize() {
    const width = this.canvas.clientWidth;
    if (!width || width === this.view.width) return;
    this.mark = null;
    this.view.resize(width);
    this.draw();
  }

  toggle(index, button) {
    if (!this.hidden.delete(index)) this.hidden.add(index);
    button.setAttribute("aria-pressed", String(!this.hidden.has(index)));
    this.draw();
  }

  zoom(factor, x, y) {
    this.view.zoomBy(factor, x, y);
    this.draw();
  }

  reset() {
    this.view.reset();
    this.draw();
  }

  // Pointer and keys

  /** The event's place in the drawing's pixels. */
  pixel(event) {
    const box = this.drawing.getBoundingClientRect();
    const scale = this.view.width / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  }

  pointerDown(event) {
    this.pointers.set(event.pointerId, this.pixel(event));
    if (this.view.zoom > 1.001 || this.pointers.size > 1) {
      this.drawing.setPointerCapture(event.pointerId);
      this.drawing.classList.add("dragged");
    }
  }

  pointerMove(event) {
    const at = this.pixel(event);
    const before = this.pointers.get(event.pointerId);
    if (!before || (this.pointers.size === 1 && this.view.zoom <= 1.001)) {
      if (before) this.pointers.set(event.pointerId, at);
      this.pointer = at[1];
      this.select(this.marks.nearest(this.view, ...at));
      return;
    }
    if (this.pointers.size === 2) {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
      const distance = (a, b) => Math.max(1, Math.hypot(a[0] - b[0], a[1] - b[1]));
      const [x, y] = [(at[0] + other[0]) / 2, (at[1] + other[1]) / 2];
      this.view.zoomBy(distance(at, other) / distance(before, other), x, y);
    } else {
      this.view.pan(at[0] - before[0], at[1] - before[1]);
    }
    this.pointers.set(event.pointerId, at);
    this.mark = null;
    this.draw();
  }

  pointerUp(event) {
    this.pointers.delete(event.pointerId);
    this.drawing.classList.remove("dragged");
    if (event.pointerType !== "mouse") this.select(this.marks.nearest(this.view, ...this.pixel(event)));
  }

  /** The wheel zooms with Ctrl held (a pinch on a touchpad) or once the drawing has the focus. */
  wheel(event) {
    if (!event.ctrlKey && !event.metaKey && document.activeElement !== this.drawing) return;
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), ...this.pixel(event));
  }

  key(event) {
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const middle = [(this.view.left + this.view.right) / 2, (this.view.top + this.view.bottom) / 2];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (arrow && event.shiftKey) {
      this.view.pan(-40 * arrow[0], -40 * arrow[1]);
      this.draw();
    } else if (arrow && (arrow[0] || !this.marks.axes)) {
      this.pointer = null;
      this.select(this.marks.step(this.view, this.mark, ...arrow));
    } else if (event.key === "+" || event.key === "=") this.zoom(1.6, ...middle);
    else if (event.key === "-") this.zoom(1 / 1.6, ...middle);
    else if (event.key === "0") this.reset();
    else if (event.key === "Escape") this.select(null);
    else return;
    event.preventDefault();
  }
}

function marksOf(plot) {
  return new { lines: Lines, points: Points, bars: Bars }[plot.kind](plot);
}

/** A series' sample for the legend. */
function swatch(kind, index) {
  const shape = {
    lines: () => svg("path", { class: "line", d: "M0 7H22", "stroke-dasharray": dashes(index) }),
    points: () => svg("path", { class: "dots", d: pointPath(index, 5), transform: "translate(11 7)" }),
    bars: () => svg("rect", { class: "bars", x: 1, y: 2, width: 20, height: 10, "stroke-dasharray": dashes(index) }),
  }[kind]();
  return svg("svg", { class: "swatch", width: 22, height: 14, viewBox: "0 0 22 14", "aria-hidden": "true" }, shape);
}

// ---------------------------------------------------------------------------------------------
// The neighbour browser: show what is asked for

const STATES = [
  ["wrong", "wrong under every model"],
  ["split", "models disagree"],
  ["right", "right under every model"],
];

function browse(node) {
  const list = node.querySelector(".queries");
  const queries = [...list.querySelectorAll(":scope > details")];
  const texts = queries.map((query) => query.textContent.toLowerCase());
  const groups = JSON.parse(list.dataset.groups).map((name, i) => [String(i), name]);
  const of = (query) => (groups.length ? query.dataset.groups.split(" ") : [query.dataset.state]);
  const choices = [["", "all queries"], ...(groups.length ? groups : STATES)];
  const search = html("input", { type: "search", placeholder: "Find in queries and documents", "aria-label": "Find" });
  const select = html("select", { "aria-label": "Show" }, ...choices.map(([value, name]) => {
    const count = value ? ` (${queries.filter((query) => of(query).includes(value)).length})` : "";
    return html("option", { value }, name + count);
  }));
  const count = html("span", { class: "choice", role: "status" });
  let most = FEW_QUERIES;
  const all = html("button", { type: "button", class: "all" }, "Show all");
  all.addEventListener("click", () => {
    most = Infinity;
    update();
  });
  const update = () => {
    const needle = search.value.trim().toLowerCase();
    let matching = 0;
    queries.forEach((query, i) => {
      const matches = texts[i].includes(needle) && (!select.value || of(query).includes(select.value));
      query.hidden = !matches || matching >= most;
      matching += matches;
    });
    all.hidden = matching <= most;
    const shown = Math.min(matching, most);
    const found = matching < queries.length ? `, ${grouped(matching)} match` : "";
    count.textContent = `${grouped(shown)} of ${grouped(queries.length)} queries${found}`;
  };
  search.addEventListener("input", update);
  select.addEventListener("change", update);
  const tools = html("div", { class: "tools" }, html("span", { class: "choice finder" }, search, select), html("span", { class: "gap" }), count);
  list.before(tools);
  list.after(all);
  update();
}

// ---------------------------------------------------------------------------------------------
// Tables: sort by a column, find rows

function sortable(node) {
  const body = node.querySelector("tbody");
  const rows = [...body.rows];
  const heads = [...node.querySelectorAll("thead th")];
  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.number === undefined ? cell.textContent : Number(cell.dataset.number);
  };
  // Numbers before texts, and what is a dash last, in either order.
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a === typeof b) return a.localeCompare(b, undefined, { numeric: true });
    return 0;
  };
  const isLast = (value, other) => value === "–" || (typeof value === "string" && typeof other === "number");
  heads.forEach((head, column) => {
    const button = html("button", { type: "button", class: "sort" }, ...head.childNodes);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      // Numbers are sought for their highest first.
      const first = rows.some((row) => typeof key(row, column) === "number") ? "descending" : "ascending";
      const second = first === "ascending" ? "descending" : "ascending";
      const order = head.ariaSort === first ? second : first;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const sorted = [...rows].sort((a, b) => {
        const [x, y] = [key(a, column), key(b, column)];
        if (isLast(x, y) !== isLast(y, x)) return isLast(x, y) ? 1 : -1;
        return sign * compare(x, y);
      });
      body.append(...sorted);
    });
  });
  if (rows.length > FEW_ROWS) node.querySelector(".scroll").before(finder(rows));
}

/** A box that hides the rows without what is written in it. */
function finder(rows) {
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const count = html("span", { class: "choice", role: "status" });
  const search = html("input", { type: "search", placeholder: "Find in rows", "aria-label": "Find" });
  const update = () => {
    const needle = search.value.trim().toLowerCase();
    rows.forEach((row, i) => (row.hidden = !texts[i].includes(needle)));
    const shown = rows.filter((row) => !row.hidden).length;
    count.textContent = `${grouped(shown)} of ${grouped(rows.length)} rows`;
  };
  search.addEventListener("input", update);
  update();
  return html("div", { class: "tools" }, html("span", { class: "choice finder" }, search), html("span", { class: "gap" }), count);
}

// ---------------------------------------------------------------------------------------------
// Copy buttons

function copyable(node) {
  const button = html("button", { type: "button", class: "copy" }, "Copy");
  const say = (word) => {
    button.textContent = word;
    setTimeout(() => (button.textContent = "Copy"), 1500);
  };
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(node.dataset.copied);
      say("Copied");
    } catch {
      // Where a page may not, the reader can: what is to be copied is selected.
      getSelection().selectAllChildren(node.querySelector("pre") ?? node.firstElementChild);
      say("Selected");
    }
  });
  node.append(button);
}

// ---------------------------------------------------------------------------------------------
// The whole page, and what becomes of it while a run goes on

/** The live figures, by their elements. */
const figures = new Map();

function plotsOf(page) {
  return JSON.parse(page.getElementById("data").textContent).plots;
}

/** Figures made interactive so far: each has a number of its own, also where it takes another's place. */
let awakened = 0;

/** Makes what is in `root` interactive. */
function awaken(root, plots) {
  const all = (selector) => [...(root.matches?.(selector) ? [root] : []), ...root.querySelectorAll(selector)];
  for (const node of all("figure[data-plot]")) {
    const index = Number(node.dataset.plot);
    figures.set(node.id, new Figure(node, plots[index], awakened++));
  }
  all("figure.neighbours").forEach(browse);
  all("figure.table").forEach(sortable);
  all("[data-copied]").forEach(copyable);
}

/** Whether two plots differ in their points alone. */
function alike(a, b) {
  const names = (plot) => plot.series.map((series) => series.name).join("\n");
  return a.kind === b.kind && names(a) === names(b);
}

/** Puts the parts of `next` in the place of those of `now`; what is the same stays as the reader left it. */
function renew(parent, selector, next, sources, put) {
  const wanted = [...next.querySelectorAll(`:scope > ${selector}`)];
  const ids = new Set(wanted.map((node) => node.id));
  for (const node of parent.querySelectorAll(`:scope > ${selector}`)) if (!ids.has(node.id)) node.remove();
  let before = null;
  for (const node of wanted) {
    const now = document.getElementById(node.id);
    const isSame = now && sources.get(node.id) === node.outerHTML;
    const kept = isSame ? now : put(now, node);
    if ((before ? before.nextElementSibling : parent.firstElementChild) !== kept) {
      if (before) before.after(kept);
      else parent.prepend(kept);
    }
    before = kept;
  }
}

class Live {
  constructor() {
    this.sources = sourcesOf(document);
    this.version = "";
    this.note = html("p", { class: "live-note", role: "status" }, "Live");
    document.querySelector("header").prepend(this.note);
  }

  async run() {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, ASK_EVERY));
      if (document.hidden) continue;
      try {
        const answer = await fetch(location.href, { cache: "no-store", headers: { "If-None-Match": this.version } });
        if (answer.status === 200) {
          this.version = answer.headers.get("ETag") ?? "";
          this.show(new DOMParser().parseFromString(await answer.text(), "text/html"));
        }
        const isKnown = answer.status === 200 || answer.status === 304;
        this.say(isKnown ? "Live" : `Not renewed: ${(await answer.text()) || `status ${answer.status}`}`);
      } catch {
        this.say("No longer served: this is how it stood last.");
      }
    }
  }

  say(words) {
    if (this.note.textContent !== words) this.note.textContent = words;
  }

  /** Shows what `page` has that this page has not. */
  show(page) {
    const plots = plotsOf(page);
    const sources = sourcesOf(page);
    document.title = page.title;
    this.showHead(page);
    const put = (now, node) => this.put(now, node, plots);
    renew(document.querySelector("main"), "section", page.querySelector("main"), this.sources, (now, node) => {
      if (!now) return this.adopt(node, plots);
      for (const part of ["h2", ".prose"]) {
        const [old, text] = [now.querySelector(`:scope > ${part}`), node.querySelector(`:scope > ${part}`)];
        if (old && text && old.textContent !== text.textContent) old.textContent = text.textContent;
      }
      renew(now.querySelector(".figures"), "figure", node.querySelector(".figures"), this.sources, put);
      return now;
    });
    this.sources = sources;
  }

  showHead(page) {
    const [now, next] = [document.querySelector("header"), page.querySelector("header")];
    const source = next.outerHTML;
    if (source !== this.head) {
      this.head = source;
      const node = document.importNode(next, true);
      now.replaceChildren(this.note, ...node.childNodes);
      now.querySelectorAll("[data-copied]").forEach(copyable);
    }
    const [links, fresh] = [document.querySelector("nav"), page.querySelector("nav")];
    if (links && fresh && links.innerHTML !== fresh.innerHTML) links.replaceChildren(...document.importNode(fresh, true).childNodes);
    else if (!links && fresh) now.after(document.importNode(fresh, true));
  }

  adopt(node, plots) {
    const own = document.importNode(node, true);
    // It is drawn at the width that it has in the page.
    const place = html("div", { class: "figures" }, own);
    document.querySelector("main").append(place);
    awaken(own, plots);
    place.replaceWith(own);
    return own;
  }

  put(now, node, plots) {
    const figure = now && figures.get(now.id);
    const plot = plots[Number(node.dataset.plot)];
    if (figure && plot && alike(figure.plot, plot)) {
      now.className = node.className;
      for (const part of ["figcaption p", ".numbers table"]) {
        const [old, next] = [now.querySelector(part), node.querySelector(part)];
        if (old && next) old.replaceChildren(...document.importNode(next, true).childNodes);
      }
      figure.update(plot);
      return now;
    }
    const own = this.adopt(node, plots);
    if (now) {
      const open = [...now.querySelectorAll("details")].map((details) => details.open);
      own.querySelectorAll("details").forEach((details, i) => (details.open = open[i] ?? details.open));
      now.remove();
    }
    return own;
  }
}

/** The markup of the sections and figures of a page, as it was served. */
function sourcesOf(page) {
  return new Map([...page.querySelectorAll("main section, main figure")].map((node) => [node.id, node.outerHTML]));
}

const live = document.body.hasAttribute("data-live") ? new Live() : null;
awaken(document, plotsOf(document));
live?.run();
